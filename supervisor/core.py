"""The supervisor: the root of the tree, one thread, the owner of all state.

    api ──requests──► ┌────────────┐ ──commands──► worker [endpoint]
        ◄──replies─── │ supervisor │ ◄──reports───
    watcher ──facts─► └────────────┘ ◄── signals, deadlines, exit statuses

Everything comes together in one Loop. It routes: what a network or an endpoint does is in their modules.
"""

import logging
import os
import socket
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from signal import SIGCHLD, SIGINT, SIGKILL, SIGTERM
from typing import cast

from supervisor.children import Nursery
from supervisor.engine import ContainerGone, Engine, EngineConnected, Fact
from supervisor.errors import RequestError, Unavailable
from supervisor.jobs import ask
from supervisor.leasestate import lease_state
from supervisor.leftovers import Leftovers
from supervisor.loop import Loop, Signals
from supervisor.memory import Memory
from supervisor.messages import (
    CreateEndpoint,
    CreateNetwork,
    DeleteEndpoint,
    DeleteNetwork,
    Done,
    EndpointList,
    GetHealth,
    Health,
    Join,
    Leave,
    ListEndpoints,
    ListWorkers,
    OperInfo,
    OperValues,
    Request,
    WorkerList,
)
from supervisor.networks import Networks
from supervisor.recovery import Recovery
from supervisor.registry import Registry
from supervisor.services import Api, Respond, Watcher
from supervisor.spare import Spare
from supervisor.statelock import mark_of
from supervisor.store import Store
from supervisor.tables import Snapshot
from supervisor.views import problems, view_endpoint, view_workers
from workers.lease import boottime

SAMPLER = "supervisor.observe:sample_tree"
TICK_SECONDS = 5.0
SAMPLE_DEADLINE_SECONDS = 10.0
STOP_DEADLINE_SECONDS = 5.0  # dockerd kills after 10

log = logging.getLogger(__name__)


