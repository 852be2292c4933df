"""Many containers started at once on one network, until all are up, and ours have clients that renew.

They are started over the engine's API, on a connection each, as Compose does it: fifty docker commands would be timed
with their own start. Must not know how figures are shown.
"""

import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TypeVar

from docker import APIClient

from benchmarks.contenders import NETWORKS, Contenders
from benchmarks.figures import Figures, rounds
from benchmarks.rows import AT_ONCE, AT_ONCE_BUSY
from benchmarks.serverlog import Acknowledged
from benchmarks.sizes import Sizes
from benchmarks.tree import busy_seconds
from tests.lab.images import BUSYBOX
from tests.lab.lab import Lab

TIMEOUT_SECONDS = 120
HANDS = 4  # that make and remove containers, which nobody times

T = TypeVar("T")
R = TypeVar("R")


def measure_bursts(contenders: Contenders, sizes: Sizes, figures: Figures) -> None:
    """Takes so many samples of each contender, one after the other."""
    with closing(api_of(contenders.lab, sizes.burst)) as api:
        for order in rounds(contenders.for_starts, sizes.bursts):
            for contender in order:
                time.sleep(sizes.pause)
                _burst(contenders, api, contender, sizes.burst, figures)


def api_of(lab: Lab, connections: int) -> APIClient:
    """The engine's API, for so many threads."""
    return APIClient(base_url=f"unix://{lab.engine.socket}", timeout=TIMEOUT_SECONDS, max_pool_size=connections)


def remove_all(api: APIClient, containers: Iterable[str]) -> None:
    """`docker rm --force` of each."""
    _at_once(HANDS, lambda container: api.remove_container(container, v=True, force=True), containers)


def _burst(contenders: Contenders, api: APIClient, contender: str, number: int, figures: Figures) -> None:
    """From the first request to the last answer, or to the last client's DHCPACK."""
    created = _at_once(HANDS, lambda _: _create(api, contender), range(number))
    try:
        acknowledged = Acknowledged(contenders.lab.dhcp)
        busy, began = busy_seconds(), time.perf_counter()
        _at_once(number, api.start, created)
        if contender in contenders.plugins:
            acknowledged.wait_for_clients(number)
        figures.add(AT_ONCE, contender, (time.perf_counter() - began) * 1000)
        figures.add(AT_ONCE_BUSY, contender, (busy_seconds() - busy) * 1000 / number)
    finally:
        remove_all(api, created)


def _create(api: APIClient, contender: str) -> str:
    """Its id; not started yet."""
    host = api.create_host_config(network_mode=NETWORKS[contender])
    return str(api.create_container(BUSYBOX, host_config=host)["Id"])


def _at_once(hands: int, call: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """What the calls give, `hands` of them at a time; raises what one of them raised."""
    with ThreadPoolExecutor(hands) as pool:
        return list(pool.map(call, items))
