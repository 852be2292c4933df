"""The child's table: every event in every state."""

from itertools import product

import pytest

from supervisor.runtime.child import Child
from supervisor.runtime.child_states import ChildEvent, ChildState, RefusedChildEvent, after

LEGAL = {
    "stopped": {"spawn": "starting"},
    "starting": {"ready": "running", "exit": "backoff", "stop": "stopping"},
    "running": {"exit": "backoff", "stop": "stopping"},
    "backoff": {"spawn": "starting", "stop": "stopped"},
    "stopping": {"exit": "stopped"},
}
CASES = [(state, event, LEGAL[state].get(event)) for state, event in product(ChildState, ChildEvent)]


def test_every_state_is_spelled_out() -> None:
    """The table below has a row for each state, so that no new one goes untested."""
    assert set(LEGAL) == set(ChildState)


@pytest.mark.parametrize(("state", "event", "expected"), CASES)
def test_event(state: ChildState, event: ChildEvent, expected: str | None) -> None:
    """A legal event leads to the state that is spelled out here, any other is refused and names both."""
    if expected is not None:
        assert after(state, event) == expected
        return
    with pytest.raises(RefusedChildEvent, match=f"{event} .* {state}"):
        after(state, event)


def test_a_refused_event_changes_nothing() -> None:
    """A child that refuses an event is in the state that it was in."""
    child = Child("nd-test", "worker", lambda _: None, lambda _: None)
    with pytest.raises(RefusedChildEvent):
        child.advance(ChildEvent.READY)
    assert child.state is ChildState.STOPPED
