"""What processes do, stamped by the kernel and not by themselves: an instance of ftrace's of our own.

Owns tracefs (Documentation/trace/ftrace.rst and events.rst of the kernel). Must not know what the events mean.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.lab.command import run
from tests.lab.lab import CHECKOUT

EVENTS = (
    "sched/sched_process_fork",
    "sched/sched_process_exec",
    "syscalls/sys_exit_read",
    "syscalls/sys_exit_recvfrom",
    "syscalls/sys_enter_write",
    "syscalls/sys_enter_sendto",
    "syscalls/sys_enter_sendmsg",
    "syscalls/sys_enter_socket",
    "syscalls/sys_enter_setns",
)
SETTINGS = {"trace_clock": "mono", "buffer_size_kb": "8192", "options/event-fork": "1"}
LINE = re.compile(r"^.+-(?P<thread>\d+) +\[\d+\] +\S+ +(?P<time>\d+\.\d+): (?P<name>\w+)(?P<rest>.*)$")
CHILD = re.compile(r"child_pid=(\d+)")
FIRST_ARGUMENT = re.compile(r"\(\w+: (?:0x)?([0-9a-f]+)")


@dataclass(frozen=True, slots=True)
class Event:
    """`time` is in seconds of `time.monotonic()`; `name` is the system call's, or the tracepoint's.

    `value` is what a call gave back (negative: an errno), else its first argument, or the child that was forked.
    """

    time: float
    thread: int
    name: str
    value: int


class Tracer:
    """Traces some threads and all that they fork."""

    def __init__(self, instance: Path) -> None:
        self._instance = instance
        for name, value in SETTINGS.items():
            (instance / name).write_text(value)

    def start(self, threads: Iterable[int]) -> None:
        """From now on; what was recorded before is dropped."""
        (self._instance / "trace").write_text("")
        (self._instance / "set_event_pid").write_text(" ".join(map(str, threads)))
        self._switch("1")

    def stop(self) -> list[Event]:
        """What has happened since the start, in order."""
        self._switch("0")
        found = map(_event, (self._instance / "trace").read_text().splitlines())
        return sorted((event for event in found if event), key=lambda event: event.time)

    def _switch(self, state: str) -> None:
        for name in EVENTS:
            (self._instance / "events" / name / "enable").write_text(state)


@contextmanager
def tracer() -> Iterator[Tracer]:
    """An instance that is removed afterwards; also one that a killed run has left."""
    with TemporaryDirectory() as directory:
        run("mount", "-t", "tracefs", "tracefs", directory)
        instance = Path(directory, "instances", f"ndh-{CHECKOUT}")
        try:
            instance.mkdir(exist_ok=True)
            yield Tracer(instance)
        finally:
            instance.rmdir()
            run("umount", directory)


def _event(line: str) -> Event | None:
    if not (match := LINE.match(line)):
        return None
    return Event(float(match["time"]), int(match["thread"]), match["name"], _value(match["rest"]))


def _value(rest: str) -> int:
    if rest.startswith(" -> "):
        number = int(rest.removeprefix(" -> "), 16)
        return number - (1 << 64) if number >> 63 else number
    if child := CHILD.search(rest):
        return int(child[1])
    first = FIRST_ARGUMENT.match(rest)
    return int(first[1], 16) if first else 0
