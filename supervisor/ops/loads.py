"""What processes cost, as far as the kernel tells it quickly: for scrapes, which look at thousands.

psutil, which supervisor.ops.sampling has for everything else, takes three times as long.
"""

import os
from dataclasses import dataclass
from pathlib import Path

TICKS, PAGE = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Load:
    """What a process costs; `cpu` in seconds, `rss` in bytes."""

    cpu: float
    rss: int
    descriptors: int

    def __add__(self, other: "Load") -> "Load":
        return Load(self.cpu + other.cpu, self.rss + other.rss, self.descriptors + other.descriptors)


def load_of(pid: int, *, with_ended: bool = False) -> Load | None:
    """The load of one process, with the time of its children that have ended; None if the process has."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123  Path takes as long as the rest
            words = file.read().rpartition(b")")[2].split()  # behind the name, which may hold anything: proc(5)
        descriptors = len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208  as above
    except OSError:
        return None
    user, system, ended_user, ended_system = map(int, words[11:15])
    ticks = user + system + (ended_user + ended_system if with_ended else 0)
    return Load(ticks / TICKS, int(words[21]) * PAGE, descriptors)


def children_of(pid: int) -> tuple[int, ...]:
    """The pids of its children; none where the kernel does not tell them by itself."""
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    except OSError:
        return ()
    return tuple(map(int, text.split()))
