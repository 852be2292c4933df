"""One endpoint: it handles each request of the engine, each report of its worker, and each deadline.

           create       created      join        attached     leave        left
    ABSENT ─────► CREATING ───► CREATED ───► JOINING ───► JOINED ───► LEAVING ───► LEFT
      ▲ ▲           │ │            │            │           │            │           │
      │ └── failed ─┘ └────────────┴────────────┴─ delete ──┴────────────┴───────────┘
      │                                               ▼
      └────────── deleted, failed ──────────────── DELETING

Leave may also come while JOINING. An event that TABLE does not have for a phase is refused and changes nothing. The
engine may repeat a request, and the worker may die, in any phase. The module follows an endpoint's life: create, join,
renew, leave, delete; then come failures, and the start and the stop of the plugin.
"""

import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Collection, Container, Iterable
from dataclasses import replace
from enum import StrEnum
from ipaddress import IPv4Address
from pathlib import Path

from supervisor.contract.errors import Conflict, Failed
from supervisor.contract.messages import Done, EndpointCreated, Joined, Respond
from supervisor.domain.interface_names import other_name
from supervisor.domain.join_answer import join_answer
from supervisor.domain.lease_states import LeaseState, lease_state
from supervisor.domain.phases import Phase
from supervisor.endpoint.awaited_leases import AwaitedLeases
from supervisor.endpoint.context import EndpointContext
from supervisor.endpoint.journal import Journal
from supervisor.endpoint.pending_requests import PendingRequests
from supervisor.endpoint.worker_process import WorkerProcess
from supervisor.engine.checks import identity_lost, overlaps
from supervisor.engine.container_files import Identity
from supervisor.runtime.loop import Timer
from supervisor.state import tables
from supervisor.state.bindings import Client, is_found, key_of_container
from supervisor.state.records import EndpointRecord, LeaseRecord, Origin
from workers.contract import messages as w
from workers.contract.errors import Failing
from workers.contract.exchange import Messages, acknowledged, add
from workers.contract.lease import AnyLease, Family, Lease, Lease6, Route
from workers.system.clock import boottime

CLEAN_UP_SECONDS = 4.0  # the worker's, after the time for its first lease
JOIN_SECONDS = 120.0  # in which Join follows CreateEndpoint, and the move of the link follows Join
RECHECK_SECONDS = 5.0  # until the supervisor looks again what the engine says of a container
PROMPT_SECONDS = 1.0  # in which Join comes unless the engine lost the answer to CreateEndpoint
GONE_SECONDS = 5.0  # in which Leave comes when a sandbox ends in order
LEAVE_SECONDS = 4.0  # release (2 s), udhcpc's end (1 s)
DELETE_SECONDS = 6.0  # release from the host's side (2 s), udhcpc's end, a link made again and removed
GIVE_WAY_SECONDS = 3.0  # a release takes less; with the longest first lease it is less than the engine's 30 s
EXIT_SECONDS = 2.0  # after the worker's last report: it has a link to remove
RENEWALS = "renewals"
RUN_OUT = "its lease had run out before the start, and no server has answered yet"
ADOPTED = "its state was lost; taken over from the engine, and no server has confirmed the lease yet"


class EndpointEvent(StrEnum):
    """An event of an endpoint: a request of the engine, or a report of its worker."""

    CREATE = "create"
    CREATED = "created"
    FAILED = "failed"
    JOIN = "join"
    ATTACHED = "attached"
    LEAVE = "leave"
    LEFT = "left"
    DELETE = "delete"
    DELETED = "deleted"


REQUESTS = (EndpointEvent.CREATE, EndpointEvent.JOIN, EndpointEvent.LEAVE, EndpointEvent.DELETE)

TABLE: dict[tuple[Phase, EndpointEvent], Phase] = {
    (Phase.ABSENT, EndpointEvent.CREATE): Phase.CREATING,
    (Phase.CREATING, EndpointEvent.CREATED): Phase.CREATED,
    (Phase.CREATING, EndpointEvent.FAILED): Phase.ABSENT,
    (Phase.CREATING, EndpointEvent.DELETE): Phase.DELETING,
    (Phase.CREATED, EndpointEvent.JOIN): Phase.JOINING,
    (Phase.CREATED, EndpointEvent.DELETE): Phase.DELETING,
    (Phase.JOINING, EndpointEvent.ATTACHED): Phase.JOINED,
    (Phase.JOINING, EndpointEvent.LEAVE): Phase.LEAVING,
    (Phase.JOINING, EndpointEvent.DELETE): Phase.DELETING,
    (Phase.JOINED, EndpointEvent.ATTACHED): Phase.JOINED,  # the successor of a worker that died is in the sandbox
    (Phase.JOINED, EndpointEvent.LEAVE): Phase.LEAVING,
    (Phase.JOINED, EndpointEvent.DELETE): Phase.DELETING,
    (Phase.LEAVING, EndpointEvent.LEFT): Phase.LEFT,
    (Phase.LEAVING, EndpointEvent.DELETE): Phase.DELETING,
    (Phase.LEFT, EndpointEvent.DELETE): Phase.DELETING,
    (Phase.DELETING, EndpointEvent.DELETED): Phase.ABSENT,
    (Phase.DELETING, EndpointEvent.FAILED): Phase.ABSENT,  # of a cancelled creation
}


