"""The benchmark's short form, in the tests' laboratory. No time is judged: this machine may be busy."""

import json
from pathlib import Path

import pytest

from benchmarks.__main__ import FEW_SAMPLES
from benchmarks.figures import CONTENDERS, OURS, table
from benchmarks.measure import measure
from benchmarks.results import write_results
from tests.lab.plugin import Plugin

COMMANDS = ("docker run -d", "docker stop -t 0", "docker rm")
CALLS = ("CreateEndpoint", "DeleteEndpoint")


@pytest.mark.usefixtures("no_leaks")
def test_measures_every_figure_of_every_contender(plugin: Plugin, tmp_path: Path) -> None:
    """Each command has its samples for all contenders and each call for ours, on disk and in the table."""
    figures = measure(plugin, FEW_SAMPLES)
    write_results(tmp_path / "results.json", figures, plugin.docker)
    written = json.loads((tmp_path / "results.json").read_text())["figures"]
    expected = {figure: set(CONTENDERS) for figure in COMMANDS} | {call: {OURS} for call in CALLS}
    assert {figure: set(by_name) for figure, by_name in written.items()} == expected
    samples = [by_name[name]["samples"] for by_name in written.values() for name in by_name]
    assert all(len(taken) == FEW_SAMPLES and min(taken) > 0 for taken in samples)
    assert [line.split("  ")[0] for line in table(figures).splitlines()[1:]] == [*COMMANDS, *CALLS]
