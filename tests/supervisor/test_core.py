"""When the supervisor lets the first requests in. Its children are played: nothing is forked."""

import socket
import time
from collections.abc import Callable
from pathlib import Path
from signal import Signals as Signal

import pytest

from supervisor import core
from supervisor.core import Supervisor
from supervisor.driver import parents, requests
from supervisor.driver.orphans import Orphans
from supervisor.driver.parents import Parents
from supervisor.engine.facts import Engine, EngineFound
from supervisor.ops.tcp import TcpSetting
from supervisor.state.store import Store
from supervisor.state.tables import Snapshot
from tests.lab.command import SLACK_SECONDS

SHORT = 0.1  # seconds


class NoSignals:
    """The test's own process keeps its handlers."""

    def __init__(self, *signals: Signal) -> None:
        self.reader = signals


@pytest.fixture(name="supervisor")
def _supervisor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Supervisor:
    monkeypatch.setattr(core, "Signals", NoSignals)
    monkeypatch.setattr(core, "RECOVERY_SECONDS", SHORT)
    monkeypatch.setattr(parents, "ParentWatch", object)  # its sockets would stay open
    monkeypatch.setattr(Parents, "start", lambda _: None)
    with socket.socket(socket.AF_UNIX) as listener:
        return Supervisor(listener, "/nowhere/docker.sock", tmp_path, TcpSetting())


def _sweep_after(seconds: float, monkeypatch: pytest.MonkeyPatch, supervisor: Supervisor) -> None:
    def sweep(_orphans: Orphans, _ends: object, _parents: object, done: Callable[[], None]) -> None:
        supervisor._loop.call_later(seconds, done)

    monkeypatch.setattr(Orphans, "sweep", sweep)


def _load_after(seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(_store: Store) -> Snapshot:
        time.sleep(seconds)  # the disk's time
        return Snapshot()

    monkeypatch.setattr(Store, "load", load)


def test_sweep_that_takes_long(supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    """No request is let in before it is over: it would remove the link of a start that has just begun."""
    _sweep_after(3 * SHORT, monkeypatch, supervisor)
    supervisor._recover()
    assert supervisor._swept


def test_state_that_takes_long(supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes meanwhile is heard, however long the disk takes; and a watcher that is silent holds nothing up."""

    _load_after(2 * SHORT, monkeypatch)
    _sweep_after(0, monkeypatch, supervisor)
    supervisor._loop.call_later(SHORT / 10, lambda: supervisor._on_fact(EngineFound(1)))
    supervisor._recover()
    assert supervisor._watcher_spoke

    supervisor._watcher_spoke = False
    began = time.monotonic()
    supervisor._recover()
    assert 3 * SHORT <= time.monotonic() - began < 30 * SHORT


def test_registration_behind_a_slow_disk(supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time that dockerd has for it begins with the first request, and not while the disk keeps it waiting, too."""
    monkeypatch.setattr(requests, "REGISTRATION_SECONDS", SLACK_SECONDS)
    monkeypatch.setattr(Engine, "release", 29)
    begun = time.monotonic()
    _load_after(2 * SHORT, monkeypatch)
    _sweep_after(0, monkeypatch, supervisor)
    supervisor._recover()
    later = begun + 2 * SHORT + SLACK_SECONDS
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert supervisor._requests.registration.is_awaited()
