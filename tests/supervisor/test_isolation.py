"""What a child has of its parent and its siblings: nothing that it was not given."""

import os
import select
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from supervisor.runtime.channel import Channel, channel
from tests.supervisor.children import PATIENCE_SECONDS, Diary, Home, descriptors

PIDFD = "anon_inode:[pidfd]"


@pytest.fixture(name="home")
def _home() -> Iterator[Home]:
    home = Home()
    yield home
    home.close()


def _describe_descriptors(channel: Connection) -> None:
    channel.send(descriptors())
    channel.poll(None)


def _describe_signals(channel: Connection) -> None:
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
    channel.send(([signal.getsignal(number) for number in numbers], signal.set_wakeup_fd(-1)))


def _describe_process(channel: Connection) -> None:
    channel.send((dict(os.environ), Path("/proc/self/comm").read_text(encoding="utf-8").strip()))


def _told(home: Home, diary: Diary) -> object:
    home.wait_for(lambda: diary.entries)
    return diary.entries[0]


def test_siblings() -> None:
    """Of the parent's channels, pidfds and private descriptors a child has none but its own channel and `keep`."""
    private, kept = Pipe()
    home = Home()
    before = set(descriptors().values())
    elder, elder_diary = home.child()
    home.spawn(elder, _describe_descriptors)
    _told(home, elder_diary)
    siblings = set(descriptors().values()) - before
    child, diary = home.child()
    ours, theirs = channel()
    ends: tuple[Channel | Connection, ...] = (ours, theirs, private, kept)
    named = {end: descriptors()[end.fileno()] for end in ends}
    home.process_manager.spawn(child, _describe_descriptors, theirs, channel=ours, theirs=(theirs,), keep=kept)
    told = _told(home, diary)
    home.close()
    private.close()
    kept.close()
    assert theirs.closed
    assert isinstance(told, dict)
    found = set(told.values())
    assert {named[theirs], named[kept]} <= found
    assert {PIDFD, *(what for what in siblings if what.startswith("socket:"))} >= siblings
    assert not found & (siblings | {named[ours], named[private]})


def test_signals(home: Home) -> None:
    """Handlers and wake-up descriptor of the parent are not inherited."""
    left, right = Pipe()
    os.set_blocking(right.fileno(), False)
    previous = [(number, signal.signal(number, lambda *_: None)) for number in (signal.SIGTERM, signal.SIGHUP)]
    wakeup = signal.set_wakeup_fd(right.fileno())
    try:
        child, diary = home.child()
        home.spawn(child, _describe_signals)
        told = _told(home, diary)
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in previous:
            signal.signal(number, handler)
        left.close()
        right.close()
    assert told == ([signal.SIG_DFL] * 4, -1)


def test_environment(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment is cut to what a child may know, in the child only; its name is what `ps` shows."""
    monkeypatch.setenv("FOREIGN", "word")
    monkeypatch.setenv("TZ", "UTC")
    child, diary = home.child("nd-0123456789abcdef")
    home.spawn(child, _describe_process)
    told = _told(home, diary)
    assert isinstance(told, tuple)
    environment, name = told
    assert "FOREIGN" not in environment
    assert set(environment) <= {"PATH", "LANG", "TZ"}
    assert environment["TZ"] == "UTC"
    assert name == "nd-0123456789ab"
    assert os.environ["FOREIGN"] == "word"


def test_imported_after_the_fork(home: Home) -> None:
    """A target that is named is loaded in the child, and not in the parent; one that does not exist is an error."""
    child, diary = home.child()
    home.process_manager.spawn(child, "wave:Error")
    home.wait_for(lambda: diary.entries)
    home.process_manager.spawn(child, "wave:nothing_of_the_kind")
    home.wait_for(lambda: len(diary.entries) == 2)
    assert diary.entries == [("exit", 0), ("exit", 1)]
    assert "wave" not in sys.modules


PARENT = """
    import sys, time
    from supervisor.runtime.child import Child
    from supervisor.runtime.process_manager import ProcessManager
    from supervisor.runtime.loop import Loop
    from supervisor.runtime.channel import channel

    def endure(end):
        end.send("ready")
        time.sleep(60)

    loop = Loop()
    process_manager = ProcessManager(loop)
    child = Child("nd-test", "test", lambda _: print(child.pid, flush=True), lambda _: None)
    ours, theirs = channel()
    process_manager.spawn(child, endure, theirs, channel=ours, theirs=(theirs,))
    while True:
        loop.step()
"""


def test_a_child_dies_with_its_parent() -> None:
    """When the supervisor is killed its children do not outlive it."""
    command = [sys.executable, "-c", textwrap.dedent(PARENT)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        pidfd = os.pidfd_open(int(parent.stdout.readline()))
        parent.kill()
    ended, _, _ = select.select([pidfd], [], [], PATIENCE_SECONDS)
    os.close(pidfd)
    assert ended
