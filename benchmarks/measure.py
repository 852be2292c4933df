"""Takes the samples: every contender once a round, so that what else the machine does hits all of them alike.

Owns the order and the clock around the docker command. Must not know how figures are shown.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.figures import BRIDGE, CONTENDERS, NONE, OURS, Figures
from benchmarks.socket_calls import time_endpoint
from tests.lab.containers import Container
from tests.lab.engine import Docker
from tests.lab.images import BUSYBOX
from tests.lab.network import BRIDGE as LAN_BRIDGE
from tests.lab.plugin import Plugin

CONTAINER = "bench"
NETWORKS = {OURS: "bench-dhcp", BRIDGE: "bench-bridge", NONE: "none"}


def measure(plugin: Plugin, samples: int) -> Figures:
    """So many samples of each figure, after one round that does not count: what is loaded late is no cost."""
    with _networks(plugin) as network_id:
        _round(plugin, network_id, Figures())
        figures = Figures()
        for _ in range(samples):
            _round(plugin, network_id, figures)
    return figures


def _round(plugin: Plugin, network_id: str, figures: Figures) -> None:
    for contender in CONTENDERS:
        _life(plugin.docker, contender, figures)
    created, deleted = time_endpoint(plugin, network_id)
    figures.add("CreateEndpoint", OURS, created)
    figures.add("DeleteEndpoint", OURS, deleted)


def _life(docker: Docker, contender: str, figures: Figures) -> None:
    """One container from `docker run` to `docker rm`."""
    commands = {
        "docker run -d": ("run", "--detach", "--name", CONTAINER, "--network", NETWORKS[contender], BUSYBOX),
        "docker stop -t 0": ("stop", "--time", "0", CONTAINER),
        "docker rm": ("rm", CONTAINER),
    }
    for figure, command in commands.items():
        began = time.perf_counter()
        docker(*command)
        figures.add(figure, contender, (time.perf_counter() - began) * 1000)


@contextmanager
def _networks(plugin: Plugin) -> Iterator[str]:
    """Both networks that are to be made; gives the id of ours."""
    docker = plugin.docker
    null_ipam = ("--driver", plugin.name, "--ipam-driver", "null", "--opt", f"bridge={LAN_BRIDGE}")
    network_id = docker("network", "create", *null_ipam, NETWORKS[OURS])
    try:
        docker("network", "create", NETWORKS[BRIDGE])
        try:
            yield network_id
        finally:
            Container(docker, CONTAINER).remove()
            docker("network", "rm", NETWORKS[BRIDGE])
    finally:
        docker("network", "rm", NETWORKS[OURS])
