"""The kernel makes no process, pipe or descriptor: who asked hears of it at once, and it is tried again later.

Each place where the supervisor starts a process meets each refusal; `tests/netns/process/test_faults.py` has the same
in a whole plugin.
"""

import errno
import os
import resource
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import synchronize
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NoReturn

import pytest

from supervisor.listener import listen
from supervisor.runtime import services
from supervisor.runtime.child import Child
from supervisor.runtime.child_states import ChildState
from supervisor.runtime.jobs import Jobs
from supervisor.runtime.process_manager import NOT_STARTED
from supervisor.runtime.services import HttpService, Watcher
from supervisor.runtime.spare_worker import SpareWorker
from tests.supervisor.children import PATIENCE_SECONDS, Home, descriptors

Refusal = Callable[[pytest.MonkeyPatch], None]


def _refuse(number: int) -> Callable[..., NoReturn]:
    def refused(*_: object) -> NoReturn:
        raise OSError(number, os.strerror(number))

    return refused


def no_process(patched: pytest.MonkeyPatch) -> None:
    """fork(2) says EAGAIN, as where a cgroup's limit of processes is reached."""
    patched.setattr(os, "fork", _refuse(errno.EAGAIN))


def no_memory(patched: pytest.MonkeyPatch) -> None:
    """fork(2) says ENOMEM."""
    patched.setattr(os, "fork", _refuse(errno.ENOMEM))


def no_pidfd(patched: pytest.MonkeyPatch) -> None:
    """The process is there, but no descriptor that tells of its end."""
    patched.setattr(os, "pidfd_open", _refuse(errno.EMFILE))


def no_descriptor(_patched: pytest.MonkeyPatch) -> None:
    """The limit of descriptors is reached, for real."""
    free = os.dup(0)
    os.close(free)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, most))


REFUSALS = (no_process, no_memory, no_pidfd, no_descriptor)
each_refusal = pytest.mark.parametrize("refusal", REFUSALS, ids=[refusal.__name__ for refusal in REFUSALS])


@contextmanager
def refused(refusal: Refusal) -> Iterator[None]:
    """The kernel refuses within the block."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        with pytest.MonkeyPatch.context() as patched:
            refusal(patched)
            yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.fixture(name="home")
def _home() -> Iterator[Home]:
    home = Home()
    yield home
    home.close()


def _idle(*_: object) -> None:
    """A process without work."""


def _wait(*words: object) -> None:
    """Until the supervisor closes the channel."""
    channel = words[-1]
    assert isinstance(channel, Connection)
    channel.send("ready")
    channel.poll(None)


def _serve(_listener: int, requests: object, _replies: object) -> None:
    socket.socketpair()[0].recv(1)


def _settle(home: Home) -> None:
    """What was about to be reaped is."""
    home.wait_for(lambda: not home.process_manager.children)
    home.process_manager.reap_orphans()


@each_refusal
def test_job(home: Home, refusal: Refusal) -> None:
    """The question has no answer at once, not after its deadline; the next one has."""
    before = descriptors()
    answers: list[object | None] = []
    with refused(refusal):
        Jobs(home.process_manager, home.loop).ask("nd-ask", _wait, deadline=1000.0, answer=answers.append)
        assert answers == []  # its caller has not gone on yet
        home.wait_for(lambda: answers)
    assert answers == [None]
    _settle(home)
    assert descriptors() == before
    Jobs(home.process_manager, home.loop).ask("nd-ask", _wait, deadline=PATIENCE_SECONDS, answer=answers.append)
    child = home.process_manager.children[0]
    home.wait_for(lambda: child.state is ChildState.RUNNING)


@each_refusal
def test_watcher(home: Home, refusal: Refusal, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is started again, with a pause, until that succeeds."""
    monkeypatch.setattr(services, "WATCHER", _wait)
    watcher = Watcher(home.process_manager, "/nowhere", lambda _: None, lambda: None)
    watcher.child.backoff.first = 0.01
    with refused(refusal):
        watcher.start()
        home.wait_for(lambda: watcher.child.restarts >= 2)
    home.wait_for(lambda: watcher.child.state is ChildState.RUNNING)


