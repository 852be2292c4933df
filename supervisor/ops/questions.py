"""Answers operators: is the plugin well, which endpoints are there, what happened, what do processes cost?

Changes nothing. supervisor.ops.views makes the rows of the answers. Each answer takes a few milliseconds of the
supervisor at most, because long lists come in pages.
"""

import os
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from itertools import islice

from supervisor import VERSION
from supervisor.contract import messages as m
from supervisor.contract.errors import InvalidRequest, NotFound, Unavailable
from supervisor.domain.lease_states import LeaseState
from supervisor.domain.phases import Phase
from supervisor.driver.healing import Healing
from supervisor.driver.host_access import HostAccess
from supervisor.driver.networks import Networks
from supervisor.driver.parents import Parents
from supervisor.driver.reconnections import Reconnections
from supervisor.driver.registry import Registry
from supervisor.engine.checks import engine_findings, overlaps
from supervisor.engine.facts import Engine
from supervisor.engine.identity import Identifier
from supervisor.ops import views
from supervisor.ops.history import History
from supervisor.ops.metrics import Scene
from supervisor.ops.tcp import OpsTcp
from supervisor.runtime.child import Child
from supervisor.runtime.jobs import Jobs
from supervisor.runtime.loop import Loop
from supervisor.state.records import Network
from supervisor.state.store import Store
from workers.contract.finding import Finding

SAMPLER = "supervisor.ops.sampling:sample_tree"
METRICS_WRITER = "supervisor.ops.metrics:write"
SAMPLE_DEADLINE_SECONDS = 10.0


