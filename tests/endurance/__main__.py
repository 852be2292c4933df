"""The command behind `make endurance`: tells in two lines what has grown. Exit status 1 if that exceeds a bound."""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.endurance import cycles, renewals
from tests.endurance.holdings import Growth
from tests.lab.dhcp import DhcpServer
from tests.netns.process import plugin
from tests.netns.process.hurried import with_constants
from tests.netns.process.rig import Rig, rig_in


def main() -> int:
    """0 where nothing has grown."""
    parser = argparse.ArgumentParser(prog="tests.endurance", description=__doc__)
    parser.add_argument("--cycles", type=int, default=10_000, help="endpoints that are created and deleted")
    parser.add_argument("--hours", type=float, default=24, help="of renewals, by a clock that runs faster")
    parser.add_argument("--factor", type=float, default=120, help="by which it does")
    arguments = parser.parse_args()
    grown: list[Growth] = []
    short = False
    if arguments.cycles:
        with directory() as place, laboratory(place, with_constants(cycles.CONSTANTS)) as (rig, server):
            seconds, growth = cycles.run(rig, server, arguments.cycles)
        print(f"{arguments.cycles} cycles in {seconds:.0f} s: {growth}", flush=True)
        grown.append(growth)
    if arguments.hours:
        begun = time.monotonic()
        with directory() as place:
            pace = renewals.Pace(place / "pace")
            with laboratory(place, pace.program) as (rig, server):
                count, due, lost, growth = renewals.run(rig, server, pace, arguments.hours, arguments.factor)
        print(
            f"{arguments.hours:g} h of renewals of {renewals.CONTAINERS} containers and both families in "
            f"{time.monotonic() - begun:.0f} s: {count} renewals, {lost} leases that ran out, {growth}",
            flush=True,
        )
        grown.append(growth)
        short = count < due or lost > 0
        if short:
            print(f"{due} renewals are due, and no lease may run out: is the machine too busy for --factor?")
    excess = [what for growth in grown for what in growth.excess()]
    for what in excess:
        print(f"grown: {what}")
    return 1 if excess or short else 0


@contextmanager
def directory() -> Iterator[Path]:
    """The plugin's, for one run."""
    with tempfile.TemporaryDirectory() as path:
        yield Path(path)


@contextmanager
def laboratory(place: Path, program: tuple[str, ...]) -> Iterator[tuple[Rig, DhcpServer]]:
    """This program as the plugin, and a LAN with a server."""
    plugin.PROGRAM = program
    with rig_in(place) as rig:
        server = DhcpServer(place / "dhcp", rig.machine.lan)
        server.start()
        try:
            yield rig, server
            rig.clean()
        finally:
            server.stop()


if __name__ == "__main__":
    sys.exit(main())
