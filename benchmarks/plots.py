"""The two plots of docs/performance.md: time and memory against the number of endpoints."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.figures import Figures
from benchmarks.rows import CREATE_MANY, MEMORY_EACH, PLAYED_MANY, PLAYED_MEMORY, RUN_MANY

SIZE_INCHES, DPI = (8.0, 3.6), 90
LATENCY, MEMORY = "latency.png", "memory.png"


def draw_plots(directory: Path, figures: Figures) -> None:
    """Both, as PNG."""
    latency, memory = _figure(), _figure()
    engine, played = latency.subplots(1, 2)
    _dots(engine, figures, RUN_MANY, "docker run -d")
    _dots(engine, figures, CREATE_MANY, "CreateEndpoint")
    _label(engine, "Docker Engine", "containers", "ms")
    _dots(played, figures, PLAYED_MANY, "CreateEndpoint")
    _label(played, "played engine", "endpoints", "ms")
    engine, played = memory.subplots(1, 2)
    _line(engine, figures, MEMORY_EACH)
    _label(engine, "Docker Engine", "containers", "MB, PSS of all processes")
    _line(played, figures, PLAYED_MEMORY)
    _label(played, "played engine", "endpoints", "MB, PSS of all processes")
    directory.mkdir(parents=True, exist_ok=True)
    for name, figure in ((LATENCY, latency), (MEMORY, memory)):
        figure.savefig(directory / name)


def _figure() -> Figure:
    return Figure(figsize=SIZE_INCHES, dpi=DPI, layout="constrained")


def _dots(axes: Axes, figures: Figures, figure: str, label: str) -> None:
    """The plugins' points, and those of the control, which has the contender's name."""
    for contender, points in figures.series[figure].items():
        endpoints, values = zip(*points, strict=True)
        axes.scatter(endpoints, values, s=5, label=f"{label}, {contender}")


def _line(axes: Axes, figures: Figures, figure: str) -> None:
    for contender, points in figures.series[figure].items():
        endpoints, values = zip(*points, strict=True)
        slope = figures.slope(figure, contender)
        axes.plot(endpoints, values, marker="o", label=f"{contender}, {slope:.2f} MB each")


def _label(axes: Axes, title: str, across: str, up: str) -> None:
    """Both axes begin at zero: a slope is shown as steep as it is."""
    axes.set(title=title, xlabel=across, ylabel=up, xlim=(0, None), ylim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend()
