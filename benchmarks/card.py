"""Containers straight on a network card, by the plugin and by the engine's own macvlan driver, side by side.

A build of before need not know such networks, so it takes no part.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from benchmarks.contenders import NETWORKS, Contenders
from benchmarks.figures import MACVLAN, OURS, Figures, rounds
from benchmarks.life import CONTAINER, timed_run
from benchmarks.rows import RUN_ON_CARD
from benchmarks.sizes import Sizes
from tests.lab.containers import Container

CARD = "card0"
SUBNET = "172.21.0.0/24"  # the engine's driver hands out addresses itself


def measure_on_card(contenders: Contenders, sizes: Sizes, figures: Figures) -> None:
    """Takes so many samples of both, after one round that does not count."""
    both = {OURS: f"{NETWORKS[OURS]}-card", MACVLAN: NETWORKS[MACVLAN]}
    container = Container(contenders.docker, CONTAINER)
    with _networks(contenders, both):
        for number, order in enumerate((tuple(both), *rounds(tuple(both), sizes.lives))):
            for contender in order:
                time.sleep(sizes.pause)
                try:
                    took = timed_run(contenders.docker, both[contender], CONTAINER)
                finally:
                    container.remove()
                if number:
                    figures.add(RUN_ON_CARD, contender, took)


@contextmanager
def _networks(contenders: Contenders, names: dict[str, str]) -> Iterator[None]:
    """Makes a card and both networks on it; removes them at the end."""
    docker, machine = contenders.docker, contenders.lab.network
    ours = ("--driver", contenders.plugins[OURS].name, "--ipam-driver", "null")
    engines = ("--driver", "macvlan", "--subnet", SUBNET)
    with ExitStack() as stack:
        stack.callback(machine.unplug, CARD)
        machine.plug_in(CARD)
        for driver, name in ((ours, names[OURS]), (engines, names[MACVLAN])):
            docker("network", "create", *driver, "--opt", f"parent={CARD}", name)
            stack.callback(docker, "network", "rm", name)
        yield
