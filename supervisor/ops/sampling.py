"""Measures what processes cost. The only file that knows psutil.

It never waits for a process: psutil would take the exit status that the process manager needs.
"""

import os
from dataclasses import dataclass
from multiprocessing.connection import Connection

import psutil

from supervisor.contract.messages import Cost


@dataclass(frozen=True, slots=True)
class Sample:
    """One process of the tree; `started` is a Unix time."""

    pid: int
    name: str
    parent: int
    started: float
    cost: Cost


def sample(process: psutil.Process) -> Sample | None:
    """The sample of one process; None if the process has ended."""
    try:
        with process.oneshot():
            times, bindings = process.cpu_times(), process.memory_full_info()
            cost = Cost(times.user + times.system, bindings.rss, bindings.pss, process.num_fds(), process.num_threads())
            return Sample(process.pid, process.name(), process.ppid(), process.create_time(), cost)
    except psutil.Error:
        return None


def sample_tree(root: int, channel: Connection) -> None:
    """Sends a Sample of `root` and of each process below it, except the one that runs this.

    It runs in a process of its own: a sample takes a third of a millisecond, too long for a loop that must not block.
    """
    tree = psutil.Process(root)
    processes = [tree, *(p for p in tree.children(recursive=True) if p.pid != os.getpid())]
    channel.send(tuple(found for p in processes if (found := sample(p)) is not None))