class RefusedEndpointEvent(Exception):
    """The event does not belong to the phase; nothing was changed."""


def after(phase: Phase, event: EndpointEvent) -> Phase:
    """The next phase. Raises RefusedEndpointEvent."""
    try:
        return TABLE[phase, event]
    except KeyError:
        raise RefusedEndpointEvent(f"{event} does not belong to an endpoint that is {phase}") from None


class Endpoint:
    """An endpoint from CreateEndpoint to DeleteEndpoint.

    `troubles` has the last trouble of each lease, until a server confirms the lease. `recovering`: the plugin has
    started again, and the worker has not found the sandbox yet. `link_lost` says that the container runs on without its
    link, which comes back with the host's interface `awaited`, if there is one. `identity_lost` says why it came back
    with another MAC address. `counts` has the RENEWALS of each lease, and its troubles by their kind. `messages` are
    the last DHCP messages (workers.contract.exchange).
    """

    def __init__(
        self, spec: w.EndpointSpec, origin: Origin, identity: Identity | None, context: EndpointContext
    ) -> None:
        self.spec = spec
        self.origin = origin
        self.phase = Phase.ABSENT
        self.leases: dict[Family, LeaseRecord] = {}
        self.troubles: dict[Family, str] = {}
        self.sandbox_key: str | None = None
        self.recovering = False
        self.link_lost: str | None = None
        self.awaited: str | None = None
        self.identity_lost: str | None = None
        self.counts: Counter[tuple[Family, str]] = Counter()
        self.messages: Messages = {}
        self.journal = Journal(spec, context.store, context.bindings, identity)
        self.awaited_leases = AwaitedLeases(context.loop)
        self.worker = WorkerProcess(
            spec, context.process_manager, context.spare, self._on_report, self._on_death, self._start_worker
        )
        self._context = context
        self._store = context.store
        self._pending = PendingRequests()
        self._deadline: Timer | None = None
        self._created = 0.0  # `boottime()`
        self._answered_at = -math.inf  # `time.monotonic()`, by this instance
        self._routes: tuple[Route, ...] = ()
        self._gateway: IPv4Address | None = None
        self._making_link = False
        self._keep_leases = False
        self._releases_nothing = False
        self._gives_way: Timer | None = None

    @property
    def identity(self) -> Identity | None:
        """The container, once known."""
        return self.journal.identity

    @property
    def hostname(self) -> str | None:
        """The host name that the DHCP server gets, once known."""
        return self.origin.name_on_lan(self.identity)

    @property
    def name(self) -> str:
        """The name to use in messages: the container's, or else the beginning of the endpoint's id."""
        return self.identity.name if self.identity else self.spec.endpoint_id[:12]

    @property
    def interface(self) -> str | None:
        """The link's name in the sandbox, once it is there."""
        return None if self.journal.interface == self.spec.container_link else self.journal.interface

    @property
    def has_sandbox(self) -> bool:
        """Whether the engine has joined it to a container that has not left yet."""
        return self.phase in (Phase.JOINING, Phase.JOINED)

    @property
    def client(self) -> Client:
        """The client as servers know it."""
        return Client(self.spec.mac, self.spec.client_identity)

    @property
    def is_ending(self) -> bool:
        """Whether its leases are being released and its link removed."""
        return self.phase is Phase.DELETING

    @property
    def is_awaited(self) -> bool:
        """Whether the engine waits for its end, and so cannot have started its container again."""
        return self._pending.awaits(Phase.DELETING)

    def record(self) -> EndpointRecord:
        """The record from which the next instance of the plugin goes on."""
        return EndpointRecord(
            spec=self.spec,
            phase=self.phase,
            origin=self.origin,
            identity=self.identity,
            sandbox_key=self.sandbox_key,
            leases=tuple(self.leases.values()),
            routes=self._routes,
            gateway=self._gateway,
            created=self._created,
            interface=self.interface,
        )

    def _save(self) -> None:
        self._store.put(self.record())

    def _advance(self, event: EndpointEvent) -> None:
        """Enters the next phase and cancels the deadline of the last one. Raises RefusedEndpointEvent."""
        self.phase = after(self.phase, event)
        self._clear_deadline()
        if event in REQUESTS:
            self.journal.begun = time.monotonic()
        self._context.on_change(self.spec)

    def _set_deadline(self, seconds: float, overdue: Callable[[], None]) -> None:
        """Calls `overdue` after so long, in place of an earlier deadline."""
        self._clear_deadline()
        self._deadline = self._context.loop.call_later(seconds, overdue)

    def _clear_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _on_report(self, report: object) -> None:  # noqa: C901, PLR0912  one line a report
        self.worker.heard()
        match report:
            case w.Created():
                self._on_created(report)
            case w.CreateFailed():
                self._on_create_failed(report)
            case w.Attached(interface) if self.has_sandbox:
                self._on_attached(interface)
            case w.NotMoved():
                self.recovering = False
            case w.SandboxGone():
                self._on_sandbox_gone(report)
            case w.LinkNotMade(reason) if self.has_sandbox:
                self._on_link_not_made(reason)
            case w.ClientStarted(pid, family):
                self.worker.set_client(family, pid)
            case w.LeaseObtained(lease):
                self._on_lease(lease)
            case w.LeaseRenewed() if self._lease is not None:
                add(self.messages, acknowledged(self._lease))  # the sleeper, which says so, knows no message
                self._on_lease(self._lease.renewed(boottime()))
            case w.Exchanged(messages):
                add(self.messages, messages)
            case w.LeaseTrouble():
                self._on_trouble(report)
            case w.Left(released):
                self._on_left(released)
            case w.Deleted(unreleased):
                self._on_deleted(unreleased)

    # Create: the worker makes the link and obtains the first leases.

    def create(self, respond: Respond) -> None:
        """Makes the endpoint. A repeated request gets the same answer, and waits for it if necessary."""
        if self.phase is Phase.ABSENT:
            self._advance(EndpointEvent.CREATE)
            self._set_deadline(self.spec.lease_timeout + CLEAN_UP_SECONDS, self._on_create_overdue)
            self.worker.start(None)
            self._save()  # meanwhile the worker makes the link: if we die, the next instance knows of it
        if self.phase is Phase.CREATING:
            self._pending.add(Phase.CREATING, respond)
        elif self.phase is Phase.CREATED:
            respond(self._created_answer())
        else:
            respond(Conflict(f"endpoint {self.spec.endpoint_id[:12]} exists and is {self.phase}"))

    def _on_created(self, report: w.Created) -> None:
        if self.phase is not Phase.CREATING:  # Delete has overtaken it; its release may fail, or the worker die before
            self.leases = {lease.family: LeaseRecord(lease) for lease in report.leases}
            return
        self._advance(EndpointEvent.CREATED)
        self._created, self._answered_at, now = boottime(), time.monotonic(), time.time()
        self._set_deadline(JOIN_SECONDS, self._on_join_overdue)
        self._routes = report.parent_routes
        add(self.messages, report.messages)
        for lease in report.leases:
            unconfirmed, at = lease.family in report.unconfirmed, boottime()
            granted = now - at + lease.obtained if unconfirmed else now
            self.leases[lease.family] = LeaseRecord(lease, True, granted, granted)
            if unconfirmed and not lease.runs(at):
                self.troubles[lease.family] = RUN_OUT
        with self._store.together():
            self._save()
            for lease in report.leases:
                self.journal.first_lease(lease, self.origin, confirmed=lease.family not in report.unconfirmed)
                for finding in overlaps(self._context.engine, [lease.address.network], self.spec.link.parent):
                    self.journal.say(str(finding), logging.WARNING)
        self._pending.answer(Phase.CREATING, self._created_answer())

    def _created_answer(self) -> EndpointCreated:
        """Leaves out the fields that the engine has filled in: it takes a repetition for an error."""
        ipv4, ipv6 = self._lease, self._lease6
        return EndpointCreated(
            address=None if self.origin.given_address or ipv4 is None else ipv4.address,
            mac=self.spec.mac if self.spec.link.has_own_mac and not self.origin.given_mac else None,
            address6=None if self.origin.given_address6 or ipv6 is None else ipv6.address,
        )

    @property
    def _lease(self) -> Lease | None:
        record = self.leases.get(Family.IPV4)
        return record.lease if record is not None and isinstance(record.lease, Lease) else None

    @property
    def _lease6(self) -> Lease6 | None:
        record = self.leases.get(Family.IPV6)
        return record.lease if record is not None and isinstance(record.lease, Lease6) else None

    @property
    def is_being_made(self) -> bool:
        """Whether the engine awaits the answer to CreateEndpoint, or has just got it and is about to store that."""
        return self.phase is Phase.CREATING or (self.phase is Phase.CREATED and not self.may_be_forgotten)

    @property
    def may_be_forgotten(self) -> bool:
        """Whether the engine may have lost the answer to CreateEndpoint. As a rule it joins the endpoint at once."""
        return self.phase is Phase.CREATED and time.monotonic() - self._answered_at > PROMPT_SECONDS

    def _on_join_overdue(self) -> None:
        """Goes on waiting for a slow container. While dockerd is not found, any container may be slow."""
        if self._context.engine.pid is None or self._context.identifier.is_starting(self.identity):
            self._set_deadline(RECHECK_SECONDS, self._on_join_overdue)
        else:
            text = f"not joined within {JOIN_SECONDS:g} s, so the engine has forgotten it: removed"
            self.journal.say(text, logging.WARNING)
            self.delete()

    # Join: Docker moves the link, and the worker follows it into the sandbox.

    def join(self, sandbox_key: str, respond: Respond) -> None:
        """Tells Docker at once which link to move and which routes to set."""
        if self.has_sandbox and sandbox_key == self.sandbox_key:
            respond(self._joined_answer())
            return
        if self.phase is Phase.CREATED and self._refuse_stranger(respond):
            return
        try:
            self._advance(EndpointEvent.JOIN)
        except RefusedEndpointEvent as error:
            respond(Conflict(f"endpoint {self.spec.endpoint_id[:12]}: {error}"))
            return
        self.sandbox_key = sandbox_key
        answer = self._joined_answer()
        self._save()
        self._set_deadline(JOIN_SECONDS, self._on_link_overdue)
        respond(answer)
        self._attach()
        if self.identity is not None and self.origin.key is None and self._context.identifier.runs(self.identity):
            self._take_key(self.identity)  # it was connected, not started: a new MAC address is nothing lost

    def _refuse_stranger(self, respond: Respond) -> bool:
        """Refuses Join if the endpoint was made with the identity of another container.

        The binding of that container stays. Its lease does not wait for it: as a rule its own request has come
        meanwhile, and it got a fresh identity.
        """
        if self.identity is None or not is_found(self.origin.key):
            return False
        name = self._context.identifier.stranger_at_join(self.spec.network_id, self.spec.endpoint_id, self.identity)
        if name is None:
            return False
        text = f"made for container {self.identity.name}, which is being started, and not for {name}"
        self.journal.say(f"{text}: Join is refused", logging.WARNING)
        self.delete()
        respond(Conflict(f"the endpoint was {text}: try again"))
        return True

    def _joined_answer(self) -> Joined:
        answer = join_answer(self.spec, self._lease, self._routes, self.origin.interface)
        self._gateway = answer.gateway
        return answer

    def _attach(self) -> None:
        """Sends the worker to the sandbox, once for each dockerd, through which the way leads.

        dockerd's pid comes with the watcher's first message.
        """
        if self.sandbox_key is not None:
            self._context.engine.saw_sandbox(self.sandbox_key)
        path = self._context.engine.path(self.sandbox_key or "")
        if path is None or self.worker.is_attached_to(path):
            return
        if self.identity is None:
            identity = self._context.identifier.at_join(self.spec.network_id, self.spec.endpoint_id)
            if identity is not None:
                self._belongs_to(identity)
        self._send_to(path, arrived=self.phase is Phase.JOINED)

    def _send_to(self, path: Path, *, arrived: bool) -> None:
        self._use_resolver()
        self.worker.attach(w.Attach(str(path), self.hostname, self._gateway, arrived))

    def _use_resolver(self) -> None:
        """Tells the worker of the container's resolver, if the network wants that and the container is known."""
        known = self.identity if self.spec.lease_dns else None
        resolver = self._context.identifier.resolver_of(known) if known else None
        if resolver is not None:
            self.worker.send(resolver)

    def _on_link_overdue(self) -> None:
        """The engine does not tell us if a start breaks off after Join, but then the link is still on the host."""
        path = self._context.engine.path(self.sandbox_key or "")
        if path is None or self._context.identifier.is_starting(self.identity):
            self._set_deadline(RECHECK_SECONDS, self._on_link_overdue)
        else:
            self._set_deadline(JOIN_SECONDS, self._on_link_overdue)
            self._send_to(path, arrived=True)

    def _on_attached(self, interface: str) -> None:
        was_joined, saved_as = self.phase is Phase.JOINED, self.interface
        self.journal.interface = interface
        self.recovering = self._making_link = False
        self._advance(EndpointEvent.ATTACHED)
        if not (was_joined and saved_as == interface):
            self._save()
        self.journal.say("attached")
        self.awaited = None
        if not was_joined and self.origin.interface not in (None, interface):
            why = other_name(self.origin.interface, interface, self._context.engine.version)
            self.journal.note("misnamed", why, self._all_leases(), logging.WARNING)
        if self.link_lost is not None:
            self.link_lost = None
            text = f"its link was made again: that on {self.spec.link.parent} had gone"
            self.journal.note("reconnected", text, self._all_leases(), logging.WARNING)

    def engine_changed(self) -> None:
        """The watcher has new facts: the way to the sandbox, or the container's identity."""
        if self.has_sandbox:
            self._attach()
        container = self._context.engine.container_of(self.spec.endpoint_id)
        if container is None:
            return
        identity = Identity(container.id, container.name, container.hostname)
        if identity != self.identity:
            known = self.identity
            self._belongs_to(identity)
            if self.hostname and self.has_sandbox:
                self.worker.send(w.Rename(self.hostname))
            if self.has_sandbox and (known is None or known.id != identity.id):
                self._use_resolver()
        if self.origin.key is None and self.identity_lost is None:
            self._take_key_unless_lost(identity)

    def _belongs_to(self, identity: Identity) -> None:
        self._context.identifier.learn(self.spec.endpoint_id, identity)
        with self._store.soon():  # the watcher tells the next instance, too
            self.journal.belongs_to(identity)
            self._save()

    def _take_key_unless_lost(self, identity: Identity) -> None:
        """Nobody knew at CreateEndpoint which container it was. One that has a MAC of its own gets that back later."""
        before = self._context.bindings.recall(self.spec.network_id, key_of_container(identity.id))
        if before is not None and before.mac != self.spec.mac:
            self.identity_lost = identity_lost(self._context.engine)
            self.journal.say(self.identity_lost, logging.WARNING)
        else:
            self._take_key(identity)

    def _take_key(self, identity: Identity) -> None:
        self.origin = replace(self.origin, key=key_of_container(identity.id))
        with self._store.soon():
            self._save()
            for lease in self._all_leases():
                self.journal.remember(lease, self.origin)

    # Renew: the worker keeps the leases in the sandbox.

    def _on_lease(self, lease: AnyLease) -> None:
        now, previous = time.time(), self.leases.get(lease.family)
        trouble = self.troubles.pop(lease.family, None)
        held = previous is None or previous.held or previous.lease.is_guess
        if previous is None or previous.lease.address != lease.address:
            record, changed = LeaseRecord(lease, held, now, now), True
        else:
            record, changed = replace(previous, lease=lease, held=held, renewed=now), False
            self.counts[lease.family, RENEWALS] += 1
        self.leases[lease.family] = record
        # A next instance that does not know of the latest renewal knows that the lease runs, and renews it at once.
        with self._store.together() if changed or trouble else self._store.soon():
            self._store.do(tables.put_lease(self.spec.endpoint_id, record))
            self.journal.lease(lease, self.origin, previous.lease if previous else None, trouble)
        if changed:
            self._context.on_change(self.spec)
        self.awaited_leases.confirmed(lease.family)

    def _on_trouble(self, report: w.LeaseTrouble) -> None:
        """Logs a trouble once, however often the worker reports it."""
        families = tuple(Family) if report.family is None else (report.family,)
        if report.kind is w.Trouble.CLIENT_DIED:
            for family in families:
                self.worker.set_client(family, None)
        text = f"{report.kind}: {report.detail}"
        if any(self.troubles.get(family) != text for family in families):
            self.counts.update((family, report.kind) for family in families if family in self.leases)
            self._context.tally.troubles[report.kind] += 1
            self.troubles |= dict.fromkeys(families, text)
            self.journal.note_of_lan(report.kind, text, self._leases_of(families), logging.WARNING)
            if report.kind is w.Trouble.EXPIRED and self.spec.drop_expired:
                self.journal.holds_no_more("expired", report.family)

    def plugged_in(self, mtu: int | None) -> None:
        """Its port is the bridge's again. `mtu`: the container's MTU is not to be larger any more."""
        text = f"its port is {self.spec.link.parent}'s again: that bridge had gone, or had lost the port"
        self.journal.note("reconnected", text, self._all_leases(), logging.WARNING)
        if mtu is not None:
            self.limit_mtu(mtu)

    def limit_mtu(self, mtu: int) -> None:
        """The parent takes no larger frames any more."""
        if self.has_sandbox:
            self.worker.send(w.LimitMtu(mtu))

    def ask_servers(self) -> None:
        """The way to the servers is open again: leases that wait for an answer need not wait for the next try."""
        now = boottime()
        late = any(lease_state(lease, now) is not LeaseState.BOUND for lease in self._all_leases())
        if self.phase is Phase.JOINED and (late or self.troubles or set(self.spec.families) - self.leases.keys()):
            self.worker.send(w.AskServers())

    def _all_leases(self) -> list[AnyLease]:
        return [record.lease for record in self.leases.values()]

    def _leases_of(self, families: Container[Family]) -> list[AnyLease]:
        return [record.lease for family, record in self.leases.items() if family in families]

    def _held(self) -> frozenset[Family]:
        return frozenset(family for family, record in self.leases.items() if record.held)

    def _mark_given_back(self, families: Iterable[Family]) -> None:
        for family in families:
            self.leases[family] = replace(self.leases[family], held=False)

    # Leave: the worker releases the leases from inside the sandbox, unless they wait for the container.

    def leave(self, respond: Respond) -> None:
        """Answers when the worker has left the sandbox, and at once if it never entered one."""
        if self.has_sandbox:
            self._advance(EndpointEvent.LEAVE)
            self._set_deadline(LEAVE_SECONDS, self._on_leave_overdue)
            self._keep_leases = self._container_returns()
            self.worker.send_now(w.LeaveSandbox(self._keep_leases))
        if self.phase is Phase.LEAVING:
            self._pending.add(Phase.LEAVING, respond)
        else:
            respond(Done())

    def _container_returns(self) -> bool:
        return self.origin.keep_lease or self._context.identifier.comes_back(self.identity)

    def _on_left(self, released: frozenset[Family]) -> None:
        if self.phase is Phase.LEAVING:
            self._advance(EndpointEvent.LEFT)
            what = "released" if released else "kept" if self._keep_leases else "still to be released"
            with self._store.together():
                self._set_aside_kept()
                self._mark_given_back(released)
                self.journal.given_back(self._leases_of(released), self.origin)
                self._save()
                self.journal.note("left", f"left, lease {what}", self._all_leases())
                self.journal.holds_no_more(what)
        self._pending.answer(Phase.LEAVING, Done())

    def _on_leave_overdue(self) -> None:
        self.journal.say("worker does not leave the sandbox; going on", logging.ERROR)
        self._advance(EndpointEvent.LEFT)
        self._set_aside_kept()
        self._pending.answer(Phase.LEAVING, Done())

    def _on_sandbox_gone(self, report: w.SandboxGone) -> None:
        """If the engine knows that the container has ended, Leave follows within moments; else it never comes.

        The way to the sandbox leads through dockerd, but the end of dockerd does not mean the end of the sandbox. A
        link that went with its parent is told at once; of another one that has gone the engine knows more in a moment.
        """
        self._making_link = False
        if report.only_link:
            self.awaited = report.awaits if self.interface is not None else None
        if not self._context.engine.is_there:
            self.journal.say("dockerd has ended, and with it the way to the sandbox; waiting for the next dockerd")
        elif self.recovering and not report.only_link:
            self._delete_without_sandbox()
        elif self.has_sandbox:
            self.recovering = False
            if report.with_parent:
                self._lose_link()
            self._set_deadline(GONE_SECONDS, self._on_gone_for_long)

    def _lose_link(self) -> None:
        if self.link_lost is None:
            back = f"has gone: it is made again as soon as {self.awaited} is up and has a carrier"
            self._tell_lost_link(back if self.awaited is not None else "has gone: restart the container")
            self._context.on_change(self.spec)

    def _tell_lost_link(self, what: str) -> None:
        """Logs it once, however often it is found out."""
        text = f"its link on {self.spec.link.parent} {what}"
        if text != self.link_lost:
            self.link_lost = text
            self.journal.note("link gone", text, self._all_leases(), logging.ERROR)

    def make_link(self) -> None:
        """The interface `awaited` is up: the worker makes the link again that went with it, if it has not done so."""
        path = self._context.engine.path(self.sandbox_key or "") if self._context.engine.is_there else None
        is_lost = self.phase is Phase.JOINED and self.link_lost is not None and self.awaited is not None
        if not is_lost or self._making_link or self.interface is None or path is None:
            return
        self._making_link = True
        self._use_resolver()
        attach = w.Attach(str(path), self.hostname, self._gateway, arrived=True)
        self.worker.send(w.MakeLink(attach, self.interface, self._joined_routes()))

    def _joined_routes(self) -> tuple[Route, ...]:
        """The host's routes among those in our answer to Join; those of the lease are the worker's."""
        return tuple(r for r in join_answer(self.spec, self._lease, self._routes).routes if r in self._routes)

    def _on_link_not_made(self, reason: str) -> None:
        self._making_link = False
        self._tell_lost_link(f"has gone: it cannot be made again yet: {reason}")

    def _on_gone_for_long(self) -> None:
        if self._context.engine.is_listing:
            self._set_deadline(RECHECK_SECONDS, self._on_gone_for_long)
        else:
            self._delete_without_sandbox()

    def _delete_without_sandbox(self) -> None:
        """The container has ended. Its leases wait for it if the engine is going to start it again.

        If the engine still has the container there, only the link has gone: with its parent, or by the container's own
        doing. Then Leave comes when the container ends.
        """
        if not self.has_sandbox:
            return
        self.recovering = False
        if self._has_container():
            self._lose_link()
            self._set_deadline(GONE_SECONDS, self._on_gone_for_long)
            return
        self.journal.say("its sandbox is gone", logging.WARNING)
        if self._container_returns():
            self._set_leases_aside()
        self.delete()

    def _has_container(self) -> bool:
        """Whether the engine has the container there. If it does not answer, a link that can come back is awaited."""
        engine = self._context.engine
        is_there = engine.container_of(self.spec.endpoint_id) is not None
        return is_there if engine.connected else self.awaited is not None

    def _set_leases_aside(self) -> None:
        """The leases wait for the next endpoint of the same container from now on.

        On disk, too: the next instance of the plugin may neither release them nor go on with this endpoint.
        """
        held = self._held()
        with self._store.together():
            self._part_with_leases(held, self._leases_of(held))
        if held:
            self.worker.send(w.LeaveSandbox(keep=True))

    def _set_aside_kept(self) -> None:
        """The worker was told to keep the leases: nobody releases them, even if it does not report that it has left."""
        self._set_aside(self.leases if self._keep_leases else ())

    def _set_aside(self, families: Collection[Family]) -> None:
        for lease in self._leases_of(families):
            self.journal.set_aside(lease, self.origin)
        self._mark_given_back(families)

    # Delete: the worker releases the leases that are still held, removes the link, and ends.

    def delete(self, respond: Respond | None = None) -> None:
        """Comes in any phase; answers when the leases are released."""
        if respond is not None:
            self._pending.add(Phase.DELETING, respond)
        if self.phase is not Phase.DELETING:
            if self.phase is Phase.LEAVING:
                self._set_aside_kept()
            self._begin_deletion("the endpoint was deleted while it was being made")
            self._pending.answer(Phase.LEAVING, Done())
            self.worker.send_now(w.Delete())

    def retire(self, reason: str) -> None:
        """The engine does not know this endpoint any more, so the next one of its container gets its leases."""
        if self.phase is not Phase.DELETING:
            self.journal.say(reason, logging.WARNING)
            self._set_leases_aside()
            self.delete()

    def gives_way(self) -> bool:
        """Whether the next endpoint of its container may begin: it would lose a lease that this one still releases.

        So this one is given GIVE_WAY_SECONDS to end, and then releases nothing any more.
        """
        if self._releases_nothing or (self.leases and not self._held()):
            return True
        if self._gives_way is None:
            self._gives_way = self._context.loop.call_later(GIVE_WAY_SECONDS, self._give_way)
        return False

    def _give_way(self) -> None:
        """Ends the process that releases: nobody knows whether a server has heard it.

        Its successor only removes the link. The lease waits for nobody, as the next endpoint asks for its address anew.
        """
        if not self.is_ending:
            return
        self.journal.say("its container is started again, so it does not release its lease any more", logging.WARNING)
        self._releases_nothing = True
        with self._store.together():
            self._part_with_leases(frozenset(), self._unclaimed())
        self.worker.kill()

    def _begin_deletion(self, reason: str) -> None:
        """Answers the requests that wait for the creation with the reason."""
        self._advance(EndpointEvent.DELETE)
        self._pending.answer(Phase.CREATING, Failed(reason))
        self._set_deadline(DELETE_SECONDS, self._on_delete_overdue)

    def _on_deleted(self, unreleased: frozenset[Family]) -> None:
        """The worker removes the link next. Until then the record stays on disk, so the next instance can do it."""
        self._advance(EndpointEvent.DELETED)
        waiting = [] if self._releases_nothing else self._leases_of(unreleased) + self._unclaimed()
        with self._store.together():
            self._part_with_leases(unreleased, waiting)
            text = "deleted, lease to be released later" if unreleased else "deleted"
            self.journal.note("deleted", text, self._all_leases())
            self.journal.holds_no_more("deleted")
        self._end()

    def _part_with_leases(self, unreleased: frozenset[Family], waiting: Iterable[AnyLease]) -> None:
        """It holds no lease from now on: all are released but these, and `waiting` wait for the container."""
        released = self._leases_of(self._held() - unreleased)
        self._mark_given_back(self.leases)
        self._store.put(replace(self.record(), phase=Phase.LEFT))
        self.journal.given_back(released, self.origin)
        for lease in waiting:
            self.journal.set_aside(lease, self.origin)

    def _unclaimed(self) -> list[AnyLease]:
        """The remembered leases of families that obtained no other: they go on waiting for their container."""
        return [lease for lease in self.spec.all_remembered if lease.family not in self.leases]

    def _end(self) -> None:
        """The worker has sent its last report. The supervisor forgets the endpoint before it answers the engine."""
        self._context.on_end(self.spec)
        self._pending.answer(Phase.DELETING, Done())
        self._set_deadline(EXIT_SECONDS, self.worker.kill)

    def _on_delete_overdue(self) -> None:
        self.journal.say("worker does not remove the link and is killed", logging.ERROR)
        self._pending.answer(Phase.DELETING, Done())
        self.worker.kill()

    # Failures: the creation fails, the worker hangs or dies. A successor finishes its work.

    def _on_create_failed(self, report: w.CreateFailed) -> None:
        """The worker has undone everything."""
        self._context.tally.failures[report.kind] += 1
        self.journal.note("failed", f"not created: {report.reason}", (), logging.ERROR)
        self._advance(EndpointEvent.FAILED)
        for lease in report.unreleased:
            self.journal.set_aside(lease, self.origin)
        self._end()
        self._pending.answer(Phase.CREATING, Failed(report.reason))

    def _on_create_overdue(self) -> None:
        self.journal.say("worker is overdue and is killed", logging.ERROR)
        self.worker.kill()

    def check_worker(self) -> None:
        """Kills a worker that has let a lease expire and reported nothing. Call it often."""
        kept = self.phase is Phase.JOINED and not (self.recovering or self.link_lost)
        leases = self._all_leases() if kept else []
        if self.worker.hangs(lease.expires for lease in leases if lease.expires is not None):
            self.journal.say("worker says nothing although its lease has run out, and is killed", logging.ERROR)
            self.worker.kill()

    def _on_death(self, status: int) -> None:
        if self.phase is Phase.ABSENT:
            self._clear_deadline()
            self._context.on_exit(self.spec, status)
            return
        if self.phase is Phase.CREATING and self.worker.child.refusal is not None:
            self._on_no_process(self.worker.child.refusal)
            return
        if self.phase is Phase.CREATING and not self.worker.child.has_run:
            self._start_worker()  # the forkserver has died with its order; nothing was made yet
            return
        self.journal.say(f"worker ended with status {status}", logging.ERROR)
        if self.phase is Phase.CREATING:
            overdue = self._deadline is not None and self._deadline.is_idle  # so it was killed
            self._context.tally.failures[Failing.OVERDUE if overdue else Failing.WORKER_DIED] += 1
            self._begin_deletion(f"the endpoint's worker died (status {status}); start it again")
        delay = self.worker.retry_later()
        self.journal.say(f"worker is started again in {delay:g} s", logging.WARNING)

    def _on_no_process(self, refusal: str) -> None:
        """Nothing was made yet, so there is nothing to undo."""
        reason = f"no process could be started for the endpoint: {refusal}; try again when the host has room for one"
        self._on_create_failed(w.CreateFailed(reason, self.spec.all_remembered, Failing.NO_PROCESS))
        self._on_death(0)

    def _start_worker(self) -> None:
        """Starts a successor, and gives it the work that its predecessor had left."""
        self._making_link = False
        known = self.leases or self._releases_nothing
        resume = w.Resume(tuple(self._all_leases()), self._held()) if known else None
        self.worker.start(resume, reclaims=resume is None and self.phase is Phase.DELETING)
        if self.has_sandbox:
            self._attach()
        elif self.phase is Phase.LEAVING:
            self.worker.send(w.LeaveSandbox(self._keep_leases))
        elif self.phase is Phase.DELETING:
            self._set_deadline(DELETE_SECONDS, self._on_delete_overdue)
            self.worker.send(w.Delete())

    # The plugin starts and stops.

    def restore(self, record: EndpointRecord) -> None:
        """Goes on where the last instance of the plugin stopped."""
        self.phase, self.sandbox_key = record.phase, record.sandbox_key
        self.leases = {one.lease.family: one for one in record.leases}
        self._routes, self._gateway = record.routes, record.gateway
        self._created = record.created
        self.journal.interface = record.interface or self.journal.interface
        self.recovering = self.has_sandbox
        self._releases_nothing = self.phase is Phase.LEFT and not self.leases
        if self.phase in (Phase.CREATING, Phase.LEAVING, Phase.LEFT):
            self._advance(EndpointEvent.DELETE)
        elif self.phase is Phase.CREATED:
            self._set_deadline(self._rest_of_join(), self._on_join_overdue)
        elif self.phase is Phase.JOINING:
            self._set_deadline(self._rest_of_join(), self._on_link_overdue)
        self._start_worker()

    def adopt(self, record: EndpointRecord) -> None:
        """Goes on with a running container whose record was lost, and was made anew of what the engine tells."""
        self.restore(record)
        self.troubles = dict.fromkeys(self.leases, ADOPTED)
        with self._store.together():
            self._save()
            for lease in self._all_leases():
                self.journal.remember(lease, self.origin)
                self.journal.holds(lease)
            self.journal.note("adopted", ADOPTED, self._all_leases(), logging.WARNING)

    def _rest_of_join(self) -> float:
        """The rest of JOIN_SECONDS, counted from CreateEndpoint even if the plugin has started again since."""
        return JOIN_SECONDS - min(boottime() - self._created, JOIN_SECONDS)

    def stop(self) -> None:
        """Undoes a creation that is not complete. Other endpoints live on without the plugin and keep their leases."""
        if self.phase is Phase.CREATING:
            self.delete()
        elif self.phase not in (Phase.LEAVING, Phase.DELETING):
            self.worker.disconnect()
