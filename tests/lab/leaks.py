"""What a test may leave behind: nothing."""

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.lab.command import NotReached, wait_until
from tests.lab.process import Process

# What tells one pipe, process or temporary file from the next.
NUMBER = re.compile(r":\[\d+\]|(?<=/proc/)\d+|(?<=/wgunicorn-)\w+")
# The API's pool grows with the calls at one time and stays: 64 threads, its first one, the channel's, the replies'.
THREADS_ALLOWED = {"nd-api": 67, "nd-ops": 67}


@dataclass(frozen=True, slots=True)
class Belongings:
    """What there is, each thing in words, with how often: links, leases, processes, their descriptors and threads."""

    counts: Counter[str]

    @classmethod
    def of(cls, processes: Iterable[Process], links: Iterable[str], leases: Iterable[object] = ()) -> Self:
        """What these processes hold now."""
        counts = Counter(f"link {name}" for name in links)
        counts.update(f"lease of {address}" for address in leases)
        for process in processes:
            name = process.name or "a process that has just gone"
            counts[name] += 1
            counts[f"{name}'s threads"] += max(0, process.threads - THREADS_ALLOWED.get(name, 0))
            counts.update(f"{name}'s descriptors of {_target(entry)}" for entry in _descriptors(process))
        return cls(counts)

    def more_than(self, before: Self) -> list[str]:
        """What there is more of than before, in words."""
        return [f"{more} more {what}" for what, more in sorted((self.counts - before.counts).items())]


def assert_no_more(before: Belongings, now: Callable[[], Belongings]) -> None:
    """Fails, naming what has leaked, where the plugin does not come back to what it held before."""
    try:
        wait_until(lambda: not now().more_than(before), "the plugin to let go", interval=0.2)
    except NotReached:
        raise AssertionError(f"left behind: {'; '.join(now().more_than(before))}") from None


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
