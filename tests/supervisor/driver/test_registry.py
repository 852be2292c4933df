"""All endpoints: what is left when none of them is."""

import gc
import weakref
from pathlib import Path

from supervisor.contract.messages import CreateEndpoint, Done
from supervisor.domain.options import NetworkOptions
from supervisor.driver.orphans import Orphans
from supervisor.driver.registry import Registry
from supervisor.endpoint.endpoint import Endpoint
from supervisor.engine.facts import Engine
from supervisor.runtime.child_states import ChildEvent
from supervisor.state.bindings import Bindings
from supervisor.state.store import Store
from supervisor.state.tables import Snapshot
from tests.supervisor.puppet import NETWORK, Answers, NoSpare, PlayedLoop, PlayedProcessManager
from tests.supervisor.samples import never
from workers.contract.messages import Deleted


def test_memory_is_given_back() -> None:
    """An endpoint is a cycle of references, and stays as garbage; with the last one's end it goes."""
    loop = PlayedLoop()
    process_manager = PlayedProcessManager(loop)
    store = Store(Path("/nowhere"), Snapshot, never)
    store.problem = "no disk in this test"
    memory = Bindings(store)
    orphans = Orphans(process_manager, loop, memory, 0)
    registry = Registry(process_manager, NoSpare(process_manager, loop), loop, Engine(), store, memory, orphans, 0)

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
        for spawned in process_manager.spawned:
            spawned.channel.close()


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
