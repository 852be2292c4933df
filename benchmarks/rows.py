"""The table: each figure with its unit, its control, its target, and whether the target is met. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from benchmarks.figures import BEFORE, BRIDGE, BRIDGE_DUAL, IPV4, MACVLAN, NONE, OURS, Figures


@dataclass(frozen=True, slots=True)
class Row:
    """A row is judged by the ratio of our number to the control's, or by our number alone if it has no control.

    The number is the median of all samples or, where the row asks for growth, that of the last endpoints divided by
    that of the first. `target` is the largest that is good; None where there is no target.
    """

    figure: str
    unit: str
    control: str | None = None
    target: float | None = None
    growth: bool = False

    def number(self, figures: Figures, contender: str) -> float | None:
        """The contender's number; None if it was not measured."""
        if self.growth:
            return figures.growth(self.figure, contender) if contender in figures.series[self.figure] else None
        return figures.medians(self.figure).get(contender)

    def ratio(self, figures: Figures, contender: str | None) -> float | None:
        """Our number divided by that of the contender."""
        ours, other = self.number(figures, OURS), contender and self.number(figures, contender)
        return ours / other if ours is not None and other else None

    def judged(self, figures: Figures) -> float | None:
        """The number that is held against the target."""
        return self.ratio(figures, self.control) if self.control else self.number(figures, OURS)

    def verdict(self, figures: Figures) -> str:
        """ "yes" or "no", "" where there is no target."""
        judged = self.judged(figures)
        if self.target is None or judged is None:
            return ""
        return "yes" if round(judged, 3) <= self.target else "no"


RUN, STOP, REMOVE = "docker run -d", "docker stop -t 0", "docker rm"
RUN_ON_CARD = "docker run -d, on a card"
RUN_DUAL, CREATE_DUAL = "docker run -d, both families", "CreateEndpoint, both families"
CREATE, DELETE = "CreateEndpoint", "DeleteEndpoint"
AT_ONCE, AT_ONCE_BUSY = "containers started at once", "... processors' time for each"
ENABLE, LISTEN = "plugin enable to first answer", "exec to listening"
MEMORY_NEW, MEMORY_USED, MEMORY_EACH = "memory, just enabled", "memory, no container any more", "memory, each container"
IDLE = "idle CPU"
RUN_MANY, CREATE_MANY, PLAYED_MANY = "docker run -d, many", "CreateEndpoint, many", "CreateEndpoint, played engine"
PLAYED_MEMORY = "memory, played engine"
DESCRIPTORS = "descriptors, each container"

ROWS = (
    Row(CREATE, "ms", NONE, 0.045),
    Row(RUN, "ms", BRIDGE, 1.05),
    Row(RUN_ON_CARD, "ms", MACVLAN, 1.05),
    Row(CREATE_DUAL, "ms", IPV4, 1.5),
    Row(RUN_DUAL, "ms", BRIDGE_DUAL, 1.05),
    Row(RUN_DUAL, "ms", BRIDGE, 1.05),
    Row(STOP, "ms", BRIDGE, 1.0),
    Row(REMOVE, "ms", BRIDGE),
    Row(DELETE, "ms"),
    Row(AT_ONCE, "ms", BRIDGE, 1.10),
    Row(AT_ONCE_BUSY, "ms", BRIDGE),
    Row(ENABLE, "ms", NONE, 2.2),
    Row(LISTEN, "ms", NONE, 0.45),
    Row(MEMORY_NEW, "MB", target=60),
    Row(MEMORY_USED, "MB", target=60),
    Row(MEMORY_EACH, "MB", target=1.0),
    Row(PLAYED_MEMORY, "MB", target=1.0),
    Row(IDLE, "% of a core", target=0.5),
    Row(RUN_MANY, "growth", BRIDGE, 1.2, growth=True),
    Row(CREATE_MANY, "growth", None, 1.2, growth=True),
    Row(PLAYED_MANY, "growth", None, 1.2, growth=True),
    Row(DESCRIPTORS, "", target=3),
)


def table(figures: Figures) -> str:
    """One line for each row that was measured; with columns for the build before if that was measured, too."""
    before = any(BEFORE in taken for taken in figures.samples.values())
    measured = [row for row in ROWS if row.figure in figures.samples or row.figure in figures.series]
    head = ("median [quartiles]", "", OURS, *([BEFORE, "new/old [95 %]"] if before else []))
    lines = [(*head, "", "control", "ratio", "target", "met")]
    lines.extend(tuple(_cells(row, figures, before=before)) for row in measured)
    return "\n".join(_line(cells, before=before) for cells in lines)


def _cells(row: Row, figures: Figures, *, before: bool) -> Iterator[str]:
    yield from (row.figure, row.unit, _shown(row, figures, OURS))
    if before:
        yield _shown(row, figures, BEFORE)
        ratio = row.ratio(figures, BEFORE)
        interval = None if row.growth or ratio is None else figures.interval(row.figure)
        yield "" if ratio is None else _with_range(ratio, interval)
    if row.control:
        ratio = row.ratio(figures, row.control)
        yield from (row.control, _shown(row, figures, row.control), "" if ratio is None else f"{ratio:.3f}")
    else:
        yield from ("", "", "")
    yield "" if row.target is None else f"{row.target:g}"
    yield row.verdict(figures)


def _shown(row: Row, figures: Figures, contender: str) -> str:
    number = row.number(figures, contender)
    if number is None:
        return ""
    return _with_range(number, None if row.growth else figures.quartiles(row.figure, contender))


def _with_range(number: float, ends: tuple[float, float] | None) -> str:
    """All with as many digits after the point as the number is worth."""
    digits = 2 if number < 10 else 1 if number < 100 else 0
    return f"{number:.{digits}f}" + (f" [{ends[0]:.{digits}f} {ends[1]:.{digits}f}]" if ends else "")


def _line(cells: Iterable[str], *, before: bool) -> str:
    widths = (30, 11, 18, *([18, 16] if before else []), 13, 18, 6, 6, 3)
    return " ".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True)).rstrip()
