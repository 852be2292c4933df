"""Callbacks and their times."""

from workers.system.deadlines import Deadlines


class Caller:
    """What was called."""

    def __init__(self) -> None:
        self.deadlines = Deadlines()
        self.called: list[str] = []

    def first(self) -> None:
        """Puts the other one off."""
        self.called.append("first")
        self.deadlines.set(self.second, 9.0)

    def second(self) -> None:
        """Asks for nothing."""
        self.called.append("second")


def test_in_time_and_once() -> None:
    """Nothing before its time, and nothing twice."""
    caller = Caller()
    caller.deadlines.set(caller.second, 2.0)
    assert caller.deadlines.next_at == 2.0
    caller.deadlines.due(1.9, caller)
    assert caller.called == []
    caller.deadlines.due(2.0, caller)
    caller.deadlines.due(3.0, caller)
    assert caller.called == ["second"]


def test_put_off() -> None:
    """A callback has one time: a later one replaces it, also while both are due; None is never."""
    caller = Caller()
    caller.deadlines.set(caller.first, 1.0)
    caller.deadlines.set(caller.second, 2.0)
    caller.deadlines.due(5.0, caller)
    assert (caller.called, caller.deadlines.next_at) == (["first"], 9.0)
    caller.deadlines.set(caller.second, None)
    caller.deadlines.due(99.0, caller)
    assert caller.called == ["first"]


def test_clear() -> None:
    """Nothing is due any more."""
    caller = Caller()
    caller.deadlines.set(caller.second, 2.0)
    caller.deadlines.clear()
    caller.deadlines.due(5.0, caller)
    assert caller.called == []
