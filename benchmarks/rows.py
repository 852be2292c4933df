"""The table: which figures there are, in which unit, what is aimed at, and whether it was met. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto

from benchmarks.figures import BRIDGE, CONTENDERS, OURS, Figures


class Judged(Enum):
    """By what a row is held against its target."""

    MEDIAN = auto()
    RATIO = auto()  # ours to the bridge's
    GROWTH = auto()  # with the last endpoints to that with the first ones


@dataclass(frozen=True, slots=True)
class Row:
    """`target` is what the judged number is at most; None where nothing is aimed at."""

    figure: str
    unit: str
    judged: Judged = Judged.RATIO
    target: float | None = None

    def number(self, figures: Figures) -> float | None:
        """What is judged."""
        found = figures.medians(self.figure)
        match self.judged:
            case Judged.MEDIAN:
                return found[OURS]
            case Judged.GROWTH:
                return figures.growth(self.figure)
            case Judged.RATIO:
                return found[OURS] / found[BRIDGE] if BRIDGE in found else None

    def verdict(self, figures: Figures) -> str:
        """ "yes" or "no", "" where nothing is aimed at."""
        number = self.number(figures)
        if self.target is None or number is None:
            return ""
        return "yes" if round(number, 2) <= self.target else "no"


RUN, STOP, REMOVE = "docker run -d", "docker stop -t 0", "docker rm"
CREATE, DELETE = "CreateEndpoint", "DeleteEndpoint"
AT_ONCE, AT_ONCE_BUSY = "containers started at once", "... processors' time for each"
ENABLE, LISTEN = "plugin enable to first answer", "exec to listening"
MEMORY_NEW, MEMORY_USED, MEMORY_EACH = "memory, just enabled", "memory, no container any more", "memory, each container"
IDLE = "idle CPU"
RUN_FLAT, CREATE_FLAT = "docker run -d, many", "CreateEndpoint, many"
PLAYED_FLAT, PLAYED_OWN = "CreateEndpoint, played engine", "... without the LAN's part"
PLAYED_MEMORY = "memory, played engine"
DESCRIPTORS = "descriptors, each container"

ROWS = (
    Row(CREATE, "ms", Judged.MEDIAN, 10),
    Row(RUN, "ms", Judged.RATIO, 1.05),
    Row(STOP, "ms", Judged.RATIO, 1.0),
    Row(REMOVE, "ms"),
    Row(DELETE, "ms"),
    Row(AT_ONCE, "ms", Judged.RATIO, 1.10),
    Row(AT_ONCE_BUSY, "ms"),
    Row(ENABLE, "ms", Judged.MEDIAN, 500),
    Row(LISTEN, "ms", Judged.MEDIAN, 100),
    Row(MEMORY_NEW, "MB", Judged.MEDIAN, 60),
    Row(MEMORY_USED, "MB", Judged.MEDIAN, 60),
    Row(MEMORY_EACH, "MB", Judged.MEDIAN, 1.0),
    Row(PLAYED_MEMORY, "MB", Judged.MEDIAN, 1.0),
    Row(IDLE, "% of a core", Judged.MEDIAN, 0.5),
    Row(RUN_FLAT, "ms", Judged.GROWTH, 1.2),
    Row(CREATE_FLAT, "ms", Judged.GROWTH, 1.2),
    Row(PLAYED_FLAT, "ms", Judged.GROWTH, 1.2),
    Row(PLAYED_OWN, "ms", Judged.GROWTH, 1.2),
    Row(DESCRIPTORS, "", Judged.MEDIAN, 3),
)


def table(figures: Figures) -> str:
    """A line a row that was measured: medians, the ratio that is judged, the target, and whether it is met."""
    head = ("median", "", *CONTENDERS, "ratio", "target", "met")
    measured = [row for row in ROWS if row.figure in figures.samples]
    return "\n".join(_line(cells) for cells in (head, *(_cells(row, figures) for row in measured)))


def _cells(row: Row, figures: Figures) -> Iterable[str]:
    found = figures.medians(row.figure)
    medians = [f"{found[name]:.2f}" if name in found else "" for name in CONTENDERS]
    number = None if row.judged is Judged.MEDIAN else row.number(figures)
    ratio = "" if number is None else f"{number:.2f}"
    target = "" if row.target is None else f"{row.target:g}"
    return row.figure, row.unit, *medians, ratio, target, row.verdict(figures)


def _line(cells: Iterable[str]) -> str:
    figure, unit, *values = cells
    return (f"{figure:<30} {unit:<11}" + "".join(f"{value:>9}" for value in values)).rstrip()
