"""Ten thousand endpoints come and go: created and deleted, each hundredth one after a life in a sandbox."""

import itertools
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from tests.endurance.holdings import Growth, Holdings, rows_of
from tests.lab.command import wait_until
from tests.lab.dhcp import DhcpServer
from tests.netns.process.fakeengine import Container
from tests.netns.process.rig import Rig

WARM_UP = 500  # cycles: what grows with the first ones, as the API's threads do, is no leak
AT_ONCE = 4
WHOLE_LIFE_EVERY = 100
MOST_IDLE, HISTORY_ROWS, PRUNE_EVERY = 200, 1000, 100  # the product's are larger, and would be reached too late
CONSTANTS = {
    "supervisor.state.bindings.MOST_IDLE": MOST_IDLE,
    "supervisor.state.tables.EVENT_ROWS": HISTORY_ROWS,
    "supervisor.state.holdings.KEPT_ROWS": HISTORY_ROWS,
    "supervisor.state.store.PRUNE_EVERY": PRUNE_EVERY,
}
BOUNDS = {"binding": MOST_IDLE, **dict.fromkeys(("event", "holding"), HISTORY_ROWS + PRUNE_EVERY)}


def run(rig: Rig, server: DhcpServer, cycles: int) -> tuple[float, Growth]:
    """How long it took, and what has grown."""
    network = rig.network()
    numbers = itertools.count()
    _cycle(rig, network, itertools.islice(numbers, WARM_UP))
    before = _at_rest(rig, server)
    begun = time.monotonic()
    _cycle(rig, network, itertools.islice(numbers, cycles))
    seconds = time.monotonic() - begun
    return seconds, Growth(before, _at_rest(rig, server), BOUNDS)


def _cycle(rig: Rig, network: str, numbers: Iterable[int]) -> None:
    def one(number: int) -> None:
        container = Container(rig.engine, rig.machine, network)
        container.options["id"] = f"endurance-{number}"
        if number % WHOLE_LIFE_EVERY:
            created = container.create()
            assert created.status == 200, created
            container.delete()
        else:
            container.start()
            container.stop()

    with ThreadPoolExecutor(AT_ONCE) as hands:
        for _ in hands.map(one, numbers):
            pass


def _at_rest(rig: Rig, server: DhcpServer) -> Holdings:
    """Once each lease has been given back, and the plugin has forgotten what is too much."""
    wait_until(lambda: not server.leases(), "a release of each lease")
    wait_until(lambda: rows_of(rig)["binding"] <= MOST_IDLE, "the next tick")
    return Holdings.of(rig)
