"""`events`: what happened to leases."""

from datetime import datetime

import click

from cli.commands.options import examples, format_option, network_option
from cli.history import Event, Wanted, follow, past
from cli.inert import inert
from cli.output import TABLE, Column, lines, show
from cli.session import Session, pass_session
from cli.words import NONE, clock, moment

COLUMNS = (
    Column("TIME", lambda row: clock(row["time"])),
    Column("CONTAINER", lambda row: str(row["container"] or row["endpoint_id"][:12])),
    Column("NETWORK", lambda row: str(row["network"] or row["network_id"][:12])),
    Column("WHAT", lambda row: row["kind"]),
    Column("ADDRESS", lambda row: str(row["address"] or NONE)),
    Column("DETAIL", lambda row: row["detail"]),
)


@click.command(
    epilog=examples(
        "net-dhcp events --since 1h                   # what happened in the last hour",
        "net-dhcp events -f                           # what happens from now on",
        "net-dhcp events -n 20 --container web        # the last twenty of one container",
        "net-dhcp events --kind nak --format json",
    )
)
@click.option("-f", "--follow", "followed", is_flag=True, help="go on until Ctrl-C, even if the plugin restarts")
@click.option("-n", "--last", type=click.IntRange(1), metavar="N", help="only the last N events")
@click.option("--since", metavar="WHEN", help="only later events: 10m, 2h, 3d, or a date and time")
@click.option("--container", metavar="NAME", help="only events of this container")
@network_option
@click.option("--kind", metavar="WORD", help="only events of this kind, such as bound, renewed or nak")
@format_option
@pass_session
def events(
    session: Session,
    *,
    followed: bool,
    last: int | None,
    since: str | None,
    container: str | None,
    network: str | None,
    kind: str | None,
    form: str,
) -> None:
    """Print what happened to leases, and with -f what happens from now on.

    docs/operations.md explains each kind of event.
    """
    began: datetime | None = moment(since) if since else None
    wanted = Wanted(container=container, network=network, kind=kind, since=began)
    after = None
    if not followed or last or since:
        kept = past(session.client, wanted, last)
        after = kept[-1]["id"] if kept else None
        show(kept, COLUMNS, form)
        if not followed:
            return
    try:
        for event in follow(
            session.client, wanted, lambda text: click.echo(f"net-dhcp: {inert(text)}", err=True), after
        ):
            click.echo("\n".join(_lines(event, form)))
    except KeyboardInterrupt:
        return


def _lines(event: Event, form: str) -> list[str]:
    """A stream has no end by which columns could be measured."""
    if form == TABLE:
        return ["  ".join(inert(column.text(event)) for column in COLUMNS)]
    return lines([event], form.removeprefix(TABLE + " "))
