"""The end of a run: what each container has, that it gives its lease back once, and that nothing else is left."""

import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from supervisor.engine.identity import COMEBACK_SECONDS
from tests.lab.command import NotReached, wait_until
from tests.lab.dhcp import DhcpServer
from tests.lab.lab import Lab
from tests.lab.leaks import Belongings, assert_no_more
from tests.lab.plugin import Plugin
from tests.plugin.conftest import belongings
from tests.plugin.judge import duid_of
from tests.plugin.sandbox import Sandbox
from tests.soak.members import Member
from tests.soak.records import Gap, Kind, Span

SETTLE_SECONDS = 15  # for a change of address that has just begun
PATIENCE = COMEBACK_SECONDS + 30  # seconds
STATE = "var/lib/net-dhcp"


def unsettled(members: list[Member], dhcp: DhcpServer) -> list[Gap]:
    """The containers whose interface has not just the address of each family that the server has granted last."""
    return [gap for member in members for gap in _unsettled(member, dhcp)]


def _unsettled(member: Member, dhcp: DhcpServer) -> Iterator[Gap]:
    if member.name not in member.diary.open:
        yield _gap(member.name, Kind.UNSETTLED, "it could not be brought back")
        return
    mac = member.diary.open[member.name].mac

    def addresses() -> list[object]:
        sandbox = Sandbox.of(member.container)
        return [*(address.ip for address in sandbox.addresses(mac)), *sandbox.addresses6(mac)]

    def granted() -> list[object]:
        six = [message for message in dhcp.messages6(duid_of(mac)) if message.grants]
        return [*(m.address for m in dhcp.messages(mac, "ACK")[-1:]), *(m.address for m in six[-1:])]

    try:
        wait_until(lambda: addresses() == granted(), "the leased address", SETTLE_SECONDS, interval=0.5)
    except NotReached:
        yield _gap(member.name, Kind.UNSETTLED, f"{mac} has {addresses()}, {granted()} is leased to it")


def left_behind(before: Belongings, lab: Lab, plugin: Plugin) -> list[Gap]:
    """What the machine, the server, the plugin's processes and its state hold more than before.

    Leases that nobody will come for wait a while, and those whose release was lost run out.
    """
    found = []
    try:
        wait_until(lambda: not (_leases(lab) or any(_rows(plugin).values())), "the rest", PATIENCE, interval=1)
    except NotReached:
        found = [f"{number} rows of {name}" for name, number in _rows(plugin).items() if number]
    try:
        assert_no_more(before, lambda: belongings(lab, plugin))
    except AssertionError as left:
        found.append(str(left))
    return [_gap("all", Kind.LEFT, words) for words in found]


def _leases(lab: Lab) -> list[object]:
    return [*lab.dhcp.leases(), *lab.dhcp.leases6()]


def _rows(plugin: Plugin) -> dict[str, int]:
    """What the state says of endpoints, and of leases that wait for their containers.

    It is read from a copy: SQLite takes the link to the plugin's root for a path of ours.
    """
    _, view = plugin.get("/v1/workers")
    (pid,) = {worker["pid"] for worker in view["workers"] if worker["role"] == "supervisor"}
    tables = {"endpoints": "endpoint", "waiting leases": "binding WHERE record -> '$.record.leases' <> '{}'"}
    with TemporaryDirectory() as directory:
        for file in Path(f"/proc/{pid}/root/{STATE}").glob("state.db*"):
            shutil.copy(file, directory)
        with closing(sqlite3.connect(f"{directory}/state.db")) as state:
            return {
                name: state.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608  (constants)
                for name, table in tables.items()
            }


def _gap(container: str, kind: Kind, detail: str) -> Gap:
    now = time.time()
    return Gap(container, kind, Span(now, now), detail)
