"""`ps`: which container has which lease."""

import click

from cli import endpoints
from cli.commands.options import examples, format_option, network_option, watch_option
from cli.output import Column, Row, show, table, watch
from cli.session import Session, pass_session
from cli.words import NONE, size


def _text(field: str) -> Column:
    return Column(field.upper().replace("_", " "), lambda row: str(row[field] or NONE))


COLUMNS = (
    Column("CONTAINER", lambda row: row["name"]),
    _text("network"),
    Column("ADDRESS", lambda row: row["addresses"] or NONE),
    _text("mac"),
    _text("state"),
    Column("EXPIRES IN", lambda row: row["expires_in"] if row["expires"] or row["ipv6"] else _for_ever(row)),
    Column("RENEWED", lambda row: row["renewed_ago"]),
    Column("SERVER", lambda row: str(row["server"] or (row["ipv6"] or {}).get("server") or NONE)),
    Column("PID", lambda row: str(row["worker_pid"] or NONE), is_right=True),
    Column("CPU", lambda row: NONE if row["cpu"] is None else f"{row['cpu']:.1f} s", is_right=True),
    Column("MEMORY", lambda row: size(row["pss"]), is_right=True),
)


@click.command(
    epilog=examples(
        "net-dhcp ps                                  # all containers with a lease",
        "net-dhcp ps -w --network lan                 # again every two seconds",
        "net-dhcp ps -q --network lan                 # only the containers' ids",
        "net-dhcp ps --format '{{.container}} {{.address}}'",
        "net-dhcp ps --format json | jq .expires",
    )
)
@click.option("-q", "--quiet", is_flag=True, help="only the ids of the containers")
@click.option("--container", metavar="NAME", help="only this container, by its name or id")
@network_option
@format_option
@watch_option
@pass_session
def ps(
    session: Session,
    *,
    quiet: bool,
    container: str | None,
    network: str | None,
    form: str,
    watched: bool,
    interval: float,
) -> None:
    """List the containers with their leases, and what each costs.

    CPU is the time that the processes of a lease have taken since their start, MEMORY is theirs alone (PSS).
    """

    def found() -> list[Row]:
        return endpoints.rows(session.client, costs=not quiet, network=network, container=container)

    def draw() -> None:
        if quiet:
            click.echo("".join(f"{row['container_id'] or row['endpoint_id']}\n" for row in found()), nl=False)
        else:
            show(found(), COLUMNS, form)

    if watched:
        plain = form == "table" and not quiet
        watch(draw, (lambda: table(found(), COLUMNS)) if plain else None, interval)
    else:
        draw()


def _for_ever(row: Row) -> str:
    return "never" if row["address"] else NONE
