"""What was measured of whom: samples by figure and contender, and series over the number of endpoints.

Pure; must not know how it was measured, nor what is aimed at.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from statistics import linear_regression, median

OURS, BRIDGE, NONE = "net-dhcp", "bridge", "none"
CONTENDERS = (OURS, BRIDGE, NONE)


@dataclass(slots=True)
class Figures:
    """`samples` by figure ("docker run -d") and contender, in the figure's unit and in the order of their taking.

    `series` by what they show: (number of endpoints, value).
    """

    samples: dict[str, dict[str, list[float]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))
    series: dict[str, list[tuple[int, float]]] = field(default_factory=lambda: defaultdict(list))

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
        """How much more the second half of our samples costs than the first, medians of both."""
        taken = self.samples[figure][OURS]
        half = len(taken) // 2
        return median(taken[-half:]) / median(taken[:half])

    def slope(self, series: str) -> float:
        """What one endpoint more adds, by least squares."""
        endpoints, values = zip(*self.series[series], strict=True)
        return float(linear_regression(endpoints, values).slope)
