"""Prometheus of Debian's package, unpacked, with the files of contrib/monitoring."""

from pathlib import Path

from tests.lab.command import run
from tests.lab.unpacked import unpacked

FILES = Path(__file__).resolve().parents[2] / "contrib" / "monitoring"


def promtool(*args: str | Path) -> str:
    """What it says; raises CommandFailed."""
    return run(unpacked("prometheus") / "usr/bin/promtool", *args)
