"""`python -m benchmarks [--short]`: a laboratory, the samples, a table, build/bench/results.json."""

import argparse
import sys

from benchmarks.figures import table
from benchmarks.measure import measure
from benchmarks.results import write_results
from benchmarks.socket_calls import CallFailed
from tests.lab.build import BUILD, PLUGIN, ROOT
from tests.lab.command import CommandFailed, NotReached
from tests.lab.engine import EngineFailed
from tests.lab.lab import Lab
from tests.lab.plugin import Plugin

SAMPLES, FEW_SAMPLES = 15, 2
RESULTS = BUILD / "bench" / "results.json"


def main() -> int:
    """Exit status 1 and the reason on standard error where something did not work."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--short", action="store_true", help=f"{FEW_SAMPLES} samples instead of {SAMPLES}")
    samples = FEW_SAMPLES if parser.parse_args().short else SAMPLES
    try:
        bench(samples)
    except (CallFailed, CommandFailed, NotReached, EngineFailed) as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    return 0


def bench(samples: int) -> None:
    """In a laboratory of its own, which is removed afterwards."""
    print(f"==> {samples} samples; CreateEndpoint is timed at the plugin's socket, without a container", flush=True)
    with Lab.temporary("bench") as lab:
        plugin = Plugin.install(lab.engine, f"net-dhcp:{lab.name}", PLUGIN)
        figures = measure(plugin, samples)
        write_results(RESULTS, figures, lab.engine.docker)
    print(table(figures))
    print(f"every sample: {RESULTS.relative_to(ROOT)}")


if __name__ == "__main__":
    sys.exit(main())
