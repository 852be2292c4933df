"""Counts since the plugin's start: the failures by their kind, and how long the engine's requests took.

Pure. Must not know who reads it.
"""

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)  # seconds


@dataclass(slots=True)
class Durations:
    """`counts` has one number for each of the BOUNDS, of what took no longer and longer than the one before.

    The last number is of what took longer than all of them.
    """

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    seconds: float = 0.0

    def add(self, seconds: float) -> None:
        """One more."""
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.seconds += seconds


@dataclass(slots=True)
class Tally:
    """`failures` are starts without a lease by the kind of failure, `troubles` those of leases that are held.

    `errors` are refused requests, by the request and the error; `calls` are all that were answered.
    """

    failures: Counter[str] = field(default_factory=Counter)
    troubles: Counter[str] = field(default_factory=Counter)
    errors: Counter[tuple[str, str]] = field(default_factory=Counter)
    calls: dict[str, Durations] = field(default_factory=dict)

    def answered(self, call: str, seconds: float, error: str | None) -> None:
        """A request was answered, with this error or without one."""
        self.calls.setdefault(call, Durations()).add(seconds)
        if error is not None:
            self.errors[call, error] += 1
