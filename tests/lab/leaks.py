"""What a test may leave behind: nothing."""

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.lab.command import NotReached, wait_until
from tests.lab.lab import Lab
from tests.lab.plugin import Plugin
from tests.lab.process import Process

SETTLE_TIMEOUT = 10.0  # seconds; connections are closed and children reaped soon, not at once
# What tells one pipe, process or temporary file from the next.
NUMBER = re.compile(r":\[\d+\]|(?<=/proc/)\d+|(?<=/wgunicorn-)\w+")


@dataclass(frozen=True, slots=True)
class Belongings:
    """What there is, each thing in words, with how often: links, leases, processes, their descriptors and threads."""

    counts: Counter[str]

    @classmethod
    def of(cls, lab: Lab, plugin: Plugin) -> "Belongings":
        """The machine's links, the server's leases and what the plugin's processes hold now."""
        counts = Counter(f"link {name}" for name in lab.network.links())
        counts.update(f"lease of {lease.address}" for lease in lab.dhcp.leases())
        for process in plugin.processes():
            name = process.name or "a process that has just gone"
            counts[name] += 1
            counts[f"{name}'s threads"] += process.threads
            counts.update(f"{name}'s descriptors of {_target(entry)}" for entry in _descriptors(process))
        return cls(counts)

    def more_than(self, before: "Belongings") -> list[str]:
        """What there is more of than before, in words."""
        return [f"{more} more {what}" for what, more in sorted((self.counts - before.counts).items())]


def assert_no_more(before: Belongings, lab: Lab, plugin: Plugin) -> None:
    """Fails, naming what has leaked, where the plugin does not come back to what it held before."""

    def leaked() -> list[str]:
        return Belongings.of(lab, plugin).more_than(before)

    try:
        wait_until(lambda: not leaked(), "the plugin to let go", SETTLE_TIMEOUT, interval=0.2)
    except NotReached:
        raise AssertionError(f"left behind: {'; '.join(leaked())}") from None


def _descriptors(process: Process) -> list[Path]:
    try:
        return list(Path(f"/proc/{process.pid}/fd").iterdir())
    except (FileNotFoundError, ProcessLookupError):
        return []  # it has just gone


def _target(descriptor: Path) -> str:
    """What it refers to, without the number that tells one pipe or socket from the next."""
    try:
        return NUMBER.sub("", str(descriptor.readlink()))
    except (FileNotFoundError, ProcessLookupError):
        return "nothing"  # it has just been closed
