"""What was measured of whom: samples by figure and contender, and series over the number of endpoints.

Pure; must not know how it was measured, nor what is aimed at.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from statistics import linear_regression, median

from benchmarks.timeline import Stamp

OURS, BRIDGE, NONE = "net-dhcp", "bridge", "none"
CONTENDERS = (OURS, BRIDGE, NONE)
MANY = 100


def in_turn(number: int) -> tuple[str, ...]:
    """The contenders in the order of that round: each comes first as often as the others."""
    first = number % len(CONTENDERS)
    return CONTENDERS[first:] + CONTENDERS[:first]


@dataclass(slots=True)
class Figures:
    """`samples` by figure ("docker run -d") and contender, in the figure's unit and in the order of their taking.

    `series` by what they show: (number of endpoints, value). `timelines` by what was traced.
    """

    samples: dict[str, dict[str, list[float]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))
    series: dict[str, list[tuple[int, float]]] = field(default_factory=lambda: defaultdict(list))
    timelines: dict[str, list[list[Stamp]]] = field(default_factory=lambda: defaultdict(list))

    def add(self, figure: str, contender: str, value: float) -> None:
        """One sample more."""
        self.samples[figure][contender].append(value)

    def add_at(self, series: str, endpoints: int, value: float) -> None:
        """One point more; `endpoints` do not become fewer."""
        self.series[series].append((endpoints, value))

    def sample_at(self, figure: str, endpoints: int, value: float) -> None:
        """One of our samples that is a point as well."""
        self.add(figure, OURS, value)
        self.add_at(figure, endpoints, value)

    def medians(self, figure: str) -> dict[str, float]:
        """Of those contenders that were measured."""
        return {contender: median(taken) for contender, taken in self.samples[figure].items()}

    def growth(self, series: str) -> float:
        """What the last MANY endpoints cost to what the first MANY did, or the last half of fewer; medians of both."""
        points = self.series[series]
        largest = points[-1][0]
        many = min(MANY, largest // 2)
        first = median(value for endpoints, value in points if endpoints <= many)
        return median(value for endpoints, value in points if endpoints > largest - many) / first

    def slope(self, series: str) -> float:
        """What one endpoint more adds, by least squares."""
        endpoints, values = zip(*self.series[series], strict=True)
        return float(linear_regression(endpoints, values).slope)
