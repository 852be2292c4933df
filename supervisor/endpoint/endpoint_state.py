"""What one endpoint is and has: its phase, its lease, whose it is, and what Docker is told of that.

Owns its form on disk and as an answer. Must not know its worker, nor whoever waits for it.
"""

import logging
import time
from collections.abc import Iterable
from dataclasses import replace
from ipaddress import IPv4Address

from supervisor.contract.messages import EndpointCreated, Joined
from supervisor.domain.join_answer import join_answer
from supervisor.domain.phases import EndpointEvent, Phase, after
from supervisor.endpoint.journal import Journal
from supervisor.engine.container_files import Identity
from supervisor.state.bindings import Bindings, key_of_container
from supervisor.state.records import EndpointRecord, LeaseRecord, Origin
from supervisor.state.store import Store
from workers.contract import messages as w
from workers.contract.hostname import legal_hostname
from workers.contract.lease import Family, Lease, Route


class EndpointState:
    """Times are Unix seconds. `recovering`: found again after a start of the plugin, its sandbox not yet."""

    def __init__(
        self, spec: w.EndpointSpec, origin: Origin, identity: Identity | None, store: Store, bindings: Bindings
    ) -> None:
        self.spec = spec
        self.phase = Phase.ABSENT
        self.leases: dict[Family, LeaseRecord] = {}
        self.troubles: dict[Family, str] = {}  # the last one of each lease that has not been confirmed since
        self.recovering = False
        self.sandbox_key: str | None = None
        self.origin = origin
        self._store = store
        self.journal = Journal(spec, origin, store, bindings)
        self.journal.identity = identity
        self._routes: tuple[Route, ...] = ()
        self._gateway: IPv4Address | None = None

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
            leases=tuple(self.leases.values()),
            routes=self._routes,
            gateway=self._gateway,
        )

    def _restore_state(self, record: EndpointRecord) -> None:
        self.phase, self.sandbox_key = record.phase, record.sandbox_key
        self.leases = {one.lease.family: one for one in record.leases}
        self._routes, self._gateway = record.routes, record.gateway
        self.recovering = self.has_sandbox

    def _save(self) -> None:
        self._store.put_endpoint(self.record())

    @property
    def _hostname(self) -> str | None:
        return legal_hostname(self.identity.hostname) if self.identity else None

    def _created_answer(self) -> EndpointCreated:
        lease = self.leases[Family.IPV4].lease
        return EndpointCreated(
            address=None if self.origin.given_address else lease.address,
            mac=None if self.origin.given_mac else self.spec.mac,
        )

    def _joined(self) -> Joined:
        answer = join_answer(self.spec, self.leases[Family.IPV4].lease, self._routes)
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
                for lease in self._all_leases:
                    self.journal.remember(lease)

    @property
    def _all_leases(self) -> list[Lease]:
        return [record.lease for record in self.leases.values()]

    @property
    def _held(self) -> frozenset[Family]:
        return frozenset(family for family, record in self.leases.items() if record.held)

    def _no_longer_held(self, families: Iterable[Family]) -> None:
        for family in families:
            self.leases[family] = replace(self.leases[family], held=False)

    def take_first_leases(self, report: w.Created) -> None:
        """What it was created with."""
        now = time.time()
        self._routes = report.parent_routes
        self.leases = {lease.family: LeaseRecord(lease, True, now, now) for lease in report.leases}
        with self._store.together():
            self._save()
            for lease in report.leases:
                self._note_first_lease(lease, confirmed=lease.family not in report.unconfirmed)

    def _note_first_lease(self, lease: Lease, *, confirmed: bool) -> None:
        self.journal.remember(lease)
        if confirmed:
            self.journal.note("bound", f"first lease {lease.address} from {lease.server}", [lease])
        else:
            silent = f"no server answers; starting on {lease.address}, whose lease still runs"
            self.journal.note("unconfirmed", silent, [lease])
        wanted = self.spec.requested
        if wanted is not None and lease.family is Family.IPV4 and wanted != lease.address.ip:
            self.journal.say(f"asked for {wanted}, the server gave {lease.address.ip}", logging.WARNING)

    def take_lease(self, lease: Lease) -> None:
        """What the server has acknowledged since."""
        previous = self.leases.get(lease.family)
        trouble = self.troubles.pop(lease.family, None)
        now = time.time()
        changed = previous is None or previous.lease.address != lease.address
        obtained, held = (previous.obtained, previous.held) if previous else (now, True)
        self.leases[lease.family] = LeaseRecord(lease, held, now if changed else obtained, now)
        # Of a renewal that was forgotten the next instance knows that the lease runs, and renews it at once.
        with self._store.together() if changed or trouble else self._store.soon():
            self._save()
            self.journal.remember(lease)
            if changed:
                text = (
                    f"address changed from {previous and previous.lease.address} to {lease.address}; "
                    "docker inspect shows the first one for the container's life"
                )
                self.journal.note("changed", text, [lease], logging.WARNING)
            else:
                text = f"lease of {lease.address} confirmed by {lease.server} for {lease.duration} s"
                self.journal.note("recovered" if trouble else "renewed", text + _after(trouble), [lease])

    def take_trouble(self, report: w.LeaseTrouble) -> None:
        """What endangers a lease, or all of them."""
        text = f"{report.kind}: {report.detail}"
        families = tuple(Family) if report.family is None else (report.family,)
        if any(self.troubles.get(family) != text for family in families):  # one line, however often it is said
            self.troubles |= dict.fromkeys(families, text)
            leases = [self.leases[family].lease for family in families if family in self.leases]
            self.journal.note(report.kind, text, leases, logging.WARNING)

    def take_left(self, released: frozenset[Family], kept: bool) -> None:
        """The sandbox was left. The leases that were neither released nor `kept` for their owner are still held."""
        self._no_longer_held(self.leases if kept else released)
        what = "released" if released else "kept" if kept else "still to be released"
        with self._store.together():
            for lease in self._all_leases if kept else ():
                self.journal.set_aside(lease)
            self._save()
            self.journal.note("left", f"left, lease {what}", self._all_leases)

    def take_deleted(self, unreleased: frozenset[Family]) -> None:
        """The engine is about to forget it, and its link is about to be removed: the next instance's, should we die."""
        waiting = [record.lease for family, record in self.leases.items() if family in unreleased]
        if self.spec.remembered is not None and self.spec.remembered.family not in self.leases:
            waiting.append(self.spec.remembered)
        self._no_longer_held(self.leases)
        with self._store.together():
            self._store.put_endpoint(replace(self.record(), phase=Phase.LEFT))
            for lease in waiting:
                self.journal.set_aside(lease)
            text = "deleted, lease to be released later" if unreleased else "deleted"
            self.journal.note("deleted", text, self._all_leases)

    def let_go(self) -> bool:
        """The leases wait for whoever has the key; False if there is none to be given back."""
        held = self._held
        for family in held:
            self.journal.set_aside(self.leases[family].lease)
        self._no_longer_held(held)
        return bool(held)

    def take(self, event: EndpointEvent) -> None:
        """Raises RefusedEndpointEvent where it does not belong."""
        self.phase = after(self.phase, event)
        if event in (EndpointEvent.CREATE, EndpointEvent.JOIN, EndpointEvent.LEAVE, EndpointEvent.DELETE):
            self.journal.begun = time.monotonic()


def _after(trouble: str | None) -> str:
    return f"; it had been said of it: {trouble}" if trouble else ""
