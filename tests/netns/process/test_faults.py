"""Every fault at every step of every request: the container runs with one lease, or failed, and nothing is left.

A supervisor that is stopped while a call is sent stands for every moment before it has taken the call in.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from itertools import product
from pathlib import Path

import pytest

from tests.lab.command import wait_until
from tests.netns.process.faultbench import PATIENCE_SECONDS, Bench, bench_in
from tests.netns.process.faultcase import Case, Fault
from tests.netns.process.faultend import fails, go_on
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

CELLS = [cell for cell in product(STEPS, FAULTS) if cell not in IMPOSSIBLE]
CALLS = ("CreateNetwork", "DeleteNetwork")
NETWORK_CELLS = [cell for cell in product(CALLS, MOMENTS, NETWORK_FAULTS) if cell not in MEANINGLESS]
# The engine forgets the network, and nothing tells the plugin; its row keeps nobody from the bridge (Networks).
FORGOTTEN = [("CreateNetwork", ASKED, lose_client), ("DeleteNetwork", ASKED, kill_supervisor)]
NETWORK_ID = "f" * 64
SHORT, LONG = "1500ms", "12s"


class Benches:
    """One bench for many cells; a cell that fails takes it along."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._number = 0
        self._stack = ExitStack()
        self._bench: Bench | None = None

    def get(self) -> Bench:
        """The present one, or a new one."""
        if self._bench is None:
            self._number += 1
            directory = self._directory / str(self._number)
            directory.mkdir()
            self._bench = self._stack.enter_context(bench_in(directory))
        return self._bench

    def drop(self) -> None:
        """The next cell gets another one."""
        self._bench = None
        self._stack.close()


@pytest.fixture(scope="module")
def benches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Benches]:
    """Made when a cell needs one."""
    made = Benches(tmp_path_factory.mktemp("bench"))
    yield made
    made.drop()


@pytest.fixture
def bench(benches: Benches, request: pytest.FixtureRequest) -> Iterator[Bench]:
    """A plugin of which nothing has been asked."""
    failed = request.session.testsfailed
    bench = benches.get()
    bench.begin()
    yield bench
    if request.session.testsfailed > failed:
        benches.drop()


@pytest.mark.parametrize(("step", "fault"), CELLS, ids=[f"{s.__name__}-{f.__name__}" for s, f in CELLS])
def test_fault(bench: Bench, step: Step, fault: Fault) -> None:
    """The engine's next calls end as they should, and afterwards everything is as it was before."""
    patience = SHORT if fails(step, fault) else LONG  # the server's silence has to last that long
    case = Case(bench, fault, bench.rig.container(bench.rig.network(lease_timeout=patience)))
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
    network_id = bench.rig.network() if call == "DeleteNetwork" else NETWORK_ID

    succeeded = struck(bench, call, network_id, moment, fault)

    there = (call == "CreateNetwork" and succeeded) or (call, moment, fault) in FORGOTTEN
    wait_until(lambda: bench.networks == int(there), f"the right number of networks, {there:d}", PATIENCE_SECONDS)
    bench.rig.networks[:] = [network_id] if there else []
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
    bench.pool.silent = False
    bench.restore_bridge()
    bench.free_disk()
    wait_until(lambda: not bench.rig.engine.get("/v1/endpoints")["endpoints"], "no endpoint", PATIENCE_SECONDS)
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
