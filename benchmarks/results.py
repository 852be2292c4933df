"""The results on disk: every sample, with the machine that gave it, so that a number can be judged later."""

import json
import os
import platform
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.figures import Figures
from benchmarks.rows import ROWS
from benchmarks.timeline import medians
from tests.lab.engine import Docker


def write_results(path: Path, figures: Figures, machine: dict[str, object]) -> None:
    """JSON: `taken`, `machine`, `figures` by name (unit, target, the number that is judged, medians, samples),
    `series` of what is over the number of endpoints, and the `phases` of what was traced.
    """
    shown = {
        row.figure: {
            "unit": row.unit,
            "target": row.target,
            "judged": row.judged.name.lower(),
            "number": row.number(figures),
            "medians": figures.medians(row.figure),
            "samples": figures.samples[row.figure],
        }
        for row in ROWS
        if row.figure in figures.samples
    }
    phases = {traced: [asdict(stamp) for stamp in medians(taken)] for traced, taken in figures.timelines.items()}
    results = {
        "taken": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine,
        "figures": shown,
        "series": figures.series,
        "phases": phases,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=2) + "\n")


def machine(docker: Docker) -> dict[str, object]:
    """What a time depends on."""
    return {
        "processors": os.cpu_count(),
        "load": os.getloadavg()[0],  # what else ran: times from a busy machine are no measure
        "kernel": platform.release(),
        "engine": docker("version", "--format", "{{.Server.Version}}"),
    }
