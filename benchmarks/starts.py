"""Starts of a container in the engine, traced. Must not know what the kernel's events mean."""

import time

from benchmarks.figures import OURS, Figures
from benchmarks.ftrace import tracer
from benchmarks.life import CONTAINER
from benchmarks.networks import NETWORKS
from benchmarks.phases import CREATION, JOINING, Cast, traced
from benchmarks.rows import RUN
from benchmarks.serverlog import Acknowledged
from tests.lab.containers import Container
from tests.lab.lab import Lab
from tests.lab.plugin import Plugin


def measure_phases(lab: Lab, plugin: Plugin, traces: int, figures: Figures) -> None:
    """So many, one after the other, each until its client has its own DHCPACK."""
    cast = Cast(plugin.processes, lab.dhcp)

    def start() -> float:
        acknowledged = Acknowledged(lab.dhcp)
        Container.run(plugin.docker, CONTAINER, "--network", NETWORKS[OURS])
        returned = time.monotonic()
        acknowledged.wait_for_clients(1)
        return returned

    with tracer() as kernel:
        for _ in range(traces):
            try:
                figures.timelines[RUN].append(traced(kernel, cast, CREATION + JOINING, start))
            finally:
                Container(plugin.docker, CONTAINER).remove()
