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


@dataclass(slots=True)
class Figures:
    """`samples` by figure ("docker run -d") and contender, in the figure's unit and in the order of their taking.

    `series` by what they show: (number of endpoints, value). `timelines`: the phases of starts, the same for each.
    """

    samples: dict[str, dict[str, list[float]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))
    series: dict[str, list[tuple[int, float]]] = field(default_factory=lambda: defaultdict(list))
    timelines: list[list[Stamp]] = field(default_factory=list)

    def add(self, figure: str, contender: str, value: float) -> None:
        """One sample more."""
        self.samples[figure][contender].append(value)

    def add_at(self, series: str, endpoints: int, value: float) -> None:
        """One point more."""
        self.series[series].append((endpoints, value))

    def medians(self, figure: str) -> dict[str, float]:
        """Of those contenders that were measured."""
        return {contender: median(taken) for contender, taken in self.samples[figure].items()}

    def growth(self, figure: str) -> float:
        """How much more our last samples cost than the first, MANY of each or half of all, medians of both."""
        taken = self.samples[figure][OURS]
        number = min(MANY, len(taken) // 2)
        return median(taken[-number:]) / median(taken[:number])

    def slope(self, series: str) -> float:
        """What one endpoint more adds, by least squares."""
        endpoints, values = zip(*self.series[series], strict=True)
        return float(linear_regression(endpoints, values).slope)
