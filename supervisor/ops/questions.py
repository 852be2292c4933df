"""Answers operators: is the plugin well, which endpoints are there, what happened, what do processes cost?

Changes nothing. supervisor.ops.views makes the rows of the answers. Each answer takes a few milliseconds of the
supervisor at most, because long lists come in pages.
"""

import os
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

from supervisor.contract.errors import Conflict, InvalidRequest, NotFound, RequestError, Unavailable
from supervisor.contract.messages import (
    EVENT_WAIT_SECONDS,
    PAGE_ROWS,
    EndpointList,
    EventList,
    GetEndpoint,
    GetHealth,
    Health,
    ListEndpoints,
    ListEvents,
    ListWorkers,
    Question,
    Respond,
    WorkerList,
)
from supervisor.domain.lease_states import LeaseState
from supervisor.domain.phases import Phase
from supervisor.driver.healing import Healing
from supervisor.driver.host_access import HostAccess
from supervisor.driver.networks import Networks
from supervisor.driver.parents import Parents
from supervisor.driver.registry import Registry
from supervisor.endpoint.endpoint import Endpoint
from supervisor.engine.facts import Engine
from supervisor.ops.tcp import OpsTcp
from supervisor.ops.views import (
    is_called,
    matches,
    problems,
    view_endpoint,
    view_event,
    view_hint,
    view_workers,
    watcher_problems,
)
from supervisor.runtime.child import Child
from supervisor.runtime.jobs import ask
from supervisor.runtime.loop import Loop, Timer
from supervisor.runtime.process_manager import ProcessManager
from supervisor.state.store import Store

SAMPLER = "supervisor.ops.sampling:sample_tree"
SAMPLE_DEADLINE_SECONDS = 10.0
GATHER_SECONDS = 0.1  # events that come together go into one answer


@dataclass(frozen=True, slots=True, eq=False)
class _Follower:
    """A request that waits for the next event after `after`."""

    after: int
    limit: int
    respond: Respond
    timer: Timer


