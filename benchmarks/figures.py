"""The samples by figure and contender, and the series over the number of endpoints.

Pure; must not know how a sample is measured, nor which target it is held against.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice, pairwise, permutations
from random import Random
from statistics import linear_regression, median, quantiles

OURS, BEFORE, IPV4 = "net-dhcp", "before", "IPv4 alone"
BRIDGE, BRIDGE_DUAL, MACVLAN, NONE = "bridge", "bridge --ipv6", "macvlan", "none"
MANY = 100
RESAMPLES = 1000


def orders(contenders: Sequence[str]) -> list[tuple[str, ...]]:
    """All permutations, so that each contender follows each other one equally often.

    Of the first len(contenders) orders each contender has every place once. With an even number of contenders, each
    also follows each other one once there. So a few rounds are balanced, too.
    """
    number = len(contenders)

    def repeated_steps(rest: tuple[int, ...]) -> int:
        return number - len({(after - before) % number for before, after in pairwise((0, *rest))})

    return [
        tuple(contenders[(first + place) % number] for place in (0, *rest))
        for rest in sorted(permutations(range(1, number)), key=repeated_steps)
        for first in range(number)
    ]


def in_turn(contenders: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """One order after the other, without end."""
    return cycle(orders(contenders))


def rounds(contenders: Sequence[str], number: int) -> Iterator[tuple[str, ...]]:
    """The orders of `number` rounds, less those that would give some contenders a place more often than others."""
    return islice(in_turn(contenders), number - number % len(contenders) or number)


@dataclass(slots=True)
class Figures:
    """`samples` by figure ("docker run -d") and contender, in the figure's unit and in the order of their taking.

    `series` by figure and contender: (number of endpoints, value).
    """

    samples: dict[str, dict[str, list[float]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))
    series: dict[str, dict[str, list[tuple[int, float]]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )

    def add(self, figure: str, contender: str, value: float) -> None:
        """Adds one sample."""
        self.samples[figure][contender].append(value)

    def add_at(self, figure: str, contender: str, endpoints: int, value: float) -> None:
        """Adds one point to a series; `endpoints` never decreases."""
        self.series[figure][contender].append((endpoints, value))

    def medians(self, figure: str) -> dict[str, float]:
        """The median of each contender that was measured."""
        return {contender: median(taken) for contender, taken in self.samples[figure].items()}

    def quartiles(self, figure: str, contender: str) -> tuple[float, float] | None:
        """The lower and the upper one; None for a single sample."""
        taken = self.samples[figure][contender]
        if len(taken) < 2:
            return None
        low, _, high = quantiles(taken, n=4, method="inclusive")
        return low, high

    def growth(self, figure: str, contender: str) -> float:
        """The median of the last MANY endpoints, divided by that of the first MANY; by halves if there are fewer."""
        points = self.series[figure][contender]
        largest = points[-1][0]
        many = min(MANY, largest // 2)
        first = median(value for endpoints, value in points if endpoints <= many)
        return median(value for endpoints, value in points if endpoints > largest - many) / first

    def slope(self, figure: str, contender: str) -> float:
        """The value that one more endpoint adds, by least squares."""
        endpoints, values = zip(*self.series[figure][contender], strict=True)
        return float(linear_regression(endpoints, values).slope)

    def interval(self, figure: str) -> tuple[float, float] | None:
        """Where the ratio of our median to that of the build before lies with 95 %, by resampling the rounds.

        None where there are not at least two rounds of both.
        """
        both = list(zip(self.samples[figure][OURS], self.samples[figure][BEFORE], strict=True))
        if len(both) < 2:
            return None
        chance = Random(0)  # noqa: S311  (no secret: the same samples give the same interval)
        ratios = []
        for _ in range(RESAMPLES):
            ours, before = zip(*chance.choices(both, k=len(both)), strict=True)
            ratios.append(median(ours) / median(before))
        cuts = quantiles(ratios, n=40)
        return cuts[0], cuts[-1]
