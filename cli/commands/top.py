"""`top`: what the plugin's processes cost, live."""

from datetime import timedelta

import click

from cli.commands.options import examples, format_option
from cli.endpoints import rows
from cli.output import Column, Row, show, table, watch
from cli.session import Session, pass_session
from cli.words import NONE, now, size, time_of

COLUMNS = (
    Column("PROCESS", lambda row: row["name"]),
    Column("ROLE", lambda row: row["role"]),
    Column("STATE", lambda row: row["state"]),
    Column("CONTAINER", lambda row: row["container"] or ""),
    Column("PID", lambda row: str(row["pid"] or NONE), is_right=True),
    Column("CPU %", lambda row: NONE if row["cpu_percent"] is None else f"{row['cpu_percent']:.1f}", is_right=True),
    Column("MEMORY", lambda row: size(row["pss"]), is_right=True),
    Column("FILES", lambda row: str(row["descriptors"] or NONE), is_right=True),
    Column("RESTARTS", lambda row: str(row["restarts"]), is_right=True),
)
COSTS = ("cpu", "rss", "pss", "descriptors", "threads")
KEYS = {"cpu": "cpu_percent", "memory": "pss", "files": "descriptors", "restarts": "restarts"}


@click.command(
    epilog=examples(
        "net-dhcp top                                 # live; Ctrl-C ends it",
        "net-dhcp top --once --sort memory            # one table",
        "net-dhcp top --once --format json",
    )
)
@click.option("--once", is_flag=True, help="print one table and end")
@click.option(
    "--sort", type=click.Choice(sorted(KEYS)), help="the largest first; by default each process follows its parent"
)
@click.option(
    "--interval", type=click.FloatRange(0.5), default=2.0, show_default=True, help="seconds between two updates"
)
@format_option
@pass_session
def top(session: Session, once: bool, sort: str | None, interval: float, form: str) -> None:
    """Show the plugin's processes and what each costs.

    CPU % is the share of one processor since the last update; in the first table, since the process was started.
    MEMORY is PSS: a page that n processes share counts as 1/n, so you may add up the column.
    """
    meter = _Meter(session, sort)
    if once:
        show(meter.look(), COLUMNS, form)
    else:
        plain = form == "table"
        watch(
            lambda: show(meter.look(), COLUMNS, form),
            (lambda: table(meter.look(), COLUMNS)) if plain else None,
            interval,
        )


class _Meter:
    """Remembers the last look, to tell how much each process has worked since."""

    def __init__(self, session: Session, sort: str | None) -> None:
        self._session = session
        self._sort = sort
        self._last: dict[tuple[int, str], tuple[float, float]] = {}  # by pid and start: when, and CPU seconds

    def look(self) -> list[Row]:
        names = {row["endpoint_id"]: row["name"] for row in rows(self._session.client)}
        workers = self._session.client.get("/v1/workers")["workers"]
        found = [self._row(worker, names) for worker in workers]
        if self._sort:
            found.sort(key=lambda row: -(row[KEYS[self._sort or ""]] or 0))
        return [*found, _total(found)]

    def _row(self, worker: Row, names: dict[str, str]) -> Row:
        cost = worker.pop("cost") or dict.fromkeys(COSTS)
        percent = None
        if cost["cpu"] is not None and (started := time_of(worker["started"])):
            at, key = now(), (worker["pid"], worker["started"])
            before, spent = self._last.get(key, (started.timestamp(), 0.0))
            self._last[key] = at.timestamp(), cost["cpu"]
            seconds = max(at.timestamp() - before, timedelta(milliseconds=100).total_seconds())
            percent = round(100 * (cost["cpu"] - spent) / seconds, 2)
        return {**worker, **cost, "cpu_percent": percent, "container": names.get(worker["endpoint_id"] or "")}


def _total(found: list[Row]) -> Row:
    sums = {name: sum(row[name] or 0 for row in found) for name in (*COSTS, "cpu_percent", "restarts")}
    nothing = dict.fromkeys(("role", "state", "pid", "endpoint_id", "started", "container"), "")
    return {"name": f"total of {len(found)}", **nothing, **sums}
