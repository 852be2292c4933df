"""The life of one container, and of one endpoint without a container, of each contender in each round.

Owns the order and the clock around the docker command. Must not know how figures are shown.
"""

import time
from collections.abc import Mapping, Sequence

from benchmarks.contenders import NETWORKS, Contenders
from benchmarks.endpoint import EndpointTimes, time_endpoint
from benchmarks.figures import NONE, Figures, in_turn, rounds
from benchmarks.rows import CREATE, DELETE, REMOVE, RUN, STOP
from benchmarks.sizes import Sizes
from tests.lab.containers import Container
from tests.lab.engine import Docker
from tests.lab.images import BUSYBOX

CONTAINER = "bench"


def measure_lives(contenders: Contenders, network_ids: Mapping[str, str], sizes: Sizes, figures: Figures) -> None:
    """Takes so many samples of each figure, after one round that does not count, because it loads code."""
    endpoints = in_turn(tuple(contenders.plugins))
    try:
        _containers(contenders.docker, contenders.for_starts, sizes.pause, Figures())
        probe_endpoints(contenders, next(endpoints), network_ids, sizes.pause)
        for order in rounds(contenders.for_starts, sizes.lives):
            _containers(contenders.docker, order, sizes.pause, figures)
            for contender, took in probe_endpoints(contenders, next(endpoints), network_ids, sizes.pause).items():
                figures.add(CREATE, contender, took.created)
                figures.add(DELETE, contender, took.deleted)
    finally:
        Container(contenders.docker, CONTAINER).remove()


def probe_endpoints(
    contenders: Contenders, order: Sequence[str], network_ids: Mapping[str, str], pause: float
) -> dict[str, EndpointTimes]:
    """The times of an endpoint of each plugin, in this order."""
    took = {}
    for contender in order:
        time.sleep(pause)
        took[contender] = time_endpoint(contenders.plugins[contender], network_ids[contender])
    return took


def timed(docker: Docker, *command: str) -> float:
    """The milliseconds that the command takes."""
    began = time.perf_counter()
    docker(*command)
    return (time.perf_counter() - began) * 1000


def timed_run(docker: Docker, network: str, name: str) -> float:
    """The milliseconds of `docker run` for a container on that network."""
    return timed(docker, "run", "--detach", "--name", name, "--network", network, BUSYBOX)


def _containers(docker: Docker, order: Sequence[str], pause: float, figures: Figures) -> None:
    """One container of each contender from `docker run` to `docker rm`."""
    for contender in order:
        time.sleep(pause)
        run = timed_run(docker, NETWORKS[contender], CONTAINER)
        figures.add(RUN, contender, run)
        if contender == NONE:
            figures.add(CREATE, NONE, run)  # what CreateEndpoint is compared with
        figures.add(STOP, contender, timed(docker, "stop", "--time", "0", CONTAINER))
        figures.add(REMOVE, contender, timed(docker, "rm", CONTAINER))
