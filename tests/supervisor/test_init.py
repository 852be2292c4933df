"""The first process ends as the supervisor does, after all others, and takes none of their exits to its parent."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from signal import SIGKILL, SIGTERM

import psutil
import pytest

from supervisor.children import LIBC, PR_SET_CHILD_SUBREAPER
from supervisor.init import GRACE_SECONDS, NAME

# A supervisor of the test's: it prints its number and those of its children, of which one does not end with it.
SCRIPT = """
import os, signal, time
from supervisor import init

def serve():
    signal.signal(signal.SIGTERM, lambda *_: os._exit(7))
    children = [os.fork() or children_sleep(follow) for follow in {follow}]
    print(os.getpid(), *children, flush=True)
    time.sleep(60)

def children_sleep(follow):
    if follow:
        init.LIBC.prctl(init.PR_SET_PDEATHSIG, signal.SIGKILL)
    time.sleep(60)

import supervisor.__main__
supervisor.__main__.main = serve
init.main()
"""


@contextmanager
def _started(*follow: bool) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """The first process, and the numbers of the supervisor and its children, each of which follows it or does not."""
    LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1)  # as the shim has it
    argv = [sys.executable, "-c", SCRIPT.format(follow=follow)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as first:
        try:
            assert first.stdout is not None
            yield first, [int(word) for word in first.stdout.readline().split()]
        finally:
            first.kill()
            LIBC.prctl(PR_SET_CHILD_SUBREAPER, 0)


def test_supervisor_killed() -> None:
    """It says so, when all children have ended and been taken."""
    with _started(True, True) as (first, (supervisor, *children)):
        os.kill(supervisor, SIGKILL)
        assert first.wait(5) == 128 + SIGKILL
        assert not any(psutil.pid_exists(pid) for pid in children)
        with pytest.raises(ChildProcessError):
            os.waitpid(children[0], os.WNOHANG)  # it was not left to us


def test_orphan_that_lives_on() -> None:
    """A child that does not end is killed after a while."""
    with _started(False) as (first, (supervisor, child)):
        began = time.monotonic()
        os.kill(supervisor, SIGKILL)
        assert first.wait(10) == 128 + SIGKILL
        assert time.monotonic() - began >= GRACE_SECONDS
        assert not psutil.pid_exists(child)


def test_told_to_stop() -> None:
    """The supervisor is told, and its exit status is the first process's."""
    with _started() as (first, _):
        assert psutil.Process(first.pid).name() == NAME.decode()
        first.send_signal(SIGTERM)
        assert first.wait(5) == 7


def test_first_process_killed() -> None:
    """Nobody lives on without it."""
    with _started(True) as (first, pids):
        first.send_signal(SIGKILL)
        first.wait(5)
        for pid in pids:
            os.waitid(os.P_PID, pid, os.WEXITED)  # they are left to us
        assert first.returncode == -signal.SIGKILL
