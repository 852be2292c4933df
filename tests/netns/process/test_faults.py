"""Every fault at every step of every request: the container runs with one lease, or failed, and nothing is left.

A supervisor that is stopped while a call is sent stands for every moment before it has taken the call in.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from itertools import product

import pytest

from tests.lab.command import wait_until
from tests.netns.process.faultbench import HASTY, HURRIED, Bench, bench_in
from tests.netns.process.faultcase import Case, Fault
from tests.netns.process.faultend import NOBODY_JOINS, go_on, patience
from tests.netns.process.faults import FAULTS
from tests.netns.process.faultsteps import IMPOSSIBLE, STEPS, Step
from tests.netns.process.networkfaults import (
    ASKED,
    MEANINGLESS,
    MOMENTS,
    NETWORK_FAULTS,
    NetworkFault,
    kill_supervisor,
    lose_client,
    remove_bridge,
    silence_server,
    struck,
)
from tests.netns.process.shared import Shared, shared

CELLS = [cell for cell in product(STEPS, FAULTS) if cell not in IMPOSSIBLE]
CALLS = ("CreateNetwork", "DeleteNetwork")
NETWORK_CELLS = [cell for cell in product(CALLS, MOMENTS, NETWORK_FAULTS) if cell not in MEANINGLESS]
# The engine forgets the network, and nothing tells the plugin; its row keeps nobody from the bridge (Networks).
FORGOTTEN = [("CreateNetwork", ASKED, lose_client), ("DeleteNetwork", ASKED, kill_supervisor)]
NETWORK_ID = "f" * 64


@pytest.fixture(name="benches", scope="module")
def _benches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[bool, Shared[Bench]]]:
    """The hasty one is for endpoints that are never joined. It gives up those soon, and others on a busy machine."""

    def one(constants: Mapping[str, float]) -> AbstractContextManager[Shared[Bench]]:
        return shared(lambda: bench_in(tmp_path_factory.mktemp("bench"), constants))

    with one(HURRIED) as hurried, one(HASTY) as hasty:
        yield {False: hurried, True: hasty}


@pytest.fixture
def bench(benches: dict[bool, Shared[Bench]], request: pytest.FixtureRequest) -> Iterator[Bench]:
    """A plugin of which nothing has been asked."""
    cell = request.node.callspec.params
    with benches[(cell.get("step"), cell["fault"]) in NOBODY_JOINS].lend(request.session) as bench:
        bench.begin()
        yield bench


@pytest.mark.parametrize(("step", "fault"), CELLS, ids=[f"{s.__name__}-{f.__name__}" for s, f in CELLS])
def test_fault(bench: Bench, step: Step, fault: Fault) -> None:
    """The engine's next calls end as they should, and afterwards everything is as it was before."""
    network_id = bench.rig.network(ipv6="true", lease_timeout=patience(step, fault))
    case = Case(bench, fault, bench.rig.container(network_id))
    try:
        step(case)
        fault(case)
    finally:
        case.resume()
    go_on(case, step)
    settle(bench)


@pytest.mark.parametrize(
    ("call", "moment", "fault"), NETWORK_CELLS, ids=[f"{c}-{m}-{f.__name__}" for c, m, f in NETWORK_CELLS]
)
def test_fault_of_a_network(bench: Bench, call: str, moment: str, fault: NetworkFault) -> None:
    """A network that the engine was told of is one, after a restart as well; one that failed is not."""
    network_id = bench.rig.network(ipv6="true") if call == "DeleteNetwork" else NETWORK_ID

    succeeded = struck(bench, call, network_id, moment, fault)

    there = (call == "CreateNetwork" and succeeded) or (call, moment, fault) in FORGOTTEN
    wait_until(lambda: bench.networks == int(there), f"the right number of networks, {there:d}")
    bench.rig.networks[:] = [network_id] if there else []
    bench.relieve()
    if there and fault not in (remove_bridge, silence_server):
        assert_usable(bench, network_id)
    settle(bench)


def assert_usable(bench: Bench, network_id: str) -> None:
    """A container of this network gets its lease, and gives it back."""
    container = bench.rig.container(network_id)
    assert container.create().status == 200
    container.delete()


def settle(bench: Bench) -> None:
    """The fault ends, the engine's network goes, and nothing is left."""
    bench.serve()
    bench.restore_bridge()
    bench.free_disk()
    bench.relieve()
    wait_until(lambda: not bench.rig.engine.get("/v1/endpoints")["endpoints"], "no endpoint")
    for network_id in bench.rig.networks:
        bench.rig.engine.delete_network(network_id)
    bench.rig.networks.clear()
    bench.rig.containers.clear()
    bench.assert_nothing_left()


def test_number_of_cells(capsys: pytest.CaptureFixture[str]) -> None:
    """At least 60; each pair that is left out is a pair."""
    with capsys.disabled():
        print(f"\nfault injection: {len(CELLS)} cells of endpoints, {len(NETWORK_CELLS)} of networks")
    assert len(CELLS) >= 60
    assert IMPOSSIBLE.keys() <= set(product(STEPS, FAULTS))
