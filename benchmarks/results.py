"""The results on disk: every sample, with the machine that gave it, so that a number can be judged later."""

import json
import os
import platform
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.figures import Figures
from tests.lab.engine import Docker


def write_results(path: Path, figures: Figures, docker: Docker) -> None:
    """JSON: `taken`, `machine`, and `figures` with median and samples in milliseconds by figure and contender."""
    shown = {
        figure: {name: {"median": figures.medians(figure)[name], "samples": taken} for name, taken in by_name.items()}
        for figure, by_name in figures.samples.items()
    }
    taken = datetime.now(UTC).isoformat(timespec="seconds")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"taken": taken, "machine": _machine(docker), "figures": shown}, indent=2) + "\n")


def _machine(docker: Docker) -> dict[str, object]:
    return {
        "processors": os.cpu_count(),
        "load": os.getloadavg()[0],  # what else ran: times from a busy machine are no measure
        "kernel": platform.release(),
        "engine": docker("version", "--format", "{{.Server.Version}}"),
    }
