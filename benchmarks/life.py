"""The life of one container, and of one endpoint without a container: every contender once a round, each first in its
turn, so that what else the machine does, and what it still cleans up, hits all of them alike.

Owns the order and the clock around the docker command. Must not know how figures are shown.
"""

import time

from benchmarks.figures import OURS, Figures, in_turn
from benchmarks.networks import NETWORKS
from benchmarks.rows import CREATE, DELETE, REMOVE, RUN, STOP
from benchmarks.socket_calls import time_endpoint
from tests.lab.containers import Container
from tests.lab.engine import Docker
from tests.lab.images import BUSYBOX
from tests.lab.plugin import Plugin

CONTAINER = "bench"


def measure_lives(plugin: Plugin, network_id: str, lives: int, figures: Figures) -> None:
    """So many samples of each figure, after one round that does not count: what is loaded late is no cost."""
    try:
        _round(plugin, network_id, 0, Figures())
        for number in range(lives):
            _round(plugin, network_id, number, figures)
    finally:
        Container(plugin.docker, CONTAINER).remove()


def _round(plugin: Plugin, network_id: str, number: int, figures: Figures) -> None:
    for contender in in_turn(number):
        _life(plugin.docker, contender, figures)
    created, deleted = time_endpoint(plugin, network_id)
    figures.add(CREATE, OURS, created)
    figures.add(DELETE, OURS, deleted)


def _life(docker: Docker, contender: str, figures: Figures) -> None:
    """One container from `docker run` to `docker rm`."""
    commands = {
        RUN: ("run", "--detach", "--name", CONTAINER, "--network", NETWORKS[contender], BUSYBOX),
        STOP: ("stop", "--time", "0", CONTAINER),
        REMOVE: ("rm", CONTAINER),
    }
    for figure, command in commands.items():
        figures.add(figure, contender, timed(docker, *command))


def timed(docker: Docker, *command: str) -> float:
    """The milliseconds that the command takes."""
    began = time.perf_counter()
    docker(*command)
    return (time.perf_counter() - began) * 1000
