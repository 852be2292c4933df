"""The life of one container, and of one endpoint without a container, of each contender in each round.

Owns the order and the clock around the docker command. Must not know how figures are shown.
"""

import time
from collections.abc import Mapping, Sequence

from benchmarks.contenders import NETWORKS, Contenders
from benchmarks.endpoint import time_client, time_endpoint
from benchmarks.figures import CLIENT, NONE, Figures, in_turn, rounds
from benchmarks.rows import CREATE, DELETE, REMOVE, RUN, STOP
from benchmarks.sizes import Sizes
from tests.lab.containers import Container
from tests.lab.engine import Docker
from tests.lab.images import BUSYBOX

CONTAINER = "bench"


def measure_lives(contenders: Contenders, network_ids: Mapping[str, str], sizes: Sizes, figures: Figures) -> None:
    """Takes so many samples of each figure, after one round that does not count, because it loads code."""
    endpoints = in_turn(contenders.for_endpoints)
    try:
        _containers(contenders.docker, contenders.for_starts, sizes.pause, Figures())
        probe_endpoints(contenders, contenders.for_endpoints, network_ids, sizes.pause)
        for order in rounds(contenders.for_starts, sizes.lives):
            _containers(contenders.docker, order, sizes.pause, figures)
            probes = probe_endpoints(contenders, next(endpoints), network_ids, sizes.pause)
            for contender, (created, deleted) in probes.items():
                figures.add(CREATE, contender, created)
                if contender != CLIENT:
                    figures.add(DELETE, contender, deleted)
    finally:
        Container(contenders.docker, CONTAINER).remove()


def probe_endpoints(
    contenders: Contenders, order: Sequence[str], network_ids: Mapping[str, str], pause: float
) -> dict[str, tuple[float, float]]:
    """Milliseconds for an endpoint of each contender and for its removal; the control's removal is not timed."""
    took = {}
    for contender in order:
        time.sleep(pause)
        if contender == CLIENT:
            took[contender] = time_client(contenders.lab.network), 0.0
        else:
            took[contender] = time_endpoint(contenders.plugins[contender], network_ids[contender])
    return took


def timed(docker: Docker, *command: str) -> float:
    """The milliseconds that the command takes."""
    began = time.perf_counter()
    docker(*command)
    return (time.perf_counter() - began) * 1000


def timed_run(docker: Docker, contender: str, name: str) -> float:
    """The milliseconds of `docker run` for a container on that contender's network."""
    return timed(docker, "run", "--detach", "--name", name, "--network", NETWORKS[contender], BUSYBOX)


def _containers(docker: Docker, order: Sequence[str], pause: float, figures: Figures) -> None:
    """One container of each contender from `docker run` to `docker rm`."""
    for contender in order:
        time.sleep(pause)
        run = timed_run(docker, contender, CONTAINER)
        figures.add(RUN, contender, run)
        if contender == NONE:
            figures.add(CREATE, NONE, run)  # what CreateEndpoint is compared with
        figures.add(STOP, contender, timed(docker, "stop", "--time", "0", CONTAINER))
        figures.add(REMOVE, contender, timed(docker, "rm", CONTAINER))
