"""More and more containers on the real engine: what each next one costs in time, memory, CPU and descriptors.

Must not know how figures are shown.
"""

import time
from contextlib import closing

from benchmarks.burst import HANDS, api_of, remove_all
from benchmarks.figures import OURS, Figures
from benchmarks.life import timed
from benchmarks.networks import NETWORKS
from benchmarks.rows import CREATE_FLAT, DESCRIPTORS, IDLE, MEMORY_EACH, MEMORY_USED, RUN_FLAT
from benchmarks.serverlog import Acknowledged
from benchmarks.sizes import Sizes
from benchmarks.socket_calls import time_endpoint
from benchmarks.tree import cpu_seconds, descriptors, is_worker, pss_megabytes, supervisor
from tests.lab.command import wait_until
from tests.lab.images import BUSYBOX
from tests.lab.lab import Lab
from tests.lab.plugin import Plugin

END_SECONDS = 10


def measure_fleet(lab: Lab, plugin: Plugin, network_id: str, sizes: Sizes, figures: Figures) -> None:
    """Memory and descriptors at each size, CPU at one of them, and the time of each start on the way."""
    fleet = _Fleet(lab, plugin, network_id, sizes.fleet_probe, figures)
    try:
        for size in sizes.fleet:
            fleet.grow(size)
            fleet.weigh()
            if size == sizes.idle_at:
                fleet.idle(sizes.idle_seconds)
    finally:
        fleet.sink()
    figures.add(MEMORY_USED, OURS, pss_megabytes(process.pid for process in plugin.processes()))
    figures.add(MEMORY_EACH, OURS, figures.slope(MEMORY_EACH))
    figures.add(DESCRIPTORS, OURS, figures.slope(DESCRIPTORS))


class _Fleet:
    """The containers so far."""

    def __init__(self, lab: Lab, plugin: Plugin, network_id: str, probe_every: int, figures: Figures) -> None:
        self._lab = lab
        self._plugin = plugin
        self._network_id = network_id
        self._probe_every = probe_every
        self._figures = figures
        self._acknowledged = Acknowledged(lab.dhcp)
        self._containers: list[str] = []

    def grow(self, size: int) -> None:
        """One container after the other; now and then, when all is quiet, an endpoint without a container."""
        while len(self._containers) < size:
            number = len(self._containers) + 1
            self._containers.append(f"fleet-{number}")
            command = ("run", "--detach", "--name", f"fleet-{number}", "--network", NETWORKS[OURS], BUSYBOX)
            self._figures.sample_at(RUN_FLAT, number, timed(self._plugin.docker, *command))
            if number % self._probe_every == 0:
                self._acknowledged.wait_for_clients(number)
                created, _ = time_endpoint(self._plugin, self._network_id)
                self._figures.sample_at(CREATE_FLAT, number, created)
        self._acknowledged.wait_for_clients(size)

    def weigh(self) -> None:
        """The memory of all processes, and the supervisor's descriptors."""
        found = self._plugin.processes()
        size = len(self._containers)
        self._figures.add_at(MEMORY_EACH, size, pss_megabytes(process.pid for process in found))
        self._figures.add_at(DESCRIPTORS, size, descriptors(supervisor(found).pid))

    def idle(self, seconds: float) -> None:
        """What all processes use of one core while nobody asks anything and leases are renewed."""
        pids = [process.pid for process in self._plugin.processes()]
        before, began = cpu_seconds(pids), time.monotonic()
        time.sleep(seconds)
        used, passed = cpu_seconds(pids) - before, time.monotonic() - began
        self._figures.add(IDLE, OURS, used / passed * 100)

    def sink(self) -> None:
        """They go, and their workers, which still have a link to remove when the engine has its answer."""
        with closing(api_of(self._lab, HANDS)) as api:
            remove_all(api, self._containers)
        wait_until(lambda: not any(map(is_worker, self._plugin.processes())), "the end of all workers", END_SECONDS)
