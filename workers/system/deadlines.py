"""Callbacks for later: one time for each, on the clock that goes on in a suspend."""

from collections.abc import Callable


class Deadlines:
    """Times are `boottime()` seconds. Nothing happens by itself: the owner waits until `next_at`."""

    def __init__(self) -> None:
        self._at: dict[Callable[[], None], float] = {}

    @property
    def next_at(self) -> float | None:
        """When `due` is to be called."""
        return min(self._at.values(), default=None)

    def set(self, callback: Callable[[], None], at: float | None) -> None:
        """The callback's only time from now on; None for never."""
        self._at.pop(callback, None)
        if at is not None:
            self._at[callback] = at

    def clear(self) -> None:
        """All are forgotten."""
        self._at.clear()

    def due(self, now: float) -> None:
        """Calls those whose time has come, each once; one that another of them has put off is not called."""
        for callback in [c for c, at in self._at.items() if at <= now]:
            if self._at.get(callback, now + 1) <= now:
                del self._at[callback]
                callback()
