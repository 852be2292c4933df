"""Callbacks for later: one time for each, on the clock that goes on in a suspend."""

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(eq=False)
class Deadlines:
    """Times are `boottime()` seconds. Nothing happens by itself: the owner waits until `next_at`.

    The callbacks are the owner's methods, kept by their names: the next process has the times, and another owner.
    """

    _at: dict[str, float] = field(default_factory=dict, init=False)

    @property
    def next_at(self) -> float | None:
        """When `due` is to be called."""
        return min(self._at.values(), default=None)

    def set(self, callback: Callable[[], None], at: float | None) -> None:
        """The callback's only time from now on; None for never."""
        name = callback.__name__
        self._at.pop(name, None)
        if at is not None:
            self._at[name] = at

    def clear(self) -> None:
        """All are forgotten."""
        self._at.clear()

    def due(self, now: float, owner: object = None) -> None:
        """Calls those whose time has come, each once; one that another of them has put off is not called.

        Without an `owner` the callbacks are methods of this object.
        """
        for name in [name for name, at in self._at.items() if at <= now]:
            if self._at.get(name, now + 1) <= now:
                del self._at[name]
                getattr(owner or self, name)()
