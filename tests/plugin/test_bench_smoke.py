"""The benchmark's short form, in the tests' laboratory. No time is judged: this machine may be busy."""

import json
from math import isfinite
from pathlib import Path

import pytest

from benchmarks.bench import measure
from benchmarks.figures import BRIDGE, CONTENDERS, OURS, Figures
from benchmarks.phases import CREATION, JOINING
from benchmarks.plots import LATENCY, MEMORY, draw_plots
from benchmarks.results import write_results
from benchmarks.rows import AT_ONCE, AT_ONCE_BUSY, REMOVE, ROWS, RUN, STOP, Judged, Row, table
from benchmarks.sizes import SHORT
from tests.lab.lab import Lab
from tests.lab.plugin import Plugin

COMPARED = (RUN, STOP, REMOVE, AT_ONCE, AT_ONCE_BUSY)
ANSWERED = 1  # what the user sees is one phase more
PNG = b"\x89PNG"


@pytest.mark.timeout(180)
@pytest.mark.usefixtures("no_leaks")
def test_measures_every_row(lab: Lab, plugin: Plugin, tmp_path: Path) -> None:
    """Each row has finite numbers, of all contenders where it compares, on disk and in the table, each phase a time."""
    figures = Figures()
    measure(lab, plugin, SHORT, figures)
    write_results(tmp_path / "results.json", figures, {})
    results = json.loads((tmp_path / "results.json").read_text())
    written = results["figures"]
    assert set(written) == {row.figure for row in ROWS}
    for name, figure in written.items():
        assert set(figure["samples"]) == (set(CONTENDERS) if name in COMPARED else {OURS}), name
        assert all(taken and all(map(isfinite, taken)) for taken in figure["samples"].values()), name
    assert [line.split("  ")[0] for line in table(figures).splitlines()[1:]] == [row.figure for row in ROWS]
    assert len(results["phases"][RUN]) == len(CREATION) + len(JOINING) + ANSWERED
    assert all(isfinite(phase["at"]) and phase["at"] > 0 for taken in results["phases"].values() for phase in taken)
    draw_plots(tmp_path, figures)
    assert all((tmp_path / name).read_bytes().startswith(PNG) for name in (LATENCY, MEMORY))


@pytest.mark.parametrize(
    ("row", "samples", "verdict"),
    [
        (Row(RUN, "ms", Judged.RATIO, 1.05), {OURS: [210, 210], BRIDGE: [200, 200]}, "yes"),
        (Row(RUN, "ms", Judged.RATIO, 1.05), {OURS: [212, 212], BRIDGE: [200, 200]}, "no"),
        (Row(RUN, "ms", Judged.MEDIAN, 10), {OURS: [9, 10, 99]}, "yes"),
        (Row(RUN, "ms", Judged.GROWTH, 1.2), {OURS: [10, 10, 13, 13]}, "no"),
        (Row(RUN, "ms", Judged.RATIO), {OURS: [1], BRIDGE: [1]}, ""),
    ],
)
def test_verdict(row: Row, samples: dict[str, list[float]], verdict: str) -> None:
    """A row is met at its target and not above it, and one without a target has no verdict."""
    figures = Figures()
    for contender, taken in samples.items():
        for number, value in enumerate(taken, 1):
            figures.add(row.figure, contender, value)
            figures.add_at(row.figure, number, value)
    assert row.verdict(figures) == verdict
