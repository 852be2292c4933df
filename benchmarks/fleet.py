"""More and more containers on the real engine: what each next one costs in time, memory, CPU and descriptors.

The fleets of all contenders grow side by side. Must not know how figures are shown.
"""

import time
from collections.abc import Mapping
from contextlib import closing

from benchmarks.burst import HANDS, api_of, remove_all
from benchmarks.contenders import NETWORKS, Contenders
from benchmarks.figures import BRIDGE, Figures, in_turn
from benchmarks.life import probe_endpoints, timed_run
from benchmarks.rows import CREATE_MANY, DESCRIPTORS, IDLE, MEMORY_EACH, MEMORY_USED, RUN_MANY
from benchmarks.serverlog import Acknowledged
from benchmarks.sizes import Sizes
from benchmarks.tree import cpu_seconds, descriptors, is_worker, pss_megabytes, supervisor
from tests.lab.command import wait_until
from tests.lab.process import Process

END_SECONDS = 10


def measure_fleet(contenders: Contenders, network_ids: Mapping[str, str], sizes: Sizes, figures: Figures) -> None:
    """Measures memory and descriptors at each size, CPU at one of them, and the time of each start on the way."""
    fleet = _Fleet(contenders, network_ids, sizes, figures)
    try:
        for size in sizes.fleet:
            fleet.grow(size)
            fleet.weigh()
            if size == sizes.idle_at:
                fleet.idle(sizes.idle_seconds)
    finally:
        fleet.sink()
    for contender, plugin in contenders.plugins.items():
        figures.add(MEMORY_USED, contender, pss_megabytes(plugin.processes()))
        figures.add(MEMORY_EACH, contender, figures.slope(MEMORY_EACH, contender))
        figures.add(DESCRIPTORS, contender, figures.slope(DESCRIPTORS, contender))


class _Fleet:
    """`size` containers of each plugin, and as many on the engine's bridge network, so far."""

    def __init__(self, contenders: Contenders, network_ids: Mapping[str, str], sizes: Sizes, figures: Figures) -> None:
        self._contenders = contenders
        self._plugins = contenders.plugins
        self._network_ids = network_ids
        self._sizes = sizes
        self._figures = figures
        self._acknowledged = Acknowledged(contenders.lab.dhcp)
        self._size = 0
        self._containers: list[str] = []
        self._starts = in_turn((*contenders.plugins, BRIDGE))
        self._endpoints = in_turn(tuple(contenders.plugins))

    def grow(self, size: int) -> None:
        """Starts one container after the other; now and then, when all is quiet, an endpoint without a container."""
        while self._size < size:
            self._size += 1
            for contender in next(self._starts):
                time.sleep(self._sizes.pause)
                self._containers.append(f"fleet-{contender}-{self._size}")
                took = timed_run(self._contenders.docker, NETWORKS[contender], self._containers[-1])
                self._figures.add_at(RUN_MANY, contender, self._size, took)
            if self._size % self._sizes.fleet_probe == 0:
                self._probe()
        self._wait_for_clients()

    def weigh(self) -> None:
        """Reads the memory of all processes, and the number of the supervisor's descriptors."""
        for contender, plugin in self._plugins.items():
            found = plugin.processes()
            self._figures.add_at(MEMORY_EACH, contender, self._size, pss_megabytes(found))
            self._figures.add_at(DESCRIPTORS, contender, self._size, descriptors(supervisor(found).pid))

    def idle(self, seconds: float) -> None:
        """Measures what each plugin uses of one core while nobody asks anything and leases are renewed."""
        firsts = {contender: supervisor(plugin.processes()).pid for contender, plugin in self._plugins.items()}
        before, began = {contender: cpu_seconds(pid) for contender, pid in firsts.items()}, time.monotonic()
        time.sleep(seconds)
        for contender, pid in firsts.items():
            used, passed = cpu_seconds(pid) - before[contender], time.monotonic() - began
            self._figures.add(IDLE, contender, used / passed * 100)

    def sink(self) -> None:
        """Removes the containers; returns when their workers have ended, which remove a link after the answer."""
        with closing(api_of(self._contenders.lab, HANDS)) as api:
            remove_all(api, self._containers)
        wait_until(lambda: not self._workers(), "the end of all workers", END_SECONDS)

    def _probe(self) -> None:
        self._wait_for_clients()
        probes = probe_endpoints(self._contenders, next(self._endpoints), self._network_ids, self._sizes.pause)
        for contender, took in probes.items():
            self._figures.add_at(CREATE_MANY, contender, self._size, took.created)

    def _workers(self) -> list[Process]:
        return [found for plugin in self._plugins.values() for found in plugin.processes() if is_worker(found)]

    def _wait_for_clients(self) -> None:
        self._acknowledged.wait_for_clients(self._size * len(self._plugins))
