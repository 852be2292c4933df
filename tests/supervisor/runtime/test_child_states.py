"""A child's states: what is not in their table is refused."""

import pytest

from supervisor.runtime.child import Child
from supervisor.runtime.child_states import ChildEvent, ChildState, RefusedChildEvent


def test_a_refused_event_changes_nothing() -> None:
    """A child that refuses an event is in the state that it was in; the refusal names both."""
    child = Child("nd-test", "worker", lambda _: None, lambda _: None)
    with pytest.raises(RefusedChildEvent, match="ready does not belong to a child that is stopped"):
        child.advance(ChildEvent.READY)
    assert child.state is ChildState.STOPPED
