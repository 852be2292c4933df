"""The supervisor: the root of the tree, one thread, the owner of all state.

    api ──requests──► ┌────────────┐ ──commands──► worker [endpoint]
        ◄──replies─── │ supervisor │ ◄──reports───
    watcher ──facts─► └────────────┘ ◄── signals, deadlines, exit statuses

One Loop waits for all of them. This module starts and stops the supervisor, runs periodic work, and passes requests and
facts on. Requests, networks and endpoints have modules of their own.
"""

import logging
import socket
import time
from collections.abc import Callable
from pathlib import Path
from signal import SIGCHLD, SIGINT, SIGKILL, SIGTERM
from typing import cast

from supervisor.contract.errors import RequestError, Unavailable
from supervisor.contract.messages import Answer, EngineRequest, GetCapabilities, GetReadiness, Request, Respond
from supervisor.driver.healing import Healing
from supervisor.driver.host_access import HostAccess
from supervisor.driver.networks import Networks
from supervisor.driver.orphans import Orphans
from supervisor.driver.parents import Parents
from supervisor.driver.reconnections import Reconnections
from supervisor.driver.registry import Registry
from supervisor.driver.requests import DriverRequests, Registration
from supervisor.endpoint.context import EndpointContext
from supervisor.engine.checks import engine_findings
from supervisor.engine.facts import ContainerGone, ContainersListed, Engine, EngineConnected, EngineLost, Fact
from supervisor.engine.identity import Identifier
from supervisor.ops.actions import Actions
from supervisor.ops.questions import Questions
from supervisor.ops.tcp import OpsTcp, TcpSetting
from supervisor.runtime.child import Child
from supervisor.runtime.jobs import Jobs
from supervisor.runtime.loop import Loop, Signals
from supervisor.runtime.process_manager import ProcessManager
from supervisor.runtime.services import HttpService, Watcher
from supervisor.runtime.spare_worker import SpareWorker
from supervisor.state import tables
from supervisor.state.bindings import Bindings
from supervisor.state.instance_lock import mark_of
from supervisor.state.store import Store
from supervisor.state.tables import Snapshot

TICK_SECONDS = 5.0
AGAIN_SECONDS = 0.1  # until a request that came too early is looked at again
RECOVERY_SECONDS = 2.0
STOP_DEADLINE_SECONDS = 5.0  # dockerd kills after 10

log = logging.getLogger(__name__)