class Supervisor:
    """The plugin. `run` returns when it was told to stop and all children are gone."""

    def __init__(self, listener: socket.socket, engine_socket: str, state: Path) -> None:
        self._loop = Loop()
        self._signals = Signals(SIGTERM, SIGINT, SIGCHLD)
        self._store = Store(state, self._snapshot, self._loop.call_later)
        self._nursery = Nursery(self._loop)
        self._spare = Spare(self._nursery, self._loop)
        self._engine = Engine()
        self._networks = Networks(self._nursery, self._loop, self._engine, self._store)
        self._memory = Memory(self._store)
        mark = mark_of(state)
        self._leftovers = Leftovers(self._nursery, self._loop, self._memory, mark)
        self._endpoints = Registry(
            self._nursery, self._spare, self._loop, self._engine, self._store, self._memory, self._leftovers, mark
        )
        self._api = Api(self._nursery, self._loop, listener, self._on_request)
        self._watcher = Watcher(self._nursery, engine_socket, self._on_fact)
        self._instance = uuid.uuid4().hex
        self._started = time.monotonic()
        self._stopping = False
        self._engine_sought = False
        self._recovered = False
        self._early: list[tuple[Request, Respond]] = []

    def run(self) -> None:
        """Serves until SIGTERM or SIGINT."""
        self._loop.watch(self._signals.reader, self._on_signal)
        self._spare.start()
        self._watcher.start()
        self._api.start()
        self._recover()
        self._spare.prepare()
        self._tick()
        log.info("started, instance %s", self._instance)
        while not (self._stopping and not self._nursery.children):
            self._loop.step()
        self._store.settle()
        log.info("stopped")

    def _recover(self) -> None:
        """Nothing is answered before that, or before the time for it is up."""
        kept = self._store.load()
        self._engine.data_root = kept.data_root or self._engine.data_root
        self._networks.load(kept.networks)
        self._memory.load(kept.remembered)
        recovery = Recovery(self._loop, self._endpoints, self._leftovers, lambda: self._engine_sought)
        self._endpoints.restore(kept.endpoints)
        recovery.sweep(state_known=self._store.problem is None)
        recovery.wait()
        self._recovered = True
        for request, respond in self._early:
            self._on_request(request, respond)
        self._early.clear()

    def _snapshot(self) -> Snapshot:
        return Snapshot(
            tuple(self._networks),
            tuple(endpoint.record() for endpoint in self._endpoints),
            tuple(self._memory),
            self._engine.data_root,
        )

    def _tick(self) -> None:
        """What is due by the clock: leases nobody came for, workers that hang, a disk that may take the state again."""
        self._loop.call_later(TICK_SECONDS, self._tick)
        self._store.heal()
        self._leftovers.give_back_overdue()
        self._drop_forgotten_networks()
        for endpoint in self._endpoints:
            endpoint.look_after()

    def _drop_forgotten_networks(self) -> None:
        used = self._endpoints.networks()
        for network_id in self._networks.drop_forgotten(used):
            self._memory.forget_network(network_id)
        if self._networks.take_doubts(used):
            log.info("the engine has not told of every network; its networks are listed again")
            self._watcher.look_again()

    def _on_signal(self) -> None:
        numbers = self._signals.drain()
        self._nursery.reap_orphans()
        if numbers & {SIGTERM, SIGINT} and not self._stopping:
            self._stop()

    def _stop(self) -> None:
        """What is being made is undone; the leases of running containers are kept: they live on without us."""
        log.info("stopping; %d endpoints keep their leases", len(self._endpoints))
        self._stopping = True
        for endpoint in self._endpoints:
            endpoint.abandon()
        self._spare.stop()
        self._api.stop()
        self._watcher.stop()
        self._loop.call_later(STOP_DEADLINE_SECONDS, self._kill_all)

    def _kill_all(self) -> None:
        for child in self._nursery.children:
            log.error("%s does not end and is killed", child.name)
            self._nursery.kill(child, SIGKILL)

    def _on_fact(self, fact: object) -> None:
        self._engine.learn(cast(Fact, fact))
        self._engine_sought = True
        if isinstance(fact, ContainerGone):
            self._memory.forget_container(fact.id)
        elif isinstance(fact, EngineConnected):
            self._store.put_data_root(fact.data_root)
        self._endpoints.learn(cast(Fact, fact))

    def _on_request(self, request: Request, respond: Respond) -> None:
        if self._stopping:
            respond(Unavailable("the plugin is stopping"))
            return
        if not self._recovered:
            self._early.append((request, respond))
            return
        try:
            HANDLERS[type(request.body)](self, request.body, respond)
        except RequestError as error:
            respond(error)

    def _create_network(self, body: CreateNetwork, respond: Respond) -> None:
        self._networks.create(body, respond)

    def _delete_network(self, body: DeleteNetwork, respond: Respond) -> None:
        """The engine forgets the network whatever we answer, so its endpoints go too."""
        for endpoint in self._endpoints.on_network(body.network_id):
            endpoint.delete()
        self._networks.delete(body.network_id)
        self._memory.forget_network(body.network_id)
        respond(Done())

    def _create_endpoint(self, body: CreateEndpoint, respond: Respond) -> None:
        endpoint = self._endpoints.get(body.endpoint_id)
        if endpoint is None:
            endpoint = self._endpoints.admit(body, self._networks.get(body.network_id).options)
        endpoint.create(respond)

    def _join(self, body: Join, respond: Respond) -> None:
        self._endpoints.known(body.endpoint_id).join(body.sandbox_key, respond)

    def _leave(self, body: Leave, respond: Respond) -> None:
        endpoint = self._endpoints.get(body.endpoint_id)
        if endpoint is None:
            respond(Done())
        else:
            endpoint.leave(respond)

    def _delete_endpoint(self, body: DeleteEndpoint, respond: Respond) -> None:
        endpoint = self._endpoints.get(body.endpoint_id)
        if endpoint is None:
            self._leftovers.remove_link(body.network_id, body.endpoint_id, lambda: respond(Done()))
        else:
            endpoint.delete(respond)

    def _oper_info(self, body: OperInfo, respond: Respond) -> None:
        endpoint = self._endpoints.known(body.endpoint_id)
        shown: dict[str, object] = {"mac": endpoint.spec.mac}
        if (lease := endpoint.lease) is not None:
            shown |= {"address": lease.address, "server": lease.server, "lease_state": lease_state(lease, boottime())}
        respond(OperValues({name: str(value) for name, value in shown.items() if value is not None}))

    def _health(self, _: GetHealth, respond: Respond) -> None:
        found = problems(self._endpoints)
        if self._store.problem is not None:
            found = (self._store.problem, *found)
        uptime = time.monotonic() - self._started
        counts = len(self._networks), len(self._endpoints)
        respond(Health(not found, found, self._instance, uptime, *counts, self._engine.connected))

    def _list_endpoints(self, _: ListEndpoints, respond: Respond) -> None:
        endpoints = sorted(self._endpoints, key=lambda e: e.spec.endpoint_id)
        respond(EndpointList(tuple(view_endpoint(e, self._engine) for e in endpoints)))

    def _list_workers(self, _: ListWorkers, respond: Respond) -> None:
        def sampled(samples: object | None) -> None:
            children = (
                self._api.child,
                self._watcher.child,
                *self._spare.children,
                *(e.worker.child for e in self._endpoints),
            )
            found = samples if isinstance(samples, tuple) else ()
            respond(WorkerList(view_workers(found, children, tuple(self._endpoints))))

        ask(
            self._nursery,
            self._loop,
            "nd-sampler",
            SAMPLER,
            os.getpid(),
            deadline=SAMPLE_DEADLINE_SECONDS,
            answer=sampled,
        )


HANDLERS: dict[type, Callable[..., None]] = {
    CreateNetwork: Supervisor._create_network,
    DeleteNetwork: Supervisor._delete_network,
    CreateEndpoint: Supervisor._create_endpoint,
    DeleteEndpoint: Supervisor._delete_endpoint,
    OperInfo: Supervisor._oper_info,
    Join: Supervisor._join,
    Leave: Supervisor._leave,
    GetHealth: Supervisor._health,
    ListEndpoints: Supervisor._list_endpoints,
    ListWorkers: Supervisor._list_workers,
}
