"""Bounds how often a descriptor wakes a process: a flood gets that much of the processor, and no more."""

from collections.abc import Iterable

WAKES_PER_SECOND = 8  # enough for an exchange with several servers; at most 64 packets are read at each


class Throttle:
    """Counts the wake-ups of each descriptor in the present second."""

    def __init__(self) -> None:
        self._ends = 0.0
        self._wakes: dict[int, int] = {}

    def open(self, numbers: Iterable[int], now: float) -> list[int]:
        """Those that may wake us at `now` (`boottime()`)."""
        if now >= self._ends:
            self._wakes.clear()
            self._ends = now + 1.0
        return [number for number in numbers if self._wakes.get(number, 0) < WAKES_PER_SECOND]

    def rest(self, now: float) -> float:
        """The seconds until all may wake us again."""
        return max(0.0, self._ends - now)

    def count(self, number: int) -> None:
        """This one has woken us."""
        self._wakes[number] = self._wakes.get(number, 0) + 1
