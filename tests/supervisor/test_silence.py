"""A dead DHCP server is waited for once, not by each container of a boot."""

import pytest

from supervisor import silence as module
from supervisor.silence import Silence
from tests.supervisor.puppet import Puppet
from workers.messages import CreateFailed

USUAL = 10.0


class Clock:
    """`time.monotonic()` in the test's hands."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        """The time."""
        return self.now


@pytest.fixture(name="clock")
def _clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def test_short_while_it_is_recent(clock: Clock) -> None:
    """For a minute after a silent budget the next ones are short; then the server gets its full chance again."""
    silence = Silence()
    assert silence.budget("br0", USUAL) == USUAL
    silence.found("br0")
    clock.now += 59
    assert silence.budget("br0", USUAL) == module.SHORT_BUDGET_SECONDS
    clock.now += 2
    assert silence.budget("br0", USUAL) == USUAL


def test_each_bridge_for_itself(clock: Clock) -> None:
    """One LAN's dead server says nothing about another LAN, and a budget that is shorter anyway stays."""
    silence = Silence()
    silence.found("br0")
    assert silence.budget("br1", USUAL) == USUAL
    assert silence.budget("br0", 2.0) == 2.0


def test_an_answer_ends_it(clock: Clock) -> None:
    """One answer is enough."""
    silence = Silence()
    silence.found("br0")
    silence.broken("br0")
    assert silence.budget("br0", USUAL) == USUAL


@pytest.mark.parametrize("silent", [True, False])
def test_what_a_worker_found(silent: bool) -> None:
    """Only a creation that nobody has answered is such a finding, not one that was refused or cancelled."""
    puppet = Puppet()
    puppet.ask(puppet.endpoint.create)
    puppet.report(CreateFailed("no lease", silent=silent))
    assert (puppet.silence.budget("br0", USUAL) < USUAL) == silent
    puppet.close()
