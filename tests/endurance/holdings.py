"""What the plugin holds at a moment of rest: descriptors and processes, memory, rows on disk."""

import sqlite3
from collections import Counter
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.lab.leaks import Belongings
from tests.netns.process.plugin import at_rest
from tests.netns.process.rig import Rig

TABLES = ("network", "endpoint", "lease", "binding", "event", "holding", "quarantine")
MIB = 1 << 20
MOST_MEMORY = 2 * MIB
NAMED = MIB // 10  # a process that has grown by less is not named


@dataclass(frozen=True, slots=True)
class Holdings:
    """`memory` is in bytes by the names of processes: their own pages, those that several share divided by their number
    (proc(5), smaps_rollup). Pages of files are left out, as the kernel drops and reads them as it likes."""

    belongings: Belongings
    memory: Counter[str]
    rows: Counter[str]

    @classmethod
    def of(cls, rig: Rig) -> Self:
        """Waits until it rests."""
        belongings = at_rest(rig.plugin)
        memory = Counter[str]()
        for process in rig.plugin.tree():
            memory[process.name()] += _proportional(process.pid)
        return cls(belongings, memory, rows_of(rig))


@dataclass(frozen=True, slots=True)
class Growth:
    """What there is more of at the end of a run than before, where `bounds` are the most rows that tables may have."""

    before: Holdings
    after: Holdings
    bounds: dict[str, int]

    def __str__(self) -> str:
        more = Counter(self.after.memory)
        more.subtract(self.before.memory)
        named = ", ".join(f"{name} {size / MIB:+.2f}" for name, size in more.most_common() if size >= NAMED)
        descriptors = sum(
            count - self.before.belongings.counts[what]
            for what, count in self.after.belongings.counts.items()
            if "'s descriptors of " in what
        )
        rows = ", ".join(f"{name} {self.after.rows[name]}" for name in TABLES)
        memory = f"{self._memory / MIB:+.2f} MiB ({named})"
        return f"descriptors {descriptors:+d}, memory {memory}, rows: {rows}"

    @property
    def _memory(self) -> int:
        return self.after.memory.total() - self.before.memory.total()

    def excess(self) -> list[str]:
        """What has grown beyond its bound, in words."""
        found = self.after.belongings.more_than(self.before.belongings)
        if self._memory > MOST_MEMORY:
            found.append(f"more than {MOST_MEMORY / MIB:g} MiB of memory")
        most = self.before.rows | self.bounds
        return found + [f"{rows} rows in {name}" for name, rows in self.after.rows.items() if rows > most[name]]


def _proportional(pid: int) -> int:
    with suppress(OSError):  # it has just ended
        lines = (line.split() for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines())
        return sum(int(words[1]) << 10 for words in lines if words[0] in ("Pss_Anon:", "SwapPss:"))
    return 0


def rows_of(rig: Rig) -> Counter[str]:
    """How many each table has."""
    database = rig.directory / "state" / "state.db"
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return Counter(
            {name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in TABLES}  # noqa: S608
        )
