"""`inspect`: everything that is known of an endpoint, with its lease's time line."""

import json
from collections.abc import Iterator

import click

from cli import endpoints
from cli.client import segment
from cli.commands.options import examples, name_argument, network_option
from cli.errors import NotFound, Refused
from cli.history import Wanted, past
from cli.inert import inert
from cli.output import STYLES, Column, Row, console, lines, table
from cli.session import Session, pass_session
from cli.words import NONE, clock, duration, size, until

TIME_LINE = (
    Column("TIME", lambda row: clock(row["time"])),
    Column("WHAT", lambda row: row["kind"]),
    Column("ADDRESS", lambda row: str(row["address"] or NONE)),
    Column("DETAIL", lambda row: row["detail"]),
)
MESSAGES = (
    Column("TIME", lambda row: clock(row["time"])),
    Column("MESSAGE", lambda row: f"{'sent' if row['sent'] else 'received'} {row['kind']}"),
    Column("FAMILY", lambda row: row.get("family", "ipv4")),  # an older plugin knows no other
    Column("ADDRESS", lambda row: str(row["address"] or NONE)),
    Column("SERVER", lambda row: str(row["server"] or NONE)),
    Column("XID", lambda row: str(row["xid"] or NONE)),
)
TIMES = ("obtained", "renewed", "expires")
SECONDS = ("lease_seconds", "preferred_seconds", "cpu")
SIZES = ("rss", "pss")
MADE = ("name", "addresses", "state", "expires_in", "renewed_ago", "events", "messages")


@click.command(
    epilog=examples(
        "net-dhcp inspect web                         # by the container's name",
        "net-dhcp inspect 192.168.1.57                # who has this address?",
        "net-dhcp inspect 02:f4:af:f3:95:ab           # whose MAC address is it?",
        "net-dhcp inspect web --format json | jq .lease_state",
        "net-dhcp inspect web --format '{{.address}}'",
    )
)
@name_argument
@network_option
@click.option(
    "--events", "count", type=click.IntRange(0), default=20, show_default=True, help="how many events the time line has"
)
@click.option("--format", "form", default="", metavar="FORMAT", help="json, or a template such as '{{.address}}'")
@pass_session
def inspect(session: Session, name: str, network: str | None, count: int, form: str) -> None:
    """Show everything about a container's lease, with what happened to it and the last DHCP messages.

    NAME is the container's name, its IPv4, IPv6 or MAC address, or the beginning of its id or the endpoint's.
    """
    found = endpoints.meant(endpoints.rows(session.client, costs=True, network=network), name)
    for row in found:
        row["events"] = past(session.client, _story(row), count) if count else []
        row["messages"] = _messages(session, row)
        if form:
            click.echo("\n".join(lines([row], form)))
        else:
            _print(row)


def _story(row: Row) -> Wanted:
    """Of the container on this network, over all of its starts; each start has an endpoint of its own."""
    if row["container"] is None:
        return Wanted(endpoint_id=row["endpoint_id"])
    return Wanted(container=row["container"], network=row["network_id"])


def _messages(session: Session, row: Row) -> list[Row]:
    """The last ones of its leases; none of an endpoint that has just gone, or of an older plugin."""
    try:
        found: list[Row] = session.client.get(f"/v1/endpoints/{segment(row['endpoint_id'])}").get("messages", [])
    except (NotFound, Refused):
        return []
    return found


def _print(row: Row) -> None:
    from rich.table import Table
    from rich.text import Text

    out = console()
    fields = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    fields.add_column(style="bold", no_wrap=True)
    fields.add_column(overflow="fold")
    for name, value in _fields(row):
        text = inert(value)
        fields.add_row(name, Text(text, STYLES.get(text, "")))
    out.print(fields)
    for name, columns in (("events", TIME_LINE), ("messages", MESSAGES)):
        if row[name]:
            out.print()
            out.print(table(row[name], columns))
    out.print()


def _fields(row: Row, ahead: str = "") -> Iterator[tuple[str, str]]:
    for name, value in row.items():
        if name in MADE:
            continue
        if isinstance(value, dict):
            yield from _fields(value, f"{ahead}{name} ")
        else:
            yield ahead + name.replace("_", " "), _shown(name, value)


def _shown(name: str, value: object) -> str:
    if value is None or value == []:
        return NONE
    if name in TIMES:
        return f"{clock(value)} ({_distance(value)})"
    if name in SECONDS and isinstance(value, int | float):
        return duration(value) if value >= 1 else f"{value:.2f}s"
    if name in SIZES:
        return size(value)
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return value if isinstance(value, str) else json.dumps(value)


def _distance(value: object) -> str:
    text = until(value)
    return text if text.endswith("ago") else f"in {text}"
