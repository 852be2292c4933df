"""The man page and the reference in docs/cli.md, both made from the commands' own help."""

import inspect
import re
from collections.abc import Iterator

import click

from cli import VERSION
from cli.errors import MEANINGS

ENVIRONMENT = {
    "DOCKER_HOST, DOCKER_CONTEXT, DOCKER_CONFIG": "which engine is meant, as for the docker command",
    "NET_DHCP_PLUGIN": "which plugin is meant, as --plugin",
    "NET_DHCP_SOCKET": "the plugin's socket, as --socket",
    "NO_COLOR": "if set, no colours on a terminal either",
}


@click.command(epilog="\b\nExamples:\n  net-dhcp man > /usr/local/share/man/man1/net-dhcp.1\n  net-dhcp man | man -l -")
@click.pass_context
def man(context: click.Context) -> None:
    """Print the man page."""
    click.echo("\n".join(roff(_root(context))))


def roff(group: click.Group) -> Iterator[str]:
    """The page's lines."""
    yield f'.TH NET-DHCP 1 "" "net-dhcp {VERSION}" "User Commands"'
    yield ".SH NAME\nnet-dhcp, docker-dhcp \\- inspect and repair the leases of Docker containers"
    yield ".SH SYNOPSIS\n.B net-dhcp\n[OPTIONS] COMMAND [ARGS]...\n.br\n.B docker dhcp\n[OPTIONS] COMMAND [ARGS]..."
    yield f".SH DESCRIPTION\n{_escaped(_text(group.help))}"
    yield ".SH OPTIONS"
    yield from _roff_options(group)
    yield ".SH COMMANDS"
    for name, command in _commands(group):
        yield f".SS {_escaped(_usage(name, command))}"
        yield _escaped(_text(command.help))
        yield from _roff_options(command)
        if found := _examples(command):
            yield ".PP\nExamples:\n.nf\n" + "\n".join(_escaped(line) for line in found) + "\n.fi"
    yield ".SH EXIT STATUS"
    yield from (f".TP\n.B {status}\n{_escaped(meaning)}" for status, meaning in MEANINGS.items())
    yield ".SH ENVIRONMENT"
    yield from (f".TP\n.B {_escaped(name)}\n{_escaped(meaning)}" for name, meaning in ENVIRONMENT.items())
    yield ".SH SEE ALSO\n.BR docker (1)"


def markdown(group: click.Group) -> Iterator[str]:
    """The reference of docs/cli.md."""
    for name, command in _commands(group):
        yield f"### {name}\n\n`net-dhcp {_usage(name, command)}`\n\n{_text(command.help)}\n"
        if options := list(_options(command)):
            yield "| option | meaning |\n| --- | --- |"
            yield from (f"| `{option}` | {meaning} |" for option, meaning in options)
            yield ""
        if found := _examples(command):
            yield "```text\n" + "\n".join(found) + "\n```\n"


def _root(context: click.Context) -> click.Group:
    command = context.find_root().command
    if not isinstance(command, click.Group):
        raise TypeError("the man page is of a group of commands")
    return command


def _commands(group: click.Group) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        if command := group.get_command(context, name):
            yield name, command


def _text(text: str | None) -> str:
    return inspect.cleandoc(text or "").strip()


def _usage(name: str, command: click.Command) -> str:
    context = click.Context(command, info_name=name)
    return " ".join((name, *command.collect_usage_pieces(context)))


def _options(command: click.Command) -> Iterator[tuple[str, str]]:
    context = click.Context(command)
    for parameter in (p for p in command.get_params(context) if isinstance(p, click.Option)):
        if (record := parameter.get_help_record(context)) and "--help" not in record[0]:
            yield record[0], record[1]


def _roff_options(command: click.Command) -> Iterator[str]:
    for option, meaning in _options(command):
        yield f".TP\n.B {_escaped(option)}\n{_escaped(meaning)}"


def _examples(command: click.Command) -> list[str]:
    lines = (command.epilog or "").splitlines()
    return [line.strip() for line in lines if line.startswith("  ")]


def _escaped(text: str) -> str:
    """Neither a backslash, a hyphen nor a line's beginning means anything to roff."""
    plain = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^([.'])", r"\\&\1", plain, flags=re.MULTILINE).replace("\n\n", "\n.PP\n")
