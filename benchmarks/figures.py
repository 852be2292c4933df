"""The figures: what was measured of whom, and what is said of it. Pure; must not know how it was measured."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import median

OURS, BRIDGE, NONE = "net-dhcp", "bridge", "none"
CONTENDERS = (OURS, BRIDGE, NONE)


@dataclass(slots=True)
class Figures:
    """Samples in milliseconds by figure ("docker run -d") and contender, in the order in which they were taken."""

    samples: dict[str, dict[str, list[float]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))

    def add(self, figure: str, contender: str, milliseconds: float) -> None:
        """One sample more."""
        self.samples[figure][contender].append(milliseconds)

    def medians(self, figure: str) -> dict[str, float]:
        """Of those contenders that were measured."""
        return {contender: median(taken) for contender, taken in self.samples[figure].items()}


def table(figures: Figures) -> str:
    """A line a figure: the medians, and ours as a multiple of the bridge's."""
    head = ("median ms", *CONTENDERS, f"{OURS}/{BRIDGE}")
    return "\n".join(_line(cells) for cells in (head, *(_row(figures, figure) for figure in figures.samples)))


def _row(figures: Figures, figure: str) -> Iterable[str]:
    found = figures.medians(figure)
    cells = [f"{found[name]:.1f}" if name in found else "" for name in CONTENDERS]
    ratio = f"{found[OURS] / found[BRIDGE]:.2f}" if {OURS, BRIDGE} <= found.keys() else ""
    return figure, *cells, ratio


def _line(cells: Iterable[str]) -> str:
    figure, *values = cells
    return f"{figure:<18}" + "".join(f"{value:>17}" for value in values).rstrip()
