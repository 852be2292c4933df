"""The options and arguments that several commands share, and what a shell completes for them."""

from collections.abc import Callable
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from cli.endpoints import rows
from cli.errors import Failure
from cli.session import Session
from cli.where import Target

_F = TypeVar("_F", bound=Callable[..., Any])


def examples(*lines: str) -> str:
    """The end of a command's help: command lines, each with a word on it behind `#`."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def format_option(function: _F) -> _F:
    """`--format`."""
    what = "table, json (one object a line), or a template such as '{{.container}}\\t{{.address}}'"
    return click.option("--format", "form", default="table", metavar="FORMAT", help=what)(function)


def network_option(function: _F) -> _F:
    """`--network`."""
    return click.option(
        "--network", metavar="NAME", shell_complete=_networks, help="only this network, by its name or id"
    )(function)


def watch_option(function: _F) -> _F:
    """`--watch`, and how often."""
    function = click.option(
        "--interval", type=click.FloatRange(0.2), default=2.0, show_default=True, help="seconds between two updates"
    )(function)
    return click.option("-w", "--watch", "watched", is_flag=True, help="go on until Ctrl-C")(function)


def name_argument(function: _F) -> _F:
    """NAME: a container's name, an address, a MAC address, or the beginning of an id."""
    return click.argument("name", metavar="NAME", shell_complete=_containers)(function)


def _containers(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return [
        CompletionItem(row["name"], help=row["addresses"])
        for row in _known(context)
        if row["container"] and row["name"].startswith(incomplete)
    ]


def _networks(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    names = {row["network"] or "" for row in _known(context)} - {""}
    return [CompletionItem(name) for name in sorted(names) if name.startswith(incomplete)]


def _known(context: click.Context) -> list[dict[str, Any]]:
    """A shell gets no error in the middle of a line."""
    said = context.find_root().params
    session = Session(Target(*(said.get(name) for name in ("host", "context", "plugin", "socket"))))
    try:
        return rows(session.client)
    except (Failure, KeyError):
        return []
    finally:
        session.close()