class Questions:
    """`handlers` has a function for each kind of question. It answers now or later, or raises RequestError.

    `instance` names this life of the plugin. `services` gives the children that belong to no endpoint.
    """

    def __init__(  # noqa: PLR0917  all that there is to ask of
        self,
        process_manager: ProcessManager,
        loop: Loop,
        engine: Engine,
        store: Store,
        networks: Networks,
        endpoints: Registry,
        host_access: HostAccess,
        parents: Parents,
        healing: Healing,
        tcp: OpsTcp,
        watcher: Child,
        services: Callable[[], tuple[Child, ...]],
    ) -> None:
        self._process_manager = process_manager
        self._loop = loop
        self._engine = engine
        self._store = store
        self._networks = networks
        self._endpoints = endpoints
        self._host_access = host_access
        self._parents = parents
        self._healing = healing
        self._tcp = tcp
        self._watcher = watcher
        self._services = services
        self._sampling: list[Respond] = []
        self._followers: list[_Follower] = []
        self._is_gathering = False
        store.committed = self._gather
        self.instance = uuid.uuid4().hex
        self._started = time.monotonic()
        self.handlers: dict[type[Question], Callable[..., None]] = {
            GetHealth: self._health,
            GetEndpoint: self._endpoint,
            ListEndpoints: self._list_endpoints,
            ListEvents: self._list_events,
            ListWorkers: self._list_workers,
        }

    def stop(self) -> None:
        """Answers all requests that wait for an event."""
        followers, self._followers = self._followers, []
        for follower in followers:
            follower.timer.cancel()
            follower.respond(Unavailable("the plugin is stopping"))

    def _health(self, _: GetHealth, respond: Respond) -> None:
        parts = (self._store, self._host_access, self._parents, self._healing, self._tcp)
        uptime = time.monotonic() - self._started
        of_parts = (text for part in parts for text in part.problems)
        found = (*of_parts, *watcher_problems(self._watcher, self._engine, uptime), *problems(self._endpoints))
        counts = len(self._networks), len(self._endpoints)
        hints = tuple(view_hint(network, finding, self._engine) for network, finding in self._networks.findings())
        healed = self._healing.healed
        respond(Health(not found, found, self.instance, uptime, *counts, self._engine.connected, hints, healed))

    def _endpoint(self, asked: GetEndpoint, respond: Respond) -> None:
        found = [endpoint for endpoint in self._endpoints if is_called(endpoint, asked.name)]
        if not found:
            raise NotFound(f"no endpoint or container {asked.name!r} is known to this plugin")
        if len(found) > 1:
            raise Conflict(f"{asked.name!r} stands for {len(found)} endpoints: list them, or name one by its id")
        respond(view_endpoint(found[0], self._engine))

    def _list_endpoints(self, asked: ListEndpoints, respond: Respond) -> None:
        _check("phase", asked.phase, tuple(Phase))
        _check("lease_state", asked.lease_state, tuple(LeaseState))
        later = (endpoint for endpoint in self._endpoints if endpoint.spec.endpoint_id > asked.after)
        found = (e for e in sorted(later, key=_id_of) if matches(e, asked, self._engine))
        page = islice(found, min(asked.limit, PAGE_ROWS))
        respond(EndpointList(tuple(view_endpoint(endpoint, self._engine) for endpoint in page)))

    def _list_events(self, asked: ListEvents, respond: Respond) -> None:
        newest = max((number for number, _ in self._store.events(None, 1)), default=0)
        after = newest if asked.after is None else asked.after
        if after > newest:
            raise InvalidRequest(f"since must be at most {newest}, the newest event's id: the history has begun anew")
        if after == newest and asked.wait:
            self._follow(after, asked.limit, respond)
        else:
            respond(self._events(after, asked.limit))

    def _events(self, after: int, limit: int) -> EventList:
        found = self._store.events(after, min(limit, PAGE_ROWS))
        last = found[-1][0] if found else after
        return EventList(tuple(view_event(number, event, self._engine) for number, event in found), last)

    def _follow(self, after: int, limit: int, respond: Respond) -> None:
        def give_up() -> None:
            self._followers.remove(follower)
            respond(EventList((), after))

        follower = _Follower(after, limit, respond, self._loop.call_later(EVENT_WAIT_SECONDS, give_up))
        self._followers.append(follower)

    def _gather(self) -> None:
        """The state on disk has changed: there may be events."""
        if self._followers and not self._is_gathering:
            self._is_gathering = True
            self._loop.call_later(GATHER_SECONDS, self._tell_followers)

    def _tell_followers(self) -> None:
        self._is_gathering = False
        for follower in tuple(self._followers):
            answer = self._events_or_error(follower)
            if isinstance(answer, RequestError) or answer.events:
                self._followers.remove(follower)
                follower.timer.cancel()
                follower.respond(answer)

    def _events_or_error(self, follower: _Follower) -> EventList | RequestError:
        try:
            return self._events(follower.after, follower.limit)
        except RequestError as error:
            return error

    def _list_workers(self, _: ListWorkers, respond: Respond) -> None:
        """Questions that come while a sample is being taken share it."""
        if not self._sampling:
            ask(
                self._process_manager,
                self._loop,
                "nd-sampler",
                SAMPLER,
                os.getpid(),
                deadline=SAMPLE_DEADLINE_SECONDS,
                answer=self._sampled,
            )
        self._sampling.append(respond)

    def _sampled(self, samples: object | None) -> None:
        children = (*self._services(), *(e.worker.child for e in self._endpoints))
        found = samples if isinstance(samples, tuple) else ()
        workers = WorkerList(view_workers(found, children, tuple(self._endpoints)))
        waiting, self._sampling = self._sampling, []
        for respond in waiting:
            respond(workers)


def _id_of(endpoint: Endpoint) -> str:
    return endpoint.spec.endpoint_id


def _check(parameter: str, value: str | None, known: tuple[str, ...]) -> None:
    if value is not None and value not in known:
        raise InvalidRequest(f"{parameter} must be one of {', '.join(known)}, got {value!r}")