class Supervisor:
    """The plugin."""

    def __init__(self, listener: socket.socket, engine_socket: str, state: Path, tcp: TcpSetting) -> None:
        self._loop = Loop()
        self._signals = Signals(SIGTERM, SIGINT, SIGCHLD)
        self._store = Store(state, self._snapshot, self._loop.call_later)
        self._process_manager = ProcessManager(self._loop)
        self._spare = SpareWorker(self._process_manager, self._loop)
        jobs = Jobs(self._process_manager, self._loop)
        self._engine = Engine()
        mark = mark_of(state)
        self._networks = Networks(jobs, self._engine, self._store, mark)
        self._bindings = Bindings(self._store)
        self._orphans = Orphans(jobs, self._loop, self._bindings, mark)
        identifier = Identifier(self._engine)
        parts = self._process_manager, self._spare, self._loop, self._engine, identifier
        context = EndpointContext(*parts, self._store, self._bindings)
        self._endpoints = Registry(context, self._orphans, mark)
        self._api = HttpService(self._process_manager, self._loop, listener, self._on_api_request)
        self._watcher = Watcher(self._process_manager, engine_socket, self._on_fact, self._on_watcher_end)
        self._ops = OpsTcp(self._process_manager, self._loop, tcp, self._on_request)
        self._host_access = HostAccess(self._loop, self._engine, self._networks, self._endpoints, self._bindings)
        self._parents = Parents(jobs, self._loop, self._endpoints, self._store, self._host_access.retry)
        self._healing = Healing(self._loop, self._engine, self._networks, self._endpoints)
        self._reconnections = Reconnections(
            self._loop, jobs, self._engine, self._networks, self._endpoints, self._bindings, self._store, engine_socket
        )
        driver = self._networks, self._endpoints, self._bindings, self._orphans, self._host_access, self._healing
        self._requests = DriverRequests(*driver, Registration(self._engine), self._ask_again)
        self._questions = Questions(
            jobs,
            self._loop,
            self._engine,
            self._store,
            self._networks,
            self._endpoints,
            self._host_access,
            self._parents,
            self._healing,
            identifier,
            self._reconnections,
            self._ops,
            self._watcher.child,
            self._services,
        )
        actions = Actions(self._loop, self._engine, self._networks, self._endpoints, self._bindings)
        self._handlers: dict[type, Callable[..., None]] = {
            **self._requests.handlers,
            **self._questions.handlers,
            **actions.handlers,
        }
        self._stopping = False
        self._watcher_spoke = self._swept = False
        self._held_back: list[tuple[Request, Respond]] = []  # until the recovery is over

    def run(self) -> None:
        """Serves until SIGTERM or SIGINT; returns when all children have ended."""
        self._start()
        while not (self._stopping and not self._process_manager.children):
            self._loop.step()
        self._store.settle()
        log.info("stopped")

    def _start(self) -> None:
        """Returns when the last instance's endpoints and links are found, and requests are handled."""
        self._loop.watch(self._signals.reader, self._on_signal)
        self._spare.start()
        self._watcher.start()
        self._api.start()
        self._recover()
        self._spare.prepare()
        self._tick()
        log.info("started, instance %s", self._questions.instance)

    def _recover(self) -> None:
        """Finds the endpoints and links of the last instance. Requests wait meanwhile.

        They wait until the state is loaded and the sweep is over, which would remove the link of a start that has begun
        since; and RECOVERY_SECONDS at most for the endpoints and for the watcher's first report on dockerd, without
        whose pid the supervisor cannot tell for which container the first request at a boot is.
        """
        began = time.monotonic()
        kept = self._store.load()
        self._engine.data_root = kept.data_root or self._engine.data_root
        self._engine.program = kept.program
        self._networks.load(kept.networks)
        self._bindings.load(kept.bindings)
        self._endpoints.restore(kept.endpoints)
        self._reconnections.current = kept.reconnection
        self._sweep()
        self._parents.start()
        known = len(self._endpoints)
        deadline = time.monotonic() + RECOVERY_SECONDS
        self._loop.call_later(RECOVERY_SECONDS, lambda: None)  # wakes the loop
        while not self._swept or (self._is_recovering() and time.monotonic() < deadline):
            self._loop.step()
        if known:
            seconds = time.monotonic() - began
            lost = sum(endpoint.recovering for endpoint in self._endpoints)
            log.info("%d endpoints found again in %.2f s, %d are still looked for", known, seconds, lost)
        self._questions.is_recovered = True
        self._requests.registration.begin()
        for request, respond in self._held_back:
            self._on_request(request, respond)
        self._held_back.clear()

    def _sweep(self) -> None:
        """Removes links that no endpoint has, and VLANs that are no network's parent.

        A new state does not tell which VLANs are ours, and one that could not be read tells nothing.
        """
        if self._store.problems:
            self._on_swept()
        else:
            ends = frozenset(endpoint.spec.container_link for endpoint in self._endpoints)
            self._orphans.sweep(ends, None if self._store.is_new else self._networks.parents, self._on_swept)

    def _on_swept(self) -> None:
        self._swept = True

    def _is_recovering(self) -> bool:
        return not self._watcher_spoke or any(endpoint.recovering for endpoint in self._endpoints)

    def _services(self) -> tuple[Child, ...]:
        return (self._api.child, self._watcher.child, *self._ops.children, *self._spare.children)

    def _snapshot(self) -> Snapshot:
        return Snapshot(
            tuple(self._networks),
            tuple(endpoint.record() for endpoint in self._endpoints),
            tuple(self._bindings),
            self._engine.data_root,
            self._engine.program,
            self._reconnections.current,
        )

    def _tick(self) -> None:
        """Does periodic work: tries a failed disk again, releases leases whose time is up, and so on."""
        self._loop.call_later(TICK_SECONDS, self._tick)
        self._store.heal()
        self._orphans.release_overdue(endpoint.spec for endpoint in self._endpoints)
        self._bindings.prune(self._endpoints.places())
        self._drop_forgotten_networks()
        self._host_access.ensure()
        self._parents.look()
        self._ops.look()
        self._reconnections.look()
        for endpoint in self._endpoints:
            endpoint.check_worker()

    def _drop_forgotten_networks(self) -> None:
        used = self._endpoints.networks()
        for network_id in self._networks.drop_forgotten(used):
            self._bindings.forget_network(network_id)
        if self._networks.newly_missing(used):
            log.info("the engine has not told of every network; its networks are listed again")
            self._watcher.look_again()

    def _on_signal(self) -> None:
        numbers = self._signals.drain()
        self._process_manager.reap_orphans()
        if numbers & {SIGTERM, SIGINT} and not self._stopping:
            self._stop()

    def _stop(self) -> None:
        """Undoes starts that are not complete. Running containers live on without the plugin, and keep their leases."""
        log.info("stopping; %d endpoints keep their leases", len(self._endpoints))
        self._stopping = True
        self._host_access.stop()
        for endpoint in self._endpoints:
            endpoint.stop()
        self._spare.stop()
        self._questions.stop()
        self._api.stop()
        self._ops.stop()
        self._watcher.stop()
        self._loop.call_later(STOP_DEADLINE_SECONDS, self._kill_all)

    def _kill_all(self) -> None:
        for child in self._process_manager.children:
            log.error("%s does not end and is killed", child.name)
            self._process_manager.kill(child, SIGKILL)

    def _on_fact(self, fact: object) -> None:
        self._engine.learn(cast(Fact, fact))
        self._watcher_spoke = True
        if isinstance(fact, ContainerGone):
            self._bindings.forget_container(fact.id)
        elif isinstance(fact, ContainersListed):
            self._bindings.forget_absent(self._engine.containers.keys(), fact.began, self._endpoints.places())
        elif isinstance(fact, EngineConnected):
            self._store.do(tables.put_data_root(fact.data_root))
            if self._engine.program is not None:
                self._store.do(*tables.put_program(self._engine.program))
            for finding in engine_findings(self._engine) if len(self._networks) else ():
                log.warning("%s", finding)
        self._endpoints.learn(cast(Fact, fact))
        self._healing.learn(cast(Fact, fact))
        self._reconnections.learn(cast(Fact, fact))

    def _on_watcher_end(self) -> None:
        """Without it the plugin no longer learns what the engine does, as if the engine were gone."""
        self._on_fact(EngineLost("the engine's watcher has ended"))

    def _ask_again(self, body: EngineRequest, respond: Respond) -> None:
        """Handles a request that came too early once more, in a moment."""
        self._loop.call_later(AGAIN_SECONDS, lambda: self._on_request(Request(0, body), respond))

    def _on_api_request(self, request: Request, respond: Respond) -> None:
        """Handles a request as any other, but counts the engine's requests, and how long the engine waits."""
        if not isinstance(request.body, EngineRequest):
            self._on_request(request, respond)
            return
        begun, call = time.monotonic(), type(request.body).__name__

        def answer(result: Answer | RequestError) -> None:
            error = type(result).__name__ if isinstance(result, RequestError) else None
            self._endpoints.tally.answered(call, time.monotonic() - begun, error)
            respond(result)

        self._on_request(request, answer)

    def _on_request(self, request: Request, respond: Respond) -> None:
        if self._stopping:
            respond(Unavailable("the plugin is stopping"))
            return
        if not self._questions.is_recovered and not isinstance(request.body, GetReadiness | GetCapabilities):
            self._held_back.append((request, respond))
            return
        try:
            self._handlers[type(request.body)](request.body, respond)
        except RequestError as error:
            respond(error)
