"""Fork and reap, with real children: what they say, how they end, that nothing is left of them."""

import logging
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from multiprocessing import Pipe
from multiprocessing.connection import Connection

import pytest

from supervisor.runtime.child import Child
from tests.supervisor.children import Home, descriptors

ORPHANS_STATUS = 7


@pytest.fixture(name="home")
def _home() -> Iterator[Home]:
    home = Home()
    yield home
    home.close()


def _state(child: Child) -> str:
    """Its state, which the type checker must not take for what it was a line before."""
    return child.state


def _say(*words: object) -> None:
    channel = words[-1]
    assert isinstance(channel, Connection)
    for word in words[:-1]:
        channel.send(word)


def _echo(channel: Connection) -> None:
    """Ready, then echoes until the end of the channel."""
    channel.send("ready")
    while True:
        try:
            channel.send(channel.recv())
        except EOFError:
            return


def _ignore(channel: Connection) -> None:
    """Reads nothing of what it is told."""
    channel.send("ready")
    signal.pause()


def _exit(status: object, _: Connection) -> None:
    sys.exit(status)  # type: ignore[arg-type]  # any object, which is what is under test


def _raise(_: Connection) -> None:
    raise RuntimeError("a bug of the child's")


def _status(pid: int) -> int:
    """Waits for a child's end and leaves its status to be taken."""
    info = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert info is not None
    return info.si_status


def _leave_orphan(gate: Connection, channel: Connection) -> None:
    """A grandchild that ends when it is told so."""
    pid = os.fork()
    if pid == 0:
        gate.recv()
        os._exit(ORPHANS_STATUS)
    channel.send(pid)


def test_a_conversation(home: Home) -> None:
    """Messages go both ways; the first one makes it running; the end of the channel ends it."""
    child, diary = home.child()
    home.spawn(child, _echo)
    assert _state(child) == "starting"
    home.wait_for(lambda: diary.entries)
    assert _state(child) == "running"
    child.send({"a": 1})
    home.wait_for(lambda: len(diary.entries) == 2)
    home.process_manager.disconnect(child)
    home.wait_for(lambda: len(diary.entries) == 3)
    assert diary.entries == ["ready", {"a": 1}, ("exit", 0)]
    assert (_state(child), child.pid, child.channel, home.process_manager.children) == ("stopped", None, None, ())


@pytest.mark.parametrize(("code", "status"), [(None, 1), (0, 0), (3, 3), ("reason", 1)])
def test_exit_status(home: Home, code: object, status: int) -> None:
    """The status is the one that the child ended with; an exit with a text instead of a number is a failure."""
    child, diary = home.child()
    home.spawn(child, _exit, code)
    home.wait_for(lambda: diary.entries)
    assert diary.entries == [("exit", status)]
    assert _state(child) == "backoff"


