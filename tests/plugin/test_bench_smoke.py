"""The benchmark's short form, in the tests' laboratory. No time is judged: this machine may be busy."""

import json
from collections import Counter
from itertools import pairwise, permutations
from math import isfinite
from pathlib import Path

import pytest

from benchmarks.bench import measure
from benchmarks.contenders import Contenders
from benchmarks.figures import BEFORE, BRIDGE, NONE, OURS, Figures, orders, rounds
from benchmarks.plots import LATENCY, MEMORY, draw_plots
from benchmarks.results import write_results
from benchmarks.rows import CREATE_DUAL, ROWS, RUN, RUN_DUAL, RUN_ON_CARD, Row, table
from benchmarks.sizes import SHORT
from tests.lab.build import PLUGIN
from tests.lab.lab import Lab
from tests.lab.plugin import Plugin

PNG = b"\x89PNG"


@pytest.mark.usefixtures("no_leaks")
def test_measures_every_row(lab: Lab, plugin: Plugin, tmp_path: Path) -> None:
    """Each row has finite numbers of ours, of another build where it takes part, and of its control, on disk and in
    the table."""
    figures = Figures()
    with Contenders.installed(lab, plugin, PLUGIN) as contenders:
        measure(contenders, SHORT, figures)
    for row in ROWS:
        before = [] if row.figure in (RUN_ON_CARD, RUN_DUAL, CREATE_DUAL) else [BEFORE]
        compared = (OURS, *before, *([row.control] if row.control else []))
        assert all(isfinite(row.number(figures, contender) or 0) for contender in compared), row.figure
        assert all(row.number(figures, contender) is not None for contender in compared), row.figure
    write_results(tmp_path / "results.json", figures, {})
    results = json.loads((tmp_path / "results.json").read_text())
    assert set(results["figures"]) == {row.figure for row in ROWS}
    assert [line.split("  ")[0] for line in table(figures).splitlines()[1:]] == [row.figure for row in ROWS]
    draw_plots(tmp_path, figures)
    assert all((tmp_path / name).read_bytes().startswith(PNG) for name in (LATENCY, MEMORY))


@pytest.mark.parametrize(
    ("row", "samples", "verdict"),
    [
        (Row(RUN, "ms", BRIDGE, 1.05), {OURS: [210, 210], BRIDGE: [200, 200]}, "yes"),
        (Row(RUN, "ms", BRIDGE, 1.05), {OURS: [212, 212], BRIDGE: [200, 200]}, "no"),
        (Row(RUN, "ms", NONE, 0.045), {OURS: [9, 10, 99], NONE: [220, 230, 240]}, "yes"),
        (Row(RUN, "MB", target=60), {OURS: [61]}, "no"),
        (Row(RUN, "growth", BRIDGE, 1.2, growth=True), {OURS: [10, 10, 13, 13], BRIDGE: [20, 20, 20, 20]}, "no"),
        (Row(RUN, "growth", BRIDGE, 1.2, growth=True), {OURS: [10, 10, 13, 13], BRIDGE: [20, 20, 24, 24]}, "yes"),
        (Row(RUN, "ms", BRIDGE), {OURS: [1], BRIDGE: [1]}, ""),
    ],
)
def test_verdict(row: Row, samples: dict[str, list[float]], verdict: str) -> None:
    """A row is met at its target and not above it, and one without a target has no verdict."""
    figures = Figures()
    for contender, taken in samples.items():
        for number, value in enumerate(taken, 1):
            figures.add(row.figure, contender, value)
            figures.add_at(row.figure, contender, number, value)
    assert row.verdict(figures) == verdict


@pytest.mark.parametrize("number", [2, 3, 4])
def test_orders(number: int) -> None:
    """Every order comes once, and already the first rounds give each contender every place equally often."""
    contenders = "abcd"[:number]
    assert sorted(orders(contenders)) == sorted(permutations(contenders))
    few = list(rounds(contenders, 2 * number - 1))
    assert all(set(Counter(order[place] for order in few).values()) == {1} for place in range(number))
    if number % 2 == 0:
        after = Counter(pair for order in few for pair in pairwise(order))
        assert set(after) == set(permutations(contenders, 2))
        assert set(after.values()) == {1}


def test_interval() -> None:
    """The interval of the ratio to the build before holds 1 for two builds of one speed, and not for a slower one."""
    figures = Figures()
    for round_ in range(36):
        noise = round_ % 6
        figures.add("same", OURS, 100 + noise)
        figures.add("same", BEFORE, 105 - noise)
        figures.add("slower", OURS, 120 + noise)
        figures.add("slower", BEFORE, 105 - noise)
    same, slower = figures.interval("same"), figures.interval("slower")
    assert same is not None
    assert same[0] <= 1 <= same[1]
    assert slower is not None
    assert slower[0] > 1