def test_watcher_that_looks_again(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is replaced by another has not died: there is no pause, in which it would count as dead."""
    monkeypatch.setattr(services, "WATCHER", _wait)
    watcher = Watcher(home.process_manager, "/nowhere", lambda _: None, lambda: None)
    watcher.child.backoff.first = 1000.0
    watcher.start()
    home.wait_for(lambda: watcher.child.state is ChildState.RUNNING)
    watcher.look_again()
    home.wait_for(lambda: watcher.child.restarts == 1)
    home.wait_for(lambda: watcher.child.state is ChildState.RUNNING)


@pytest.mark.parametrize("refusal", [*REFUSALS, "full /dev/shm"])
def test_api(home: Home, refusal: Refusal | str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As the watcher. Its queues have locks, for which the kernel needs room in /dev/shm."""
    with listen(tmp_path / "socket") as listener:
        api = HttpService(home.process_manager, home.loop, listener, lambda *_: None, target=_serve)
        api.child.backoff.first = 0.01
        with refused(_no_room_for_locks if isinstance(refusal, str) else refusal):
            api.start()
            home.wait_for(lambda: api.child.restarts >= 2)
        home.wait_for(lambda: api.child.pid)
        api.stop()


def _no_room_for_locks(patched: pytest.MonkeyPatch) -> None:
    patched.setattr(synchronize._multiprocessing, "SemLock", _refuse(errno.ENOSPC))  # type: ignore[attr-defined]


@pytest.fixture(name="spare")
def _spare(home: Home) -> Iterator[SpareWorker]:
    spare = SpareWorker(home.process_manager, home.loop)
    yield spare
    spare.stop()


@each_refusal
def test_worker(home: Home, spare: SpareWorker, refusal: Refusal) -> None:
    """Without a forkserver and without a spare one an endpoint hears at once why its worker could not be started."""
    child, diary = home.child()
    with refused(refusal):
        spare.assign(child)
        assert diary.entries == []
        home.wait_for(lambda: diary.entries)
    assert diary.entries == [("exit", NOT_STARTED)]
    assert child.refusal
    _settle(home)
    spare.assign(child)
    assert _has_process(child)
    assert child.refusal is None


@each_refusal
def test_spare_that_failed(home: Home, spare: SpareWorker, refusal: Refusal) -> None:
    """A spare worker that could not be made is not handed to the next endpoint, which gets one of its own."""
    with refused(refusal):
        spare.prepare()
    child, _ = home.child()
    spare.assign(child)
    assert _has_process(child)
    home.wait_for(lambda: len(spare.children) == 2 and spare.children[1].pid)


@each_refusal
def test_forkserver(home: Home, spare: SpareWorker, refusal: Refusal) -> None:
    """It is started again, with a pause; the supervisor forks meanwhile."""
    server = spare.children[0]
    server.backoff.first = 0.01
    with refused(refusal):
        spare.start()
        home.wait_for(lambda: server.restarts >= 2)
    child, _ = home.child()
    spare.assign(child)
    home.wait_for(lambda: server.pid)
    home.wait_for(lambda: child.pid)


def test_forkserver_that_cannot_fork(home: Home, spare: SpareWorker) -> None:
    """A worker that it cannot fork is told of as one that ended, and it lives on for the next one."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("supervisor.runtime.forkserver.fork_sibling", _refuse(errno.EAGAIN))
        spare.start()
    server, (child, diary) = spare.children[0], home.child()
    pid = server.pid
    for _ in range(2):
        diary.entries.clear()
        spare.assign(child)
        home.wait_for(lambda: diary.entries)
        assert diary.entries == [("exit", NOT_STARTED)]
    assert server.pid == pid


def _has_process(child: Child) -> bool:
    return child.pid is not None


class Unwritable:
    """A standard output that has gone."""

    def flush(self) -> None:
        """Fails."""
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))

    def write(self, _: str) -> int:
        """Takes nothing."""
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


def test_output_that_has_gone(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child whose last flush fails ends nevertheless: it never goes on as a second supervisor."""
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(f"sys.{name}", Unwritable())
    parent = os.getpid()
    child, diary = home.child()
    try:
        home.spawn(child, _idle)
    finally:
        if os.getpid() != parent:  # what is under test: this is the child, in its parent's code
            os._exit(77)
    home.wait_for(lambda: diary.entries)
    assert diary.entries == [("exit", 0)]
