"""What processes cost, as the kernel counts it (proc(5)). Must not know what they do."""

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from tests.lab.process import Process

FIRST = "nd-init"
WORKER = re.compile(r"nd-[0-9a-f]{12}")  # named after its endpoint
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def supervisor(found: Iterable[Process]) -> Process:
    """Of all processes of the plugin the one that is older than all others but the first."""
    return min((p for p in found if p.name != FIRST), key=lambda process: (process.started, process.pid))


def is_worker(process: Process) -> bool:
    """Whether it is that of an endpoint."""
    return WORKER.fullmatch(process.name or "") is not None


def pss_megabytes(pids: Iterable[int]) -> float:
    """Their proportional set sizes, summed: a page that several share is counted once."""
    return sum(_pss_kibibytes(pid) for pid in pids) * 1024 / 1e6


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time of each and of all its children that have ended and were waited for."""
    return sum(_ticks(pid) for pid in pids) / TICKS_PER_SECOND


def busy_seconds() -> float:
    """What all processors have worked since boot, whoever for."""
    user, nice, system, _idle, _iowait, *interrupts = Path("/proc/stat").read_text().splitlines()[0].split()[1:8]
    return sum(map(int, (user, nice, system, *interrupts))) / TICKS_PER_SECOND


def descriptors(pid: int) -> int:
    """How many it holds."""
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def _pss_kibibytes(pid: int) -> int:
    with suppress(FileNotFoundError, ProcessLookupError):  # it has just gone
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return 0


def _ticks(pid: int) -> int:
    """Fields 14 to 17: utime, stime, cutime, cstime. The second field may hold blanks."""
    with suppress(FileNotFoundError, ProcessLookupError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15]))
    return 0
