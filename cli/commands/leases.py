"""`leases`: who has had which address, and when."""

import click

from cli.commands.options import examples, format_option, network_option
from cli.errors import Failure
from cli.output import Column, show
from cli.session import Session, pass_session
from cli.words import NONE, clock, moment

COLUMNS = (
    Column("ADDRESS", lambda row: str(row["address"])),
    Column("CONTAINER", lambda row: str(row["container"] or row["endpoint_id"][:12])),
    Column("NETWORK", lambda row: str(row["network"] or row["network_id"][:12])),
    Column("MAC", lambda row: str(row["mac"] or NONE)),
    Column("SERVER", lambda row: str(row["server"] or NONE)),
    Column("BEGIN", lambda row: clock(row["begin"])),
    Column("END", lambda row: clock(row["end"]) if row["end"] else "held"),
    Column("ENDED BY", lambda row: str(row["ended_by"] or NONE)),
)


@click.command(
    epilog=examples(
        "net-dhcp leases                                            # all that are known",
        "net-dhcp leases 192.168.1.57 --at 2026-11-24T20:00         # who had it then?",
        "net-dhcp leases web --since 7d                             # where has web been?",
        "net-dhcp leases 02:f4:af:f3:95:ab --format json",
    )
)
@click.argument("name", metavar="[ADDRESS|MAC|CONTAINER]", required=False)
@network_option
@click.option("--at", "at", metavar="WHEN", help="only leases held at that time: 2h (ago), or a date and time")
@click.option("--since", metavar="WHEN", help="only leases held after that time")
@click.option("--until", metavar="WHEN", help="only leases held before that time")
@format_option
@pass_session
def leases(
    session: Session,
    *,
    name: str | None,
    network: str | None,
    at: str | None,
    since: str | None,
    until: str | None,
    form: str,
) -> None:
    """List the leases that containers have and had: who had 192.168.1.57 on Tuesday?

    The plugin keeps 30 days of them.
    """
    times = {"at": at, "since": since, "until": until}
    asked = {word: moment(text).isoformat() for word, text in times.items() if text}
    if at and (since or until):
        raise click.UsageError("--at is one moment: leave out --since and --until")
    found = session.client.get("/v1/leases", network=network, **(_called(name) if name else {}), **asked)
    if "leases" not in found:
        raise Failure("the plugin's answer has no leases")
    show(found["leases"], COLUMNS, form)


def _called(word: str) -> dict[str, str]:
    """The parameter for what this word looks like."""
    if len(word) == 17 and word.count(":") == 5:
        return {"mac": word.lower()}
    if ":" in word or word.replace(".", "").replace("/", "").isdigit():
        return {"address": word.partition("/")[0]}
    return {"container": word}
