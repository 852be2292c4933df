"""Daemons of the laboratory: started detached, remembered by pid and start time, stopped by just that identity."""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.lab.command import NotReached, wait_until

STOP_TIMEOUT = 20.0  # seconds; an engine stops its containers first


@dataclass(frozen=True, slots=True)
class Process:
    """A process whose pid cannot be mistaken for a later one's. `started` is in clock ticks since boot."""

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> "Process | None":
        """The running process with this pid; a zombie does not run."""
        stat = _stat(pid)
        return cls(pid, int(stat[19])) if stat and stat[0] != "Z" else None

    @classmethod
    def recorded(cls, path: Path) -> "Process | None":
        """The process that was recorded in this file, if it still runs."""
        try:
            process = cls(*map(int, path.read_text().split()))
        except FileNotFoundError:
            return None
        return process if process.alive else None

    def record(self, path: Path) -> None:
        """Write it down for a later process of ours."""
        path.write_text(f"{self.pid} {self.started}\n")

    @property
    def alive(self) -> bool:
        """Does it still run? Reaps it if it was a child of ours."""
        _reap(self.pid)
        return Process.of(self.pid) == self

    @property
    def name(self) -> str | None:
        """The kernel's, cut to 15 characters; None for a process that has gone."""
        try:
            return Path(f"/proc/{self.pid}/comm").read_text().strip()
        except (FileNotFoundError, ProcessLookupError):
            return None

    @property
    def rest(self) -> str | None:
        """None while it works; equal at two times where it has slept all the time between (proc(5), status)."""
        try:
            lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError):
            return None
        fields = {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
        asleep = fields["State"].startswith("S")
        return f"{fields['voluntary_ctxt_switches']} {fields['nonvoluntary_ctxt_switches']}" if asleep else None

    @property
    def threads(self) -> int:
        """Their number, 0 for a process that has gone."""
        try:
            return sum(1 for _ in Path(f"/proc/{self.pid}/task").iterdir())
        except (FileNotFoundError, ProcessLookupError):
            return 0

    def kill(self, signum: signal.Signals) -> None:
        """Send a signal, unless the process has gone."""
        if self.alive:
            with suppress(ProcessLookupError):  # it may go just now
                os.kill(self.pid, signum)

    def stop(self, timeout: float = STOP_TIMEOUT) -> None:
        """SIGTERM, then SIGKILL after `timeout` seconds."""
        self.kill(signal.SIGTERM)
        try:
            wait_until(lambda: not self.alive, f"the end of process {self.pid}", timeout)
        except NotReached:
            self.kill(signal.SIGKILL)
            wait_until(lambda: not self.alive, f"the end of process {self.pid} after SIGKILL")


def spawn(argv: list[str], log: Path) -> Process:
    """Start a daemon in a session of its own with both outputs appended to `log`."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log), flags, 0o644),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    pid = os.posix_spawnp(argv[0], argv, os.environ, file_actions=actions, setsid=True)
    process = Process.of(pid)
    if process is None:
        raise NotReached(f"{argv[0]} ended at once; see {log}")
    return process


def tree(pid: int) -> Iterator[Process]:
    """It and its descendants, each after its parent."""
    if process := Process.of(pid):
        yield process
    try:
        children = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    except (FileNotFoundError, ProcessLookupError):
        return  # it has just gone
    for child in " ".join(children).split():
        yield from tree(int(child))


def processes() -> Iterator[Process]:
    """Every process that runs now."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (process := Process.of(int(entry.name))):
            yield process


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat from the third, the state, on (proc(5)); the second may hold blanks."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def _reap(pid: int) -> None:
    with suppress(ChildProcessError):  # somebody else's child, or reaped already
        os.waitpid(pid, os.WNOHANG)
