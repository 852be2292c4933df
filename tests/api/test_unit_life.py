"""Life and death of the API unit: whatever dies, nobody hangs and the socket stays."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.api.unit import (
    ACTIVATE,
    LEAVE,
    NEVER_ANSWERED,
    PATIENCE_SECONDS,
    Listener,
    Reaction,
    Unit,
    listening,
    reaction,
    running,
)
from tests.lab.command import SLACK_SECONDS


@pytest.fixture(name="listener")
def _listener(tmp_path: Path) -> Iterator[Listener]:
    with listening(tmp_path / "plugin.sock") as listener:
        yield listener


@pytest.fixture(name="unit")
def _unit(listener: Listener) -> Iterator[Unit]:
    with running(listener) as unit:
        assert listener.ask(ACTIVATE).status == 200
        yield unit


def end_in_flight(listener: Listener, unit: Unit, pid: int, signum: int) -> tuple[Reaction, float]:
    """What the client of a call in flight sees of that signal, and after how many seconds."""
    with listener.connect() as connection:
        connection.sendall(NEVER_ANSWERED)
        assert unit.arrived.acquire(timeout=PATIENCE_SECONDS)
        begin = time.monotonic()
        os.kill(pid, signum)
        return reaction(connection), time.monotonic() - begin


def assert_next_unit_works(listener: Listener) -> None:
    """A connection made while there is no unit is served by the next one."""
    with listener.connect() as early:
        early.sendall(LEAVE)
        with running(listener):
            assert reaction(early).status == 200


def test_killed_worker_takes_the_master_with_it(listener: Listener, unit: Unit) -> None:
    """The client's connection ends at once, the unit exits with an error, the next one serves the same socket."""
    end, seconds = end_in_flight(listener, unit, unit.worker().pid, signal.SIGKILL)
    assert end.raw == b""
    assert seconds < SLACK_SECONDS
    assert unit.exit_code() == 1
    assert_next_unit_works(listener)


def test_killed_master_takes_the_worker_with_it(listener: Listener, unit: Unit) -> None:
    """A worker without master would go on serving from queues that nobody reads."""
    worker = unit.worker()
    assert unit.master.pid
    end, seconds = end_in_flight(listener, unit, unit.master.pid, signal.SIGKILL)
    assert end.raw == b""
    assert seconds < SLACK_SECONDS
    assert unit.exit_code() == -signal.SIGKILL
    psutil.wait_procs([worker], timeout=PATIENCE_SECONDS)
    assert not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE
    assert_next_unit_works(listener)


def test_idle_stop(listener: Listener, unit: Unit) -> None:
    """SIGTERM ends an idle unit at once, with success, and the socket's file stays."""
    unit.master.terminate()
    begin = time.monotonic()
    assert unit.exit_code() == 0
    assert time.monotonic() - begin < SLACK_SECONDS
    assert listener.path.is_socket()
    assert_next_unit_works(listener)


def test_stop_with_a_call_in_flight(listener: Listener, unit: Unit) -> None:
    """A call that gets no answer does not hold up a stop."""
    assert unit.master.pid
    end, seconds = end_in_flight(listener, unit, unit.master.pid, signal.SIGTERM)
    assert end.raw == b""
    assert seconds < 4
    assert unit.exit_code() == 0
    assert listener.path.is_socket()


def test_broken_channel(listener: Listener, unit: Unit) -> None:
    """When the supervisor's end is gone, a call in flight fails with the reason, and the unit exits by itself."""
    assert unit.supervisor.pid
    end, seconds = end_in_flight(listener, unit, unit.supervisor.pid, signal.SIGKILL)
    assert (end.status, end.json) == (503, {"Err": "the plugin's supervisor is gone"})
    assert seconds < SLACK_SECONDS
    assert unit.exit_code() == 1
    assert listener.path.is_socket()
