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
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from signal import SIGCHLD, SIGINT, SIGKILL, SIGTERM
from typing import cast

from supervisor.admission import admit
from supervisor.children import Nursery
from supervisor.containerfiles import Identity
from supervisor.endpoints import Endpoint
from supervisor.engine import ContainerGone, ContainerSeen, Engine, EngineConnected, EngineFound, Fact
from supervisor.errors import NotFound, RequestError, Unavailable
from supervisor.identity import Identifier
from supervisor.jobs import ask
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
from supervisor.plant import Plant
from supervisor.records import Origin
from supervisor.services import Api, Respond, Watcher
from supervisor.silence import Silence
from supervisor.statelock import mark_of
from supervisor.store import Snapshot, Store
from supervisor.views import problems, view_endpoint, view_workers
from workers.messages import EndpointSpec

SAMPLER = "supervisor.observe:sample_tree"
RECOVERY_SECONDS = 2.0
TICK_SECONDS = 5.0
SAMPLE_DEADLINE_SECONDS = 10.0
STOP_DEADLINE_SECONDS = 5.0  # dockerd kills after 10

log = logging.getLogger(__name__)


class Supervisor:
    """The plugin. `run` returns when it was told to stop and all children are gone."""

    def __init__(self, listener: socket.socket, engine_socket: str, state: Path) -> None:
        self._loop = Loop()
        self._signals = Signals(SIGTERM, SIGINT, SIGCHLD)
        self._store = Store(state, self._snapshot)
        self._nursery = Nursery(self._loop)
        self._engine = Engine()
        self._identifier = Identifier(self._engine)
        self._networks = Networks(self._nursery, self._loop, self._engine, self._store)
        self._memory = Memory(self._store)
        self._mark = mark_of(state)
        self._leftovers = Leftovers(self._nursery, self._loop, self._memory, self._mark)
        self._endpoints: dict[str, Endpoint] = {}
        self._silence = Silence()
        self._plant = Plant(
            self._nursery,
            self._loop,
            self._engine,
            self._identifier,
            self._store,
            self._memory,
            self._silence,
            self._forget,
            self._cleared,
        )
        self._api = Api(self._nursery, self._loop, listener, self._on_request)
        self._watcher = Watcher(self._nursery, engine_socket, self._on_fact)
        self._instance = uuid.uuid4().hex
        self._started = time.monotonic()
        self._stopping = False
        self._engine_sought = False
        self._swept = False
        self._recovered = False
        self._early: list[tuple[Request, Respond]] = []

    def run(self) -> None:
        """Serves until SIGTERM or SIGINT."""
        self._loop.watch(self._signals.reader, self._on_signal)
        self._watcher.start()
        self._api.start()
        self._recover()
        self._tick()
        log.info("started, instance %s", self._instance)
        while not (self._stopping and not self._nursery.children):
            self._loop.step()
        log.info("stopped")

    def _recover(self) -> None:
        """Disk and kernel are reconciled before the first request is answered; what takes long does not hold it up.

        The engine is looked for as well: without its pid nobody can tell whose the first request at a boot is.
        """
        kept = self._store.load()
        self._engine.data_root = kept.data_root or self._engine.data_root
        self._networks.load(kept.networks)
        self._memory.load(kept.remembered)
        deadline = time.monotonic() + RECOVERY_SECONDS
        for record in kept.endpoints:
            endpoint = self._endpoint(record.spec, record.origin, record.identity)
            self._endpoints[record.spec.endpoint_id] = endpoint
            endpoint.restore(record)
        self._sweep()
        self._loop.call_later(RECOVERY_SECONDS, lambda: None)  # wakes the loop
        while self._recovering() and time.monotonic() < deadline:
            self._loop.step()
        if kept.endpoints:
            seconds = time.monotonic() - deadline + RECOVERY_SECONDS
            lost = sum(e.recovering for e in self._endpoints.values())
            log.info("%d endpoints found again in %.2f s, %d are still looked for", len(kept.endpoints), seconds, lost)
        self._recovered = True
        for request, respond in self._early:
            self._on_request(request, respond)
        self._early.clear()

    def _recovering(self) -> bool:
        return not (self._engine_sought and self._swept) or any(e.recovering for e in self._endpoints.values())

    def _sweep(self) -> None:
        """Where the state cannot be read nobody knows which links are owned."""

        def swept() -> None:
            self._swept = True

        if self._mark and self._store.problem is None:
            self._leftovers.sweep(frozenset(e.spec.host_link for e in self._endpoints.values()), swept)
        else:
            swept()

    def _snapshot(self) -> Snapshot:
        return Snapshot(
            tuple(self._networks),
            tuple(e.record() for e in self._endpoints.values()),
            tuple(self._memory),
            self._engine.data_root,
        )

    def _tick(self) -> None:
        """What is due by the clock: leases nobody came for, workers that hang, a disk that may take the state again."""
        self._loop.call_later(TICK_SECONDS, self._tick)
        self._store.heal()
        self._leftovers.give_back_overdue()
        self._drop_forgotten_networks()
        for endpoint in self._endpoints.values():
            endpoint.look_after()

    def _drop_forgotten_networks(self) -> None:
        used = {e.spec.network_id for e in self._endpoints.values()}
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
        for endpoint in tuple(self._endpoints.values()):
            endpoint.abandon()
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
        for endpoint in self._concerned(cast(Fact, fact)):
            endpoint.engine_changed()

    def _concerned(self, fact: Fact) -> Iterable[Endpoint]:
        """All by another dockerd, as it has the way to every sandbox; else those that the fact names."""
        match fact:
            case EngineFound():
                return self._endpoints.values()
            case ContainerSeen(endpoints=names):
                return [self._endpoints[name] for name in names if name in self._endpoints]
        return ()

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
        for endpoint in tuple(self._endpoints.values()):
            if endpoint.spec.network_id == body.network_id:
                endpoint.delete()
        self._networks.delete(body.network_id)
        self._memory.forget_network(body.network_id)
        respond(Done())

    def _create_endpoint(self, body: CreateEndpoint, respond: Respond) -> None:
        endpoint = self._endpoints.get(body.endpoint_id)
        if endpoint is None:
            endpoint = self._new_endpoint(body)
            self._endpoints[body.endpoint_id] = endpoint
        endpoint.create(respond)

    def _new_endpoint(self, body: CreateEndpoint) -> Endpoint:
        options = self._networks.get(body.network_id).options
        others = [e for e in self._endpoints.values() if e.spec.network_id == body.network_id]
        spec, origin, identity = admit(
            body, options, others, identifier=self._identifier, memory=self._memory, silence=self._silence
        )
        return self._endpoint(spec, origin, identity)

    def _endpoint(self, spec: EndpointSpec, origin: Origin, identity: Identity | None) -> Endpoint:
        return Endpoint(replace(spec, mark=self._mark), origin, identity, self._plant)

    def _forget(self, spec: EndpointSpec) -> None:
        self._endpoints.pop(spec.endpoint_id, None)

    def _cleared(self, spec: EndpointSpec, status: int) -> None:
        """Only now nothing has to be known of it, should we die. A worker that died may have left the link."""
        forget = partial(self._store.drop_endpoint, spec.endpoint_id)
        if status == 0:
            forget()
        else:
            self._leftovers.remove_link(spec.network_id, spec.endpoint_id, forget)

    def _join(self, body: Join, respond: Respond) -> None:
        self._known(body.endpoint_id).join(body.sandbox_key, respond)

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
        view = view_endpoint(self._known(body.endpoint_id), self._engine)
        shown = {"mac": view.mac, "address": view.address, "server": view.server, "lease_state": view.lease_state}
        respond(OperValues({name: str(value) for name, value in shown.items() if value is not None}))

    def _known(self, endpoint_id: str) -> Endpoint:
        try:
            return self._endpoints[endpoint_id]
        except KeyError:
            raise NotFound(f"endpoint {endpoint_id[:12]} is not known to this plugin") from None

    def _health(self, _: GetHealth, respond: Respond) -> None:
        found = problems(self._endpoints.values())
        if self._store.problem is not None:
            found = (self._store.problem, *found)
        uptime = time.monotonic() - self._started
        counts = len(self._networks), len(self._endpoints)
        respond(Health(not found, found, self._instance, uptime, *counts, self._engine.connected))

    def _list_endpoints(self, _: ListEndpoints, respond: Respond) -> None:
        endpoints = sorted(self._endpoints.values(), key=lambda e: e.spec.endpoint_id)
        respond(EndpointList(tuple(view_endpoint(e, self._engine) for e in endpoints)))

    def _list_workers(self, _: ListWorkers, respond: Respond) -> None:
        def sampled(samples: object | None) -> None:
            children = (self._api.child, self._watcher.child, *(e.worker.child for e in self._endpoints.values()))
            found = samples if isinstance(samples, tuple) else ()
            respond(WorkerList(view_workers(found, children, tuple(self._endpoints.values()))))

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
