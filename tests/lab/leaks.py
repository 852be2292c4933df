"""What a test may leave behind: nothing."""

import os
from dataclasses import dataclass
from ipaddress import IPv4Address

from tests.lab.command import NotReached, wait_until
from tests.lab.lab import Lab
from tests.lab.plugin import Plugin
from tests.lab.process import Process

COUNTED = ("processes", "descriptors", "threads")
SETTLE_TIMEOUT = 10.0  # seconds; connections are closed and children reaped soon, not at once


@dataclass(frozen=True, slots=True)
class Belongings:
    """The machine's links, the server's leases, and how much the plugin's processes hold."""

    links: frozenset[str]
    leases: frozenset[IPv4Address]
    processes: int
    descriptors: int
    threads: int

    @classmethod
    def of(cls, lab: Lab, plugin: Plugin) -> "Belongings":
        """As they are now."""
        found = plugin.processes()
        return cls(
            links=frozenset(lab.network.links()),
            leases=frozenset(lease.address for lease in lab.dhcp.leases()),
            processes=len(found),
            descriptors=sum(_entries(process, "fd") for process in found),
            threads=sum(_entries(process, "task") for process in found),
        )

    def more_than(self, before: "Belongings") -> list[str]:
        """What there is now and was not before, in words."""
        new = {"links": self.links - before.links, "leases": self.leases - before.leases}
        named = [f"{what} {', '.join(sorted(map(str, names)))}" for what, names in new.items() if names]
        counts = {
            name: (getattr(before, name), getattr(self, name)) for name in ("processes", "descriptors", "threads")
        }
        return named + [f"{old} {name} became {now}" for name, (old, now) in counts.items() if now > old]


def assert_no_more(before: Belongings, lab: Lab, plugin: Plugin) -> None:
    """Fails, naming what has leaked, where the plugin does not come back to what it held before."""
    try:
        wait_until(lambda: not Belongings.of(lab, plugin).more_than(before), "the plugin to let go", SETTLE_TIMEOUT)
    except NotReached:
        leaked = Belongings.of(lab, plugin).more_than(before)
        raise AssertionError(f"left behind: {'; '.join(leaked)}") from None


def _entries(process: Process, directory: str) -> int:
    try:
        return len(os.listdir(f"/proc/{process.pid}/{directory}"))  # noqa: PTH208  (counted, not used)
    except (FileNotFoundError, ProcessLookupError):
        return 0  # it has just gone