@dataclass(eq=False)
class Questions:
    """`instance` names this life of the plugin; `is_recovered`: the endpoints of the last one have been found.

    `services` gives the children that belong to no endpoint.
    """

    jobs: Jobs
    loop: Loop
    engine: Engine
    store: Store
    networks: Networks
    endpoints: Registry
    host_access: HostAccess
    parents: Parents
    healing: Healing
    identifier: Identifier
    reconnections: Reconnections
    tcp: OpsTcp
    watcher: Child
    services: Callable[[], tuple[Child, ...]]

    def __post_init__(self) -> None:
        self._history = History(self.loop, self.engine, self.store, self.networks)
        self.instance = uuid.uuid4().hex
        self.is_recovered = False
        self._started = time.monotonic()

    @property
    def handlers(self) -> dict[type, Callable[..., None]]:
        """A function for each kind of question. It answers now or later, or raises RequestError."""
        return {
            m.GetHealth: self._health,
            m.GetReadiness: self._readiness,
            m.GetMetrics: self._metrics,
            m.GetEndpoint: self._endpoint,
            m.GetChecks: self._checks,
            m.ListEndpoints: self._list_endpoints,
            m.ListNetworks: self._list_networks,
            m.ListWorkers: self._list_workers,
            **self._history.handlers,
        }

    def stop(self) -> None:
        """Answers all requests that wait for an event."""
        self._history.stop()

    def _health(self, _: m.GetHealth, respond: m.Respond) -> None:
        respond(self._told_health())

    def _told_health(self) -> m.Health:
        parts = (
            self.store,
            self.host_access,
            self.parents,
            self.healing,
            self.tcp,
            self.identifier,
            self.reconnections,
        )
        uptime = time.monotonic() - self._started
        of_parts = (text for part in parts for text in part.problems)
        found = (*of_parts, *views.watcher_problems(self.watcher, self.engine, uptime), *views.problems(self.endpoints))
        counts = len(self.networks), len(self.endpoints)
        hints = tuple(views.view_hint(network, finding, self.engine) for network, finding in self.networks.findings())
        healed = self.healing.healed
        connected = self.engine.connected
        return m.Health(not found, found, self.instance, uptime, *counts, connected, hints, healed, VERSION)

    def _metrics(self, _: m.GetMetrics, respond: m.Respond) -> None:
        def scraped(text: object | None) -> None:
            failure = Unavailable("the metrics could not be gathered; the plugin's log says why")
            respond(m.Metrics(text) if isinstance(text, bytes) else failure)

        parts = tuple(self.endpoints), self.engine, self.services(), self.endpoints.tally
        words = ("nd-metrics", METRICS_WRITER, Scene(self._told_health(), *parts))
        self.jobs.share(*words, deadline=SAMPLE_DEADLINE_SECONDS, answer=scraped)

    def _readiness(self, _: m.GetReadiness, respond: m.Respond) -> None:
        awaits = tuple(views.missing(self.endpoints, self.engine, is_recovered=self.is_recovered))
        respond(m.Readiness(not awaits, awaits))

    def _checks(self, asked: m.GetChecks, respond: m.Respond) -> None:
        name = asked.network
        named = None if name is None else views.networks_called(name, self.networks, self.engine)
        if named is not None and not named:
            raise NotFound(f"no network {name!r} is known to this plugin")

        def looked(is_done: bool) -> None:
            failure = Unavailable("the networks could not be looked at; the plugin's log says why")
            respond(self._check_list(named) if is_done else failure)

        self.networks.look(looked)

    def _check_list(self, named: frozenset[str] | None) -> m.CheckList:
        """What the last look found, of the networks with these ids or of all."""
        all_found, alike = (*self.networks.findings(), *self._overlaps()), self.networks.alike()
        checks = (views.view_hint(*one, self.engine) for one in all_found if named is None or one[0].id in named)
        mixed_up = (views.view_alike(*one, self.engine) for one in alike if named is None or one[0].id in named)
        of_engine = tuple(map(views.view_engine_hint, engine_findings(self.engine)))
        return m.CheckList(tuple(checks), of_engine, tuple(mixed_up) if self.engine.tells_containers else None)

    def _overlaps(self) -> Iterator[tuple[Network, Finding]]:
        """Finds the subnets of leases that overlap Docker's own."""
        subnets = defaultdict[str, set[IPv4Network | IPv6Network]](set)
        for endpoint in self.endpoints:
            subnets[endpoint.spec.network_id].update(one.lease.address.network for one in endpoint.leases.values())
        for network in self.networks:
            leased = sorted(subnets[network.id], key=str)
            yield from ((network, one) for one in overlaps(self.engine, leased, network.options.link.parent))

    def _list_networks(self, asked: m.ListNetworks, respond: m.Respond) -> None:
        counts = Counter(e.spec.network_id for e in self.endpoints if not e.spec.link.on_host)
        later = sorted(one.id for one in self.networks if one.id > asked.after)
        found = (views.view_network(self.networks.get(one), counts[one], self.engine) for one in later)
        respond(_page(found, asked, lambda view: view.network_id))

    def _endpoint(self, asked: m.GetEndpoint, respond: m.Respond) -> None:
        respond(views.view_detail(views.the_endpoint(self.endpoints, asked.name), self.engine))

    def _list_endpoints(self, asked: m.ListEndpoints, respond: m.Respond) -> None:
        _check("phase", asked.phase, tuple(Phase))
        _check("lease_state", asked.lease_state, tuple(LeaseState))
        later = [endpoint for endpoint in self.endpoints if endpoint.spec.endpoint_id > asked.after]
        later.sort(key=lambda endpoint: endpoint.spec.endpoint_id)
        found = (endpoint for endpoint in later if views.matches(endpoint, asked, self.engine))
        respond(_page((views.view_endpoint(e, self.engine) for e in found), asked, lambda view: view.endpoint_id))

    def _list_workers(self, _: m.ListWorkers, respond: m.Respond) -> None:
        def sampled(samples: object | None) -> None:
            children = (*self.services(), *(e.worker.child for e in self.endpoints))
            found = samples if isinstance(samples, tuple) else ()
            respond(m.WorkerList(views.view_workers(found, children, tuple(self.endpoints))))

        words = ("nd-sampler", SAMPLER, os.getpid())
        self.jobs.share(*words, deadline=SAMPLE_DEADLINE_SECONDS, answer=sampled)


def _page(found: Iterator[m.V], asked: m.ListEndpoints | m.ListNetworks, id_of: Callable[[m.V], str]) -> m.Page[m.V]:
    """The first ones that were found."""
    limit = min(asked.limit, m.PAGE_ROWS)
    rows = tuple(islice(found, limit))
    return m.Page(rows, id_of(rows[-1]) if rows else asked.after, complete=len(rows) < limit)


def _check(parameter: str, value: str | None, known: tuple[str, ...]) -> None:
    if value is not None and value not in known:
        raise InvalidRequest(f"{parameter} must be one of {', '.join(known)}, got {value!r}")
