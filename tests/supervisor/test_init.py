"""The first process ends as the supervisor does, after all others, and leaves none of their exits to its parent."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from signal import SIGALRM, SIGKILL, SIGTERM

import psutil

from supervisor.init import GRACE_SECONDS, NAME
from tests.lab.command import wait_until
from workers.system.libc import adopt_orphans

PATIENCE_SECONDS = 30.0
# A supervisor of the test's, whose children follow it or, one that is told so, do not. Each says who it is when nothing
# is left to do, so nobody is killed before the kernel knows whom it follows.
SCRIPT = """
import os, signal, socket, sys
from supervisor import init
from workers.system.libc import follow_parent

def serve():
    assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    supervisor = os.getpid()
    for word in sys.argv[1:]:
        if os.fork() == 0:
            if word == "follows":
                follow_parent(supervisor, signal.SIGKILL)
            endure(word)
    endure("supervises")

def endure(word):
    os.write(1, f"{word} {os.getpid()}\\n".encode())
    signal.sigwait([signal.SIGTERM])
    os._exit(7)

init.prepare = lambda: (socket.socket(), serve)
init.main()
"""


@dataclass(frozen=True)
class Family:
    """The first process, and the pids of the supervisor and of its children."""

    first: subprocess.Popen[str]
    supervisor: int
    children: list[int]


@contextmanager
def _started(*children: str) -> Iterator[Family]:
    """With a supervisor and its children, each of which "follows" it or "lives on"; all of them are ready."""
    adopt_orphans()  # as the shim does
    with subprocess.Popen([sys.executable, "-c", SCRIPT, *children], stdout=subprocess.PIPE, text=True) as first:
        try:
            assert first.stdout is not None
            said = [first.stdout.readline().rsplit(maxsplit=1) for _ in ("supervises", *children)]
            (supervisor,) = (int(pid) for word, pid in said if word == "supervises")
            yield Family(first, supervisor, [int(pid) for word, pid in said if word != "supervises"])
        finally:
            first.kill()
            adopt_orphans(adopt=False)


def _left_to_us(pid: int) -> bool:
    """Whether a process, or what is left of it, is our child."""
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _sockets(pid: int) -> int:
    return sum(str(end.readlink()).startswith("socket:") for end in Path(f"/proc/{pid}/fd").iterdir())


def test_supervisor_killed() -> None:
    """It says so, when all children have ended and been taken."""
    with _started("follows", "follows") as family:
        os.kill(family.supervisor, SIGKILL)
        assert family.first.wait(PATIENCE_SECONDS) == 128 + SIGKILL
        assert not any(psutil.pid_exists(pid) for pid in family.children)
        assert not any(_left_to_us(pid) for pid in (family.supervisor, *family.children))


def test_orphan_that_lives_on() -> None:
    """It is waited for, but not for ever."""
    with _started("lives on") as family:
        began = time.monotonic()
        os.kill(family.supervisor, SIGKILL)
        assert family.first.wait(PATIENCE_SECONDS) == -SIGALRM
        assert time.monotonic() - began >= GRACE_SECONDS
        (orphan,) = family.children
        os.kill(orphan, SIGKILL)
        os.waitpid(orphan, 0)


def test_name_and_socket() -> None:
    """What ps(1) shows is its own, not the supervisor's; but the socket is the supervisor's alone."""
    with _started() as family:
        wait_until(lambda: psutil.Process(family.first.pid).name() == NAME, "its name", interval=0.01)
        assert psutil.Process(family.supervisor).name() != NAME
        assert _sockets(family.supervisor) == 1
        assert _sockets(family.first.pid) == 0


def test_told_to_stop() -> None:
    """The supervisor is told, however early, and its exit status is the first process's."""
    with _started() as family:
        family.first.send_signal(SIGTERM)
        assert family.first.wait(PATIENCE_SECONDS) == 7


def test_first_process_killed() -> None:
    """Nobody lives on without it."""
    with _started("follows", "follows") as family:
        family.first.send_signal(SIGKILL)
        assert family.first.wait(PATIENCE_SECONDS) == -SIGKILL
        for pid in (family.supervisor, *family.children):
            _, status = os.waitpid(pid, 0)  # they are left to us
            assert os.waitstatus_to_exitcode(status) == -SIGKILL
