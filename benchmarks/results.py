"""The results on disk: every sample, with the machine that gave it, so that a number can be judged later."""

import json
import os
import platform
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.figures import BEFORE, Figures
from benchmarks.rows import ROWS
from tests.lab.engine import Docker


def write_results(path: Path, figures: Figures, machine: dict[str, object]) -> None:
    """JSON: `taken`, `machine`, `figures` by name (unit, target, the number that is judged, medians, samples),
    and `series` over the number of endpoints.
    """
    shown = {
        row.figure: {
            "unit": row.unit,
            "target": row.target,
            "control": row.control,
            "judged": row.judged(figures),
            "new/old": row.ratio(figures, BEFORE),
            "medians": figures.medians(row.figure),
            "samples": figures.samples[row.figure],
        }
        for row in ROWS
    }
    results = {
        "taken": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine,
        "figures": shown,
        "series": figures.series,
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
