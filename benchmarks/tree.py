"""What processes cost, as the kernel counts it (proc(5)). Must not know what they do."""

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from tests.lab.process import Process

FIRST = "nd-init"
CGROUPS = Path("/sys/fs/cgroup")
WORKER = re.compile(r"nd-[0-9a-f]{12}")  # named after its endpoint
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def supervisor(found: Iterable[Process]) -> Process:
    """Of all processes of the plugin the one that is older than all others but the first."""
    return min((p for p in found if p.name != FIRST), key=lambda process: (process.started, process.pid))


def is_worker(process: Process) -> bool:
    """Whether it is that of an endpoint."""
    return WORKER.fullmatch(process.name or "") is not None


def pss_megabytes(found: Iterable[Process]) -> float:
    """Their proportional set sizes, summed: a page that several share is counted once."""
    return sum(_pss_kibibytes(process.pid) for process in found) * 1024 / 1e6


def cpu_seconds(pid: int) -> float:
    """What all processes, ended ones included, have used in the process's control group, in seconds.

    The engine makes one for each plugin. Version 1 of control groups counts in cpuacct.usage, version 2 in cpu.stat.
    """
    groups = [line.split(":", 2)[1:] for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines()]
    for controllers, path in groups:
        if "cpuacct" in controllers.split(","):
            return int((CGROUPS / controllers / path[1:] / "cpuacct.usage").read_text()) / 1e9
    [unified] = [path for controllers, path in groups if not controllers]
    statistics = dict(line.split() for line in (CGROUPS / unified[1:] / "cpu.stat").read_text().splitlines())
    return int(statistics["usage_usec"]) / 1e6


def busy_seconds() -> float:
    """The time that all processors have worked since boot, for any process."""
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
