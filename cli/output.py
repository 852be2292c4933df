"""What a command prints: a table, JSON lines, or a template of the user's, once or again and again.

Everything goes through `inert`. Rows are JSON objects; a template names their fields as the API does, or as Go would:
`{{.lease_state}}` and `{{.LeaseState}}` are the same.
"""

import json
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import click

from cli.errors import Unreachable
from cli.inert import inert

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

Row = dict[str, Any]
TABLE, JSON = "table", "json"
_PLACE = re.compile(r"{{\s*(json\s+)?\.([A-Za-z_0-9]*)\s*}}")
_WIDE = 100_000  # columns where the output is no terminal: nothing is wrapped there
STYLES = {
    "bound": "green", "renewing": "yellow", "rebinding": "bold yellow", "expired": "bold red",
    "error": "bold red", "warning": "yellow", "hint": "cyan", "ok": "green",
    "running": "green", "backoff": "bold red", "joined": "",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table; `is_right` for numbers."""

    title: str
    text: Callable[[Row], str]
    is_right: bool = False


def console() -> "Console":
    """With colours only on a terminal, and without where NO_COLOR is set."""
    from rich.console import Console

    found = Console(highlight=False, markup=False, emoji=False, soft_wrap=False)
    return found if found.is_terminal else Console(width=_WIDE, highlight=False, markup=False)


def show(rows: Sequence[Row], columns: Sequence[Column], form: str) -> None:
    """Prints the rows in the form that the user chose."""
    if form in ("", TABLE):
        console().print(table(rows, columns))
        return
    for line in lines(rows, form):
        click.echo(line)


def lines(rows: Sequence[Row], form: str) -> list[str]:
    """The rows in a form other than a plain table; raises click.BadParameter."""
    if form == JSON:
        return [json.dumps(row) for row in rows]
    if form.startswith(TABLE + " "):
        return _aligned(form.removeprefix(TABLE + " "), rows)
    return [_filled(form, row) for row in rows]


def table(rows: Sequence[Row], columns: Sequence[Column]) -> "RenderableType":
    """For a person; a word that says how well something is has its colour."""
    from rich.table import Table
    from rich.text import Text

    found = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        found.add_column(column.title, justify="right" if column.is_right else "left", overflow="fold")
    for row in rows:
        texts = [inert(column.text(row)) for column in columns]
        found.add_row(*(Text(text, STYLES.get(text, "")) for text in texts))
    return found


def watch(draw: Callable[[], None], render: Callable[[], "RenderableType"] | None, seconds: float) -> None:
    """Shows it again and again until it is interrupted: in place on a terminal, else one after the other.

    A plugin that goes away later, as for an upgrade, is waited for.
    """
    try:
        if render is not None and sys.stdout.isatty():
            _live(render, seconds)
        draw()
        while True:
            time.sleep(seconds)
            try:
                draw()
            except Unreachable as error:
                error.show()
    except KeyboardInterrupt:
        return


def _live(render: Callable[[], "RenderableType"], seconds: float) -> NoReturn:
    from rich.live import Live
    from rich.text import Text

    shown = render()
    with Live(shown, console=console(), auto_refresh=False, screen=True, vertical_overflow="crop") as live:
        while True:
            live.update(shown, refresh=True)
            time.sleep(seconds)
            try:
                shown = render()
            except Unreachable as error:
                shown = Text(inert(error.message), STYLES["error"])


def _aligned(template: str, rows: Sequence[Row]) -> list[str]:
    """With a heading, which is made of the fields' names, and a tab for each column."""
    heading = _PLACE.sub(lambda place: place[2].replace("_", " ").upper(), _unescaped(template))
    cells = [line.split("\t") for line in (heading, *(_filled(template, row) for row in rows))]
    widths = [max(len(row[i]) for row in cells if i < len(row)) for i in range(max(map(len, cells)))]
    return ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=False)).rstrip() for row in cells]


def _filled(template: str, row: Row) -> str:
    fields = {_plain(name): value for name, value in row.items()}

    def value(place: re.Match[str]) -> str:
        name = place[2]
        if name and _plain(name) not in fields:
            raise click.BadParameter(f"there is no field {name!r}; there are: {', '.join(row)}", param_hint="--format")
        found = fields[_plain(name)] if name else row
        return (
            json.dumps(found) if place[1] or isinstance(found, dict | list) else inert("" if found is None else found)
        )

    filled = _PLACE.sub(value, _unescaped(template))
    if "{{" in _PLACE.sub("", template):
        raise click.BadParameter(
            f"{template!r} is neither json nor table, nor a template such as '{{{{.container}}}}'",
            param_hint="--format",
        )
    return filled


def _unescaped(template: str) -> str:
    """As Docker does: a shell does not make a tab of `\\t`."""
    return template.replace("\\t", "\t").replace("\\n", "\n")


def _plain(name: str) -> str:
    return name.replace("_", "").lower()
