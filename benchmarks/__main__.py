"""`python -m benchmarks`: a laboratory, the samples, a table; results and plots in build/bench."""

import argparse
import sys
from pathlib import Path

from benchmarks.bench import bench
from benchmarks.endpoint import CallFailed
from benchmarks.sizes import FULL, SHORT
from tests.lab.command import CommandFailed, NotReached
from tests.lab.engine import EngineFailed


def main() -> int:
    """Exit status 1 and the reason on standard error where something did not work; a missed target is no error."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--short", action="store_true", help="a few samples of each, to see that all parts work")
    parser.add_argument(
        "--baseline", type=Path, help="another build's config.json and rootfs, to be measured beside ours"
    )
    arguments = parser.parse_args()
    if arguments.baseline and not (arguments.baseline / "config.json").is_file():
        parser.error(f"{arguments.baseline} is no built plugin: it has no config.json")
    try:
        bench(SHORT if arguments.short else FULL, arguments.baseline)
    except (CallFailed, CommandFailed, NotReached, EngineFailed) as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
