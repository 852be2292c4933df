"""All endpoints: what is left when none of them is."""

import gc
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from weakref import WeakSet

import pytest

from supervisor.contract.messages import CreateEndpoint, Done
from supervisor.domain.options import NetworkOptions
from supervisor.domain.phases import Phase
from supervisor.driver.orphans import Orphans
from supervisor.driver.registry import MOST_UNCOLLECTED, Registry
from supervisor.endpoint.context import EndpointContext
from supervisor.endpoint.endpoint import Endpoint
from supervisor.engine.facts import Engine
from supervisor.engine.identity import Identifier
from supervisor.runtime.child_states import ChildEvent
from supervisor.runtime.jobs import Jobs
from supervisor.state.bindings import Bindings
from supervisor.state.records import EndpointRecord, LeaseRecord, Origin
from supervisor.state.store import Store
from supervisor.state.tables import Snapshot
from tests.supervisor.puppet import (
    BR0,
    ENDPOINT,
    LEASE,
    MAC,
    NETWORK,
    Answers,
    NoSpare,
    PlayedLoop,
    PlayedProcessManager,
)
from tests.supervisor.samples import never
from workers.contract.client_identity import ClientIdentity
from workers.contract.lease import Family
from workers.contract.messages import Deleted, EndpointSpec
from workers.system.clock import boottime


@dataclass
class Played:
    """A registry whose workers are played."""

    process_manager: PlayedProcessManager
    bindings: Bindings
    registry: Registry
    store: Store


@pytest.fixture(name="played")
def _played() -> Iterator[Played]:
    store = Store(Path("/nowhere"), Snapshot, never)
    store.problem = "no disk in this test"
    yield from _playing(store)


@pytest.fixture(name="kept")
def _kept(tmp_path: Path) -> Iterator[Played]:
    store = Store(tmp_path, Snapshot, never)
    store.load()
    yield from _playing(store)


def _playing(store: Store) -> Iterator[Played]:
    loop = PlayedLoop()
    process_manager = PlayedProcessManager(loop)
    bindings = Bindings(store)
    orphans = Orphans(Jobs(process_manager, loop), loop, bindings, 0)
    spare = NoSpare(process_manager, loop)
    engine = Engine()
    context = EndpointContext(process_manager, spare, loop, engine, Identifier(engine), store, bindings)
    yield Played(process_manager, bindings, Registry(context, orphans, 0), store)
    for spawned in process_manager.spawned:
        spawned.channel.close()


def test_memory_is_given_back(played: Played) -> None:
    """An endpoint is a cycle of references, and stays as garbage; with the last one's end it goes."""
    registry = played.registry
    gc.disable()
    try:
        endpoints = [registry.admit(_request(name), NetworkOptions("br0")) for name in ("first", "last")]
        first = weakref.ref(endpoints[0])
        _live(endpoints.pop(0))
        assert first() is not None
        _live(endpoints.pop(0))
        assert len(registry) == 0
        assert first() is None
    finally:
        gc.enable()


def test_memory_is_given_back_while_others_live(played: Played) -> None:
    """Where there is always an endpoint, those that have ended do not wait for its end either."""
    registry, ended = played.registry, WeakSet[Endpoint]()
    gc.disable()
    try:
        registry.admit(_request("stays"), NetworkOptions("br0"))
        for number in range(2 * MOST_UNCOLLECTED):
            endpoint = registry.admit(_request(f"{number}"), NetworkOptions("br0"))
            ended.add(endpoint)
            _live(endpoint)
            del endpoint
        assert len(registry) == 1
        assert len(ended) <= 1, "the last one is still being ended when memory is given back"
    finally:
        gc.enable()


def test_claimed_together_with_its_record(kept: Played, tmp_path: Path) -> None:
    """If the plugin is killed at any moment, the lease is the binding's, where it waits, or the endpoint's."""
    former = EndpointSpec(NETWORK, "former", BR0, MAC, ClientIdentity.of_mac(MAC), 10.0)
    kept.bindings.set_aside(former, "id:web", replace(LEASE, obtained=boottime()), give_back=True)
    owners = list[tuple[int, int]]()

    def look() -> None:
        found = Store(tmp_path, Snapshot, never).load()
        owners.append((sum(len(one.leases) for one in found.bindings), len(found.endpoints)))

    kept.store.committed = look
    request = CreateEndpoint(NETWORK, ENDPOINT, None, None, {"id": "web"})
    kept.registry.create(request, NetworkOptions("br0"), Answers())
    assert owners == [(0, 1)]


def _request(name: str) -> CreateEndpoint:
    return CreateEndpoint(NETWORK, name, None, None, {})


def _live(endpoint: Endpoint) -> None:
    """From its creation until its worker has removed the link and ended."""
    child = endpoint.worker.child
    deletion = Answers()
    endpoint.create(Answers())
    child.advance(ChildEvent.READY)
    endpoint.delete(deletion)
    child.on_message(Deleted())
    assert deletion == [Done()]
    assert child.channel is not None
    child.channel.close()
    child.advance(ChildEvent.EXIT)
    child.on_exit(0)


def test_host_that_has_started_anew(played: Played) -> None:
    """Of an endpoint from before only its lease is left, which waits for its container; nothing is looked for. One that
    was being made is undone, as a server may have given it a lease that nobody has noted."""
    spec = EndpointSpec(NETWORK, ENDPOINT, BR0, MAC, ClientIdentity.of_mac(MAC), 10.0)
    lease = replace(LEASE, obtained=boottime())
    phases = (Phase.CREATING, Phase.CREATED, Phase.JOINING, Phase.JOINED, Phase.LEFT)
    records = [
        EndpointRecord(
            replace(spec, endpoint_id=phase),
            phase,
            Origin(key=f"id:{phase}"),
            leases=() if phase is Phase.CREATING else (LeaseRecord(lease, held=phase is not Phase.LEFT),),
            before_boot=True,
        )
        for phase in phases
    ]

    played.registry.restore(records)

    assert [(one.spec.endpoint_id, one.phase) for one in played.registry] == [("creating", Phase.DELETING)]
    waiting = {one.key: one.leases for one in played.bindings}
    assert waiting == {f"id:{phase}": {Family.IPV4: lease} for phase in phases[1:-1]}
