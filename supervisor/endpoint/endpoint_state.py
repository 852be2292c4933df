"""What one endpoint is and has: its phase, its lease, whose it is, and what Docker is told of that.

Owns its form on disk and as an answer. Must not know its worker, nor whoever waits for it.
"""

import logging
import time
from dataclasses import replace
from ipaddress import IPv4Address

from supervisor.contract.messages import EndpointCreated, Joined
from supervisor.domain.join_answer import join_answer
from supervisor.domain.phases import EndpointEvent, Phase, after
from supervisor.endpoint.journal import Journal
from supervisor.engine.container_files import Identity
from supervisor.state.bindings import Bindings, key_of_container
from supervisor.state.records import EndpointRecord, Origin
from supervisor.state.store import Store
from workers.contract import messages as w
from workers.contract.hostname import legal_hostname
from workers.contract.lease import Lease, Route


class EndpointState:
    """Times are Unix seconds. `recovering`: found again after a start of the plugin, its sandbox not yet."""

    def __init__(
        self, spec: w.EndpointSpec, origin: Origin, identity: Identity | None, store: Store, bindings: Bindings
    ) -> None:
        self.spec = spec
        self.phase = Phase.ABSENT
        self.lease: Lease | None = None
        self.obtained: float | None = None
        self.renewed: float | None = None
        self.last_trouble: str | None = None
        self.recovering = False
        self.sandbox_key: str | None = None
        self.origin = origin
        self._store = store
        self.journal = Journal(spec, origin, store, bindings)
        self.journal.identity = identity
        self._routes: tuple[Route, ...] = ()
        self._gateway: IPv4Address | None = None
        self._held = False

    @property
    def identity(self) -> Identity | None:
        """The container, once known."""
        return self.journal.identity

    @property
    def interface(self) -> str | None:
        """What the link is called in the sandbox, once it is there."""
        return None if self.journal.interface == self.spec.container_link else self.journal.interface

    @property
    def has_sandbox(self) -> bool:
        """Whether the engine has joined it to a container that has not left yet."""
        return self.phase in (Phase.JOINING, Phase.JOINED)

    def record(self) -> EndpointRecord:
        """What is to be known of it after a restart."""
        return EndpointRecord(
            spec=self.spec,
            phase=self.phase,
            origin=self.origin,
            identity=self.identity,
            sandbox_key=self.sandbox_key,
            lease=self.lease,
            held=self._held,
            routes=self._routes,
            gateway=self._gateway,
            obtained=self.obtained,
            renewed=self.renewed,
        )

    def _restore_state(self, record: EndpointRecord) -> None:
        self.phase, self.sandbox_key, self.lease = record.phase, record.sandbox_key, record.lease
        self._held, self._routes = record.held and record.lease is not None, record.routes
        self._gateway = record.gateway
        self.obtained, self.renewed = record.obtained, record.renewed
        self.recovering = self.has_sandbox

    def _save(self) -> None:
        self._store.put_endpoint(self.record())

    @property
    def _hostname(self) -> str | None:
        return legal_hostname(self.identity.hostname) if self.identity else None

    def _created_answer(self) -> EndpointCreated:
        assert self.lease is not None
        return EndpointCreated(
            address=None if self.origin.given_address else self.lease.address,
            mac=None if self.origin.given_mac else self.spec.mac,
        )

    def _joined(self) -> Joined:
        assert self.lease is not None
        answer = join_answer(self.spec, self.lease, self._routes)
        self._gateway = answer.gateway
        return answer

    def _identify(self, identity: Identity) -> bool:
        """Whose it is; False if that is known."""
        if identity == self.identity:
            return False
        self.journal.identity = identity
        with self._store.soon():  # the watcher tells the next instance as well
            self._save()
        return True

    def _adopt(self, container_id: str) -> None:
        """If it is nobody's, as several were started at once: this container's from its next start on."""
        if self.origin.key is None:
            self.origin = self.journal.origin = replace(self.origin, key=key_of_container(container_id))
            with self._store.soon():
                self._save()
                if self.lease is not None:
                    self.journal.remember(self.lease)

    def take_first_lease(self, lease: Lease, routes: tuple[Route, ...], confirmed: bool) -> None:
        """What it was created with; `confirmed`: a server has said so."""
        self.lease, self._routes, self._held = lease, routes, True
        self.obtained = self.renewed = time.time()
        with self._store.together():
            self._save()
            self.journal.remember(lease)
            if confirmed:
                self.journal.note("bound", f"first lease {lease.address} from {lease.server}", lease)
            else:
                silent = f"no server answers; starting on {lease.address}, whose lease still runs"
                self.journal.note("unconfirmed", silent, lease)
        wanted = self.spec.requested
        if wanted is not None and wanted != lease.address.ip:
            self.journal.say(f"asked for {wanted}, the server gave {lease.address.ip}", logging.WARNING)

    def take_lease(self, lease: Lease) -> None:
        """What the server has acknowledged since."""
        previous, self.lease = self.lease, lease
        trouble, self.last_trouble = self.last_trouble, None
        self.renewed = time.time()
        changed = previous is None or previous.address != lease.address
        if changed:
            self.obtained = self.renewed
        # Of a renewal that was forgotten the next instance knows that the lease runs, and renews it at once.
        with self._store.together() if changed or trouble else self._store.soon():
            self._save()
            self.journal.remember(lease)
            if changed:
                text = (
                    f"address changed from {previous and previous.address} to {lease.address}; "
                    "docker inspect shows the first one for the container's life"
                )
                self.journal.note("changed", text, lease, logging.WARNING)
            else:
                text = f"lease of {lease.address} confirmed by {lease.server} for {lease.duration} s"
                self.journal.note("recovered" if trouble else "renewed", text + _after(trouble), lease)

    def take_trouble(self, kind: w.Trouble, detail: str) -> None:
        """What endangers the lease."""
        text = f"{kind}: {detail}"
        if text != self.last_trouble:  # one line, however often it is said
            self.last_trouble = text
            self.journal.note(kind, text, self.lease, logging.WARNING)

    def take_left(self, released: bool, kept: bool) -> None:
        """The sandbox was left, its lease `released`, `kept` for its owner, or neither."""
        if released or kept:
            self._held = False
        what = "released" if released else "kept" if kept else "still to be released"
        with self._store.together():
            if kept and self.lease is not None:
                self.journal.set_aside(self.lease)
            self._save()
            self.journal.note("left", f"left, lease {what}", self.lease)

    def take_deleted(self, unreleased: bool) -> None:
        """The engine is about to forget it, and its link is about to be removed: the next instance's, should we die."""
        waiting = self.spec.remembered if self.lease is None else self.lease if unreleased else None
        self._held = False
        with self._store.together():
            self._store.put_endpoint(replace(self.record(), phase=Phase.LEFT))
            if waiting is not None:
                self.journal.set_aside(waiting)
            self.journal.note("deleted", "deleted, lease to be released later" if unreleased else "deleted", self.lease)

    def let_go(self) -> bool:
        """The lease waits for whoever has the key; False if there is none to be given back."""
        if self.lease is None or not self._held:
            return False
        self.journal.set_aside(self.lease)
        self._held = False
        return True

    def take(self, event: EndpointEvent) -> None:
        """Raises RefusedEndpointEvent where it does not belong."""
        self.phase = after(self.phase, event)
        if event in (EndpointEvent.CREATE, EndpointEvent.JOIN, EndpointEvent.LEAVE, EndpointEvent.DELETE):
            self.journal.begun = time.monotonic()


def _after(trouble: str | None) -> str:
    return f"; it had been said of it: {trouble}" if trouble else ""