def test_an_error(home: Home) -> None:
    """A child that raises ends with status 1 and goes no further into the code of its parent."""
    child, diary = home.child()
    home.spawn(child, _raise)
    home.wait_for(lambda: diary.entries)
    assert diary.entries == [("exit", 1)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_killed(home: Home, number: signal.Signals) -> None:
    """A child that a signal ended has the signal's negative as its status."""
    child, diary = home.child()
    home.spawn(child, _echo)
    home.wait_for(lambda: diary.entries)
    home.process_manager.kill(child, number)
    home.wait_for(lambda: len(diary.entries) == 2)
    assert diary.entries == ["ready", ("exit", -number)]


def test_stopped(home: Home) -> None:
    """A child that was stopped rests, and stopping it twice is harmless; one that ended by itself is to come back."""
    child, diary = home.child()
    home.spawn(child, _echo)
    home.wait_for(lambda: diary.entries)
    home.process_manager.stop(child, signal.SIGTERM)
    home.process_manager.stop(child, signal.SIGTERM)
    assert _state(child) == "stopping"
    home.wait_for(lambda: len(diary.entries) == 2)
    assert _state(child) == "stopped"


def test_last_words(home: Home) -> None:
    """All that a child said before it ended is told before its end, however late it is read."""
    child, diary = home.child()
    words = tuple(f"word {number}" for number in range(50))
    home.spawn(child, _say, *words)
    assert child.pid is not None
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    home.wait_for(lambda: not home.process_manager.children)
    assert diary.entries == [*words, ("exit", 0)]


def test_messages_to_the_dead(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    """What a dead child is told is dropped with a log line, before its end was noticed and after."""
    child, diary = home.child()
    home.spawn(child, _say)
    assert child.pid is not None
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    with caplog.at_level(logging.WARNING):
        child.send("are you there?")
    assert "does not take messages" in caplog.text
    home.wait_for(lambda: diary.entries)
    child.send("and now?")
    assert diary.entries == [("exit", 0)]


def test_backoff(home: Home) -> None:
    """A child that dies at once is started again later each time, and its starts are counted."""
    child, _ = home.child()
    home.spawn(child, _say, "hello")
    delays = []
    for _ in range(3):
        home.wait_for(lambda: _state(child) == "backoff")
        begun = time.monotonic()
        delays.append(home.process_manager.respawn_later(child, lambda: home.spawn(child, _say, "hello")))
        home.wait_for(lambda: home.process_manager.children)
        assert time.monotonic() - begun >= delays[-1]
    assert delays == [0.01, 0.02, 0.04]
    assert child.restarts == 3


def test_stopped_in_backoff(home: Home) -> None:
    """A child that is stopped while it waits for its next start does not start."""
    child, diary = home.child()
    home.spawn(child, _say)
    home.wait_for(lambda: diary.entries)
    started: list[str] = []
    delay = home.process_manager.respawn_later(child, lambda: started.append("again"))
    home.process_manager.stop(child, signal.SIGTERM)
    due: list[bool] = []
    home.loop.call_later(delay * 2, lambda: due.append(True))
    home.wait_for(lambda: due)
    assert started == []
    assert _state(child) == "stopped"


def test_nothing_is_left(home: Home) -> None:
    """After fifty children we have the descriptors that we had before, and each one's status was taken."""
    before = descriptors()
    pids = []
    for _ in range(50):
        child, diary = home.child()
        home.spawn(child, _say, "hello")
        pids.append(child.pid)
        home.wait_for(lambda: not home.process_manager.children)
        assert diary.entries == ["hello", ("exit", 0)]
    assert descriptors() == before
    assert not any(_is_child(pid) for pid in pids if pid is not None)


def _is_child(pid: int) -> bool:
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def test_orphans(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    """A process that outlives its worker becomes ours and its status is taken."""
    child, diary = home.child()
    ours, theirs = Pipe()
    home.spawn(child, _leave_orphan, theirs, keep=theirs)
    home.wait_for(lambda: len(diary.entries) == 2)
    orphan = diary.entries[0]
    assert isinstance(orphan, int)
    with ours, theirs:
        ours.send("end")
    assert _status(orphan) == ORPHANS_STATUS
    with caplog.at_level(logging.INFO):
        home.process_manager.reap_orphans()
    assert not _is_child(orphan)
    assert f"reaped orphan {orphan}" in caplog.text


def test_an_orphan_behind_its_parent(home: Home) -> None:
    """Where parent and orphan have both ended before we look, the orphan's status is taken after its parent's."""
    child, diary = home.child()
    ours, theirs = Pipe()
    home.spawn(child, _leave_orphan, theirs, keep=theirs)
    assert child.pid is not None
    assert child.channel is not None
    select.select([child.channel], [], [])
    orphan = child.channel.receive()
    assert isinstance(orphan, int)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    with ours, theirs:
        ours.send("end")
    assert _status(orphan) == ORPHANS_STATUS
    home.wait_for(lambda: diary.entries)
    assert not _is_child(orphan)


def test_orphans_leave_children_alone(home: Home) -> None:
    """Reaping orphans does not take the status of a child that has ended: that is told by its own exit."""
    child, diary = home.child()
    home.spawn(child, _exit, 5)
    assert child.pid is not None
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    home.process_manager.reap_orphans()
    home.wait_for(lambda: diary.entries)
    assert diary.entries == [("exit", 5)]


def test_a_strangers_process_is_not_ours(home: Home) -> None:
    """A living process that is not in the process manager is neither waited for nor reaped."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as stranger:
        home.process_manager.reap_orphans()
        assert stranger.poll() is None
        stranger.communicate(timeout=30)
    assert stranger.returncode == 0


def test_reads_nothing(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    """A child that takes no messages is killed as soon as its channel is full; we do not wait for it."""
    child, diary = home.child()
    home.spawn(child, _ignore)
    home.wait_for(lambda: diary.entries)
    while "nd-test reads no messages any more; it is killed" not in caplog.text:
        child.send("x" * 1000)
    home.wait_for(lambda: len(diary.entries) == 2)
    assert diary.entries == ["ready", ("exit", -signal.SIGKILL)]
