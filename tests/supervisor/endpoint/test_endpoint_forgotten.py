"""An endpoint that the engine may have forgotten, over restarts of the plugin: it goes in time, and never too early."""

import time
from collections.abc import Iterator

import pytest

from supervisor.domain.phases import Phase
from supervisor.endpoint import endpoint as module
from supervisor.endpoint.endpoint import JOIN_SECONDS, RECHECK_SECONDS
from supervisor.engine.facts import EngineFound
from tests.supervisor.puppet import LEASE, PID, PlayedLoop, Puppet, attach_path, bring_to
from workers.contract.messages import Attach, Command, Delete
from workers.system.clock import boottime

DAY = 86400
LIFE = JOIN_SECONDS / 6  # of each instance: no deadline of its own comes
WAITING = pytest.mark.parametrize("phase", [Phase.CREATED, Phase.JOINING])


class Lives:
    """One instance of the plugin after another, each with the same endpoint."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, phase: Phase) -> None:
        self.puppet = Puppet()
        self._all = [self.puppet]
        self._wall_clock, self._now = time.time(), boottime()
        monkeypatch.setattr(time, "time", lambda: self._wall_clock)
        monkeypatch.setattr(module, "boottime", lambda: self._now)
        bring_to(self.puppet, phase)

    def pass_time(self, seconds: float) -> None:
        """By all clocks."""
        self._wall_clock += seconds
        self._now += seconds
        self.puppet.loop.pass_time(seconds)

    def set_clock(self, seconds: float) -> None:
        """The wall clock alone."""
        self._wall_clock += seconds

    def begin(self, *, engine_pid: int | None = PID, starting: bool = False) -> None:
        """The next instance; `starting` is what the engine's files say of the container."""
        record = self.puppet.endpoint.record()
        self.puppet = Puppet(engine_pid=engine_pid)
        self.puppet.container.starting = starting
        self._all.append(self.puppet)
        self.puppet.endpoint.restore(record)
        self.puppet.worker.told()

    def gone(self) -> list[Command]:
        """What the worker is told when the time is over: to delete it, or to look whether there is a link."""
        if self.puppet.endpoint.phase is Phase.JOINING:
            return [Attach(attach_path(self.puppet), None, LEASE.gateway, arrived=True)]
        return [Delete()]

    def close(self) -> None:
        """Gives the descriptors back."""
        for puppet in self._all:
            puppet.close()


@pytest.fixture(name="lives")
def _lives(monkeypatch: pytest.MonkeyPatch, phase: Phase) -> Iterator[Lives]:
    lives = Lives(monkeypatch, phase)
    yield lives
    lives.close()


@WAITING
def test_again_and_again(lives: Lives, phase: Phase) -> None:
    """A plugin that starts again and again does not prolong what nobody comes for."""
    for _ in range(5):
        lives.pass_time(LIFE)
        lives.begin()
    assert (lives.puppet.endpoint.phase, lives.puppet.worker.told()) == (phase, [])
    expected = lives.gone()
    lives.pass_time(LIFE)
    assert lives.puppet.worker.told() == expected


@WAITING
@pytest.mark.parametrize("starting", [False, True])
def test_long_ago(lives: Lives, phase: Phase, starting: bool) -> None:
    """Whether a container is only slow cannot be told before dockerd is found, and is looked for again while it is."""
    lives.pass_time(JOIN_SECONDS - 1)
    lives.puppet.loop = PlayedLoop()  # no deadline of this instance comes
    lives.pass_time(1)
    lives.begin(engine_pid=None, starting=starting)
    lives.pass_time(0)
    assert (lives.puppet.endpoint.phase, lives.puppet.worker.told()) == (phase, [])
    lives.puppet.engine.learn(EngineFound(PID))
    expected = lives.gone()
    lives.pass_time(RECHECK_SECONDS)
    assert lives.puppet.worker.told() == ([] if starting else expected)
    lives.puppet.container.starting = False
    lives.pass_time(RECHECK_SECONDS)
    assert lives.puppet.worker.told() == (expected if starting else [])


@WAITING
@pytest.mark.parametrize("step", [-DAY, DAY])
def test_wall_clock_that_is_set(lives: Lives, phase: Phase, step: int) -> None:
    """It neither shortens the time nor prolongs it."""
    lives.set_clock(step)
    lives.begin()
    expected = lives.gone()
    lives.pass_time(JOIN_SECONDS - 1)
    assert (lives.puppet.endpoint.phase, lives.puppet.worker.told()) == (phase, [])
    lives.pass_time(1)
    assert lives.puppet.worker.told() == expected
