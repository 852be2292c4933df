"""All endpoints by id. Adds them and forgets them. Must not know how an endpoint works."""

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial

from supervisor.contract.errors import NotFound
from supervisor.contract.messages import CreateEndpoint, Respond
from supervisor.domain.options import NetworkOptions
from supervisor.domain.phases import Phase
from supervisor.driver.admission import Admission
from supervisor.driver.adoption import record_of
from supervisor.driver.orphans import Orphans
from supervisor.endpoint.context import EndpointContext
from supervisor.endpoint.endpoint import Endpoint
from supervisor.endpoint.host_endpoint import HostEndpoint
from supervisor.endpoint.journal import Journal
from supervisor.engine.container_files import Identity
from supervisor.engine.facts import ContainerSeen, EndpointSeen, EngineFound, Fact
from supervisor.runtime.shared_memory import give_back
from supervisor.state import tables
from supervisor.state.bindings import Place
from supervisor.state.records import EndpointRecord, Origin
from workers.contract.messages import EndpointSpec

MOST_UNCOLLECTED = 50  # endpoints: each refers to its worker and back, so only the collector frees one that has ended

log = logging.getLogger(__name__)


class Registry:
    """`context` has what endpoints need; `mark` is the group of our links (supervisor.state.instance_lock)."""

    def __init__(self, context: EndpointContext, orphans: Orphans, mark: int) -> None:
        self._store = context.store
        self._orphans = orphans
        self._mark = mark
        self._endpoints: dict[str, Endpoint] = {}
        self._ending: set[str] = set()
        self._uncollected = 0
        self.watchers: list[Callable[[EndpointSpec], None]] = []  # called when this endpoint has changed
        self._context = replace(context, on_end=self._on_end, on_exit=self._on_exit, on_change=self._on_change)
        self._admission = Admission(context.identifier, context.bindings)
        self.tally = context.tally

    def __len__(self) -> int:
        return len(self._endpoints)

    def __iter__(self) -> Iterator[Endpoint]:
        """Over a copy: an endpoint may end during the iteration."""
        return iter(tuple(self._endpoints.values()))

    def get(self, endpoint_id: str) -> Endpoint | None:
        """None if the endpoint is not known."""
        return self._endpoints.get(endpoint_id)

    def known(self, endpoint_id: str) -> Endpoint:
        """The endpoint; raises NotFound."""
        try:
            return self._endpoints[endpoint_id]
        except KeyError:
            raise NotFound(f"endpoint {endpoint_id[:12]} is not known to this plugin") from None

    def host_on(self, network_id: str) -> HostEndpoint | None:
        """The host's own endpoint on this network."""
        found = self._endpoints.get(network_id)
        return found if isinstance(found, HostEndpoint) else None

    def is_ending(self, endpoint_id: str) -> bool:
        """Whether the worker of an endpoint that has ended may still remove the link."""
        return endpoint_id in self._ending

    def places(self) -> set[Place]:
        """The bindings that endpoints have."""
        return {(e.spec.network_id, e.origin.key) for e in self if e.origin.key is not None}

    def networks(self) -> set[str]:
        """The ids of the networks that have an endpoint of a container."""
        return {endpoint.spec.network_id for endpoint in self if not isinstance(endpoint, HostEndpoint)}

    def on_network(self, network_id: str) -> list[Endpoint]:
        """The endpoints of this network."""
        return [endpoint for endpoint in self if endpoint.spec.network_id == network_id]

    def restore(self, records: Iterable[EndpointRecord]) -> None:
        """Goes on with the endpoints of the last instance.

        If the host has rebooted since, their containers have ended, and their links are gone. Their leases wait for
        the containers, as nobody knows yet which of them come back. What was being made then is undone as always.
        """
        left = 0
        with self._store.together():
            for record in records:
                if record.before_boot and record.phase is not Phase.CREATING:
                    self._lay_aside(record)
                    left += 1
                else:
                    self._add(record.spec, record.origin, record.identity).restore(record)
        if left:
            log.info("the host has rebooted: the leases of %d endpoints wait for their containers", left)

    def create(self, body: CreateEndpoint, options: NetworkOptions, respond: Respond) -> None:
        """Makes the endpoint that the request asks for. What it claims comes to the disk together with its record: else
        a lease that waited would be nobody's if the plugin was killed in between. Raises as `admit`, and NotYet.
        """
        with self._store.together():
            self.admit(body, options).create(respond)

    def admit(self, body: CreateEndpoint, options: NetworkOptions) -> Endpoint:
        """Adds the endpoint that the request asks for. Raises InvalidRequest; Conflict for an id that is in use."""
        return self._add(*self._admission.admit(body, options, self.on_network(body.network_id)))

    def adopt(self, seen: EndpointSeen, options: NetworkOptions) -> None:
        """Adds the endpoint of a container that runs, of which only the engine has told. Raises RequestError."""
        with self._store.together():
            record = record_of(seen, options, self.on_network(seen.network_id), self._admission)
            self._add(record.spec, record.origin, record.identity).adopt(record)

    def add_host(self, spec: EndpointSpec, origin: Origin) -> HostEndpoint:
        """Adds the host's own endpoint on a network."""
        endpoint = self._add(spec, origin, None)
        assert isinstance(endpoint, HostEndpoint)
        return endpoint

    def learn(self, fact: Fact) -> None:
        """Passes the fact to the endpoints that it names. Another dockerd is another way to all sandboxes."""
        match fact:
            case EngineFound():
                concerned = list(self)
            case ContainerSeen(endpoints=names):
                concerned = [self._endpoints[name] for name in names if name in self._endpoints]
            case _:
                concerned = []
        for endpoint in concerned:
            endpoint.engine_changed()

    def _lay_aside(self, record: EndpointRecord) -> None:
        journal = Journal(record.spec, self._store, self._context.bindings, record.identity)
        obtained = {one.lease.family for one in record.leases}
        held = [one.lease for one in record.leases if one.held]
        for lease in (*held, *(one for one in record.spec.all_remembered if one.family not in obtained)):
            journal.set_aside(lease, record.origin)
        self._store.do(*tables.drop_endpoint(record.spec.endpoint_id))

    def _add(self, spec: EndpointSpec, origin: Origin, identity: Identity | None) -> Endpoint:
        kind = HostEndpoint if spec.link.on_host else Endpoint
        endpoint = kind(replace(spec, mark=self._mark), origin, identity, self._context)
        self._endpoints[spec.endpoint_id] = endpoint
        return endpoint

    def _on_end(self, spec: EndpointSpec) -> None:
        self._endpoints.pop(spec.endpoint_id, None)
        self._ending.add(spec.endpoint_id)

    def _on_exit(self, spec: EndpointSpec, status: int) -> None:
        """Drops the record once the link is gone. A worker that died may have left its link behind."""
        forget = partial(self._forget, spec)
        if status == 0:
            forget()
        else:
            self._orphans.remove_link(spec.endpoint_id, forget)
        self._uncollected += 1
        if not self._endpoints or self._uncollected >= MOST_UNCOLLECTED:
            self._uncollected = 0
            give_back()

    def _forget(self, spec: EndpointSpec) -> None:
        self._ending.discard(spec.endpoint_id)
        self._store.do(*tables.drop_endpoint(spec.endpoint_id))
        self._on_change(spec)

    def _on_change(self, spec: EndpointSpec) -> None:
        for watcher in self.watchers:
            watcher(spec)
