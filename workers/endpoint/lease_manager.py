"""Keeps a lease inside the sandbox: acts on servers' answers, on the lease's time, and on claims of other machines.

Owns the lease from Attach to Leave. It probes for an address that is not in use yet, and gives it up if another machine
has it; it defends and keeps an address in use. Runs in the sandbox's network namespace; must not know how it got there.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from ipaddress import IPv4Address

from workers.acd.arp import NOBODY, macs_of
from workers.acd.defence import Defence
from workers.acd.probe import AddressProbe
from workers.contract.client_identity import ClientIdentity
from workers.contract.lease import NO_LEASE, AnyLease, Family, Lease, Route
from workers.contract.messages import (
    Attach,
    ClientKind,
    ConflictCheck,
    EndpointSpec,
    LeaseObtained,
    LeaseTrouble,
    Report,
    Trouble,
)
from workers.dhcp.effects import Granted, Refused, Unanswered, Unusable
from workers.dhcp4.machine import Machine
from workers.dhcp4.release import decline, release, release_by_broadcast
from workers.dhcp4.udhcpc import MIN_LEASE_SECONDS, ClientEvent, ClientOptions, GaveUp
from workers.endpoint.clients import Clients, Renewal
from workers.endpoint.examination import Examination
from workers.endpoint.lease_timers import LeaseTimers
from workers.link.placement import Placement, on_link
from workers.system.clock import boottime, slept

DECLINED_PAUSE_SECONDS = 10.0  # RFC 2131 section 3.1, item 5

log = logging.getLogger(__name__)


@dataclass(init=False, eq=False)
class LeaseManager:
    """One IPv4 lease on one interface. `lease` is the one that the server last acknowledged to `client_identity`.

    It is NO_LEASE if no server has answered yet. `confirmed`: its server has confirmed it just now. `clients` renew it.
    """

    lease: Lease
    clients: Clients
    client_identity: ClientIdentity
    _confirmed: bool
    _placement: Placement
    _timers: LeaseTimers
    _examination: Examination[Lease]
    _settling: Examination[Lease]
    _defence: Defence
    _interface: str = ""
    _claimant: str | None = None
    _paused_until: float = 0.0
    _bound: bool = False
    _refused: bool = False
    _native: bool = False

    def __init__(
        self, spec: EndpointSpec, lease: AnyLease | None, report: Callable[[Report], None], *, confirmed: bool
    ) -> None:
        self.lease = lease if isinstance(lease, Lease) else NO_LEASE
        self.clients, self.client_identity, self._confirmed = Clients(), spec.client_identity, confirmed
        self._placement, self._timers = Placement(), LeaseTimers()
        self._examination, self._settling, self._defence = Examination(), Examination(), Defence()
        self.bind(spec, report)

    def bind(self, spec: EndpointSpec, report: Callable[[Report], None]) -> None:
        """All that is not handed from turn to turn."""
        self._spec = spec
        self._report = report
        self.clients.bind(self._options, self._on_event, report, self._on_late)
        self._placement.bind(spec, report)
        self._timers.bind(Family.IPV4, report, self._on_expiry)
        self._examination.bind(spec, self._adopt, self._decline, self._trusted)
        self._settling.bind(spec, self._on_settled, self._on_late_claim, self._trusted)
        self._defence.bind(spec.mac, self._report_claim, self._is_ours)

    @property
    def next_at(self) -> float | None:
        """The `boottime()` at which to call `due`."""
        parts = (self._timers, self.clients, self._defence, self._examination, self._settling)
        times = (part.next_at for part in parts)
        return min((t for t in times if t is not None), default=None)

    def sources(self) -> dict[int, Callable[[], None]]:
        """The descriptors to wait for, each with the function to call when it is readable."""
        acd = self._settling.sources() | self._defence.sources() | self._examination.sources()
        return self.clients.sources() | acd

    def begin(self, interface: str, attach: Attach, mtu_limit: int, probe: AddressProbe | None = None) -> None:
        """The link is in the sandbox, configured, and called `interface` there; `mtu_limit` is its parent's.

        `probe` is the one that the link's way may have interrupted: then the address is probed for here once more.

        If it had arrived before, another process kept the lease and is gone: the lease is renewed without a DISCOVER.
        """
        self._interface = interface
        if attach.hostname not in (None, self.client_identity.hostname):
            self.client_identity = replace(self.client_identity, hostname=attach.hostname)
            self._confirmed = False  # the server does not know it yet
        self._placement.joined, self._placement.mtu_limit = attach.gateway, mtu_limit
        if self.lease.is_guess:
            self.lease = on_link(interface, self.lease)
        self._refused = attach.arrived and self._is_dropped()  # by the server, which another process was told
        taken_over = attach.arrived and self.lease.runs(boottime()) and not self._refused
        if taken_over:
            self._apply(self.lease)  # its former lease manager may have died over a change
        self._native = taken_over or self._stays_native
        if self._claimant is not None:
            self._decline(self.lease, self._claimant)
            return
        self._run()
        if self.lease == NO_LEASE or self._is_dropped():
            return
        self._defend()
        if probe is not None and probe.interrupted:  # after the defence, so that the kernel gives it an answer first
            self._settling.begin(interface, self.lease, router=probe.router, asker=NOBODY)

    def restore(self, interface: str, gateway: IPv4Address | None, mtu_limit: int, routes: Iterable[Route]) -> None:
        """The link is a new one: it gets what the former one had, before `begin`.

        That is the address, unless that has been taken off, and the routes of the lease and of our answer to Join.
        """
        self._placement.joined, self._placement.mtu_limit = gateway, mtu_limit
        if self.lease != NO_LEASE and (self._is_ours() or not self._spec.drop_expired):
            self._placement.put_anew(interface, self.lease, routes)

    def on_conflict(self, mac: str) -> None:
        """`mac` has answered our probe from before the address was in use: `begin` declines the address."""
        self._claimant = mac

    def rename(self, hostname: str) -> None:
        """Makes the server learn a host name: a client takes it only at its start."""
        if hostname != self.client_identity.hostname:
            self.client_identity = replace(self.client_identity, hostname=hostname)
            if self.clients.running:
                self._restart()

    def move(self, interface: str) -> None:
        """The link has another name now. Restarts udhcpc, which would end at its next packet."""
        self._interface = interface
        self.check()
        self._restart()
        if self._is_ours():
            self._defend()

    def ask(self) -> None:
        """The way to the servers is open again. Our own client asks: udhcpc would soon give up a lease that still runs
        if the way is not quite open yet."""
        self._native = self._is_ours() or self._stays_native
        self._confirmed = False
        self._restart()

    def ask_anew(self) -> None:
        """The lease was given back: it is as if the server had refused it, but that nobody needs to be told."""
        self._bound, self._refused, self._confirmed, self._native = False, True, False, self._stays_native
        self._drop()
        self._restart()

    def limit_mtu(self, mtu: int) -> None:
        """The link's parent takes no larger frames any more."""
        self._placement.limit_mtu(self._interface, mtu)

    def check(self) -> None:
        """The link has changed. Its address stays when it goes down; the next renewal brings back routes."""
        self._placement.touched()

    def renewal(self) -> Renewal | None:
        """What udhcpc says next if its server renews the lease and nothing changes by that, as far as we know."""
        settled = self._bound and not self._in_need and self._placement.holds(self.lease)
        return self.clients.renewal(self.lease) if settled and self._examination.lease is None else None

    def renewed(self, at: float, asleep: float) -> None:
        """It was said, and reported, at that `boottime()` and `slept()`."""
        self._keep(self.lease.renewed(at), asleep)

    @property
    def other_at(self) -> float | None:
        """As `next_at`, but without what a renewal puts off."""
        parts = (self._defence, self._examination, self._settling)
        return min((part.next_at for part in parts if part.next_at is not None), default=None)

    def due(self) -> None:
        """Does what is due. Call it at `next_at`."""
        now = boottime()
        self.clients.due(now)
        self._timers.due(now)
        self._defence.due(now)
        self._examination.due(now)
        self._settling.due(now)

    def stop(self) -> None:
        """Ends the client; the lease stays held."""
        self.clients.stop()
        self._examination.end()
        self._settling.end()
        self._timers.clear()

    def release(self) -> None:
        """Gives the lease back to its server. Raises ReleaseError."""
        release(self._interface, self.lease, self._spec.mac, self.client_identity)

    def finish(self) -> None:
        """As `stop`, but takes the last granted lease, even if its probe has not ended yet."""
        self.clients.finish()
        self._examination.finish()
        self.stop()

    def end(self) -> None:
        """The worker has left the sandbox: closes all sockets there, for which the kernel takes 15 ms."""
        self.stop()
        self._interface = ""
        self._defence.end()

    def _restart(self) -> None:
        """Begins anew with the last granted lease, which the client may not have reported yet."""
        self.clients.finish()
        self._run()

    def _run(self) -> None:
        """Starts the client that the state of the lease demands."""
        self._timers.begin(self.lease, boottime())
        self._start_client()

    def _start_client(self) -> None:
        if self._native:
            self.clients.start_native(self._interface, self._machine())
        else:
            self.clients.start_udhcpc(self._paused_until)
        self._confirmed = False

    @property
    def _stays_native(self) -> bool:
        """Whether our own client is never replaced by a udhcpc, which renews a short lease too late."""
        duration = self.lease.duration
        short = duration is not None and duration < MIN_LEASE_SECONDS and self.lease != NO_LEASE
        return short or self._spec.client is ClientKind.NATIVE

    def _machine(self) -> Machine:
        """Our own client, which holds the lease if that is still ours; else it asks for one."""
        machine = Machine(self._spec.mac, self.client_identity, self._requested)
        now = boottime()
        if self._is_ours():
            machine.hold(self.lease, now, confirm=not self._confirmed)
        if not self._confirmed:
            machine.next_at = max(now, self._paused_until)
        return machine

    def _options(self) -> ClientOptions:
        return ClientOptions(self._interface, self.client_identity, self._requested)

    @property
    def _requested(self) -> IPv4Address | None:
        """The address that a client asks for: that of the lease, unless it was declined."""
        lease = self._examination.lease or self.lease
        if lease == NO_LEASE:
            return self._spec.requested
        return None if self._claimant is not None else lease.address.ip

    def _defend(self) -> None:
        """The address is in use from now on."""
        if self._spec.conflict is not ConflictCheck.OFF:
            self._defence.begin(self._interface, self.lease.address.ip)

    def _is_ours(self) -> bool:
        """Whether we may announce the address."""
        return self._claimant is None and not self._refused and self.lease.runs(boottime())

    def _on_settled(self, _: Lease) -> None:
        """No neighbour has answered the probe that began before the address was in use."""
        self._settling.end()

    def _on_late_claim(self, lease: Lease, mac: str) -> None:
        """One has, which is no claim of an address in use: it is not defended."""
        self._settling.end()
        self._defence.end()
        self._claimant = mac
        self._decline(lease, mac)

    def _report_claim(self, what: str) -> None:
        self._tell(Trouble.CONFLICT, what)

    def _tell(self, trouble: Trouble, what: str) -> None:
        self._report(LeaseTrouble(trouble, what, Family.IPV4))

    def _ask_anew(self) -> None:
        """The lease cannot be renewed any more: udhcpc asks for another. One that still thinks it is bound may hang."""
        if not self._stays_native and (self._native or self._bound):
            self._native = self._bound = False
            self._run()

    def _on_expiry(self) -> None:
        """No server has answered in time: the client asks for a new lease from now on."""
        self._drop()
        self._ask_anew()

    def _drop(self) -> None:
        """With `expired=drop` the address that is not ours any more leaves the link (RFC 2131 section 4.4.5)."""
        if self._spec.drop_expired and not self._is_dropped():
            self._defence.end()
            self._placement.drop(self._interface, self.lease)

    def _is_dropped(self) -> bool:
        """Asks the link, as the process that dropped the address may have died since."""
        known = self._spec.drop_expired and self.lease != NO_LEASE
        return known and not self._placement.has(self._interface, self.lease)

    def _on_late(self) -> None:
        """udhcpc has not renewed the lease by its time. Our own client does, as long as it runs."""
        if self._bound and self._is_ours():
            self._native = True
            self.clients.finish()
            self._start_client()  # the timers go on: silence until T2 counts

    def _on_event(self, event: ClientEvent) -> None:
        match event:
            case Granted(lease, fresh):
                self._on_granted(lease, fresh=fresh)
            case Unusable(reason):
                self._tell(Trouble.INVALID, reason)
                if not self._native:
                    self.clients.reject()
            case Refused(words):
                self._on_refused(words)
            case GaveUp():
                self._on_given_up()
            case Unanswered():
                self._timers.tell_silence("no server answered a round of DISCOVERs; still asking")

    def _on_granted(self, lease: Lease, *, fresh: bool) -> None:
        if (fresh or lease.server != self.lease.server) and self._is_strange(lease):
            self._insist(lease)
        elif self._claimant is not None or lease.address.ip != self.lease.address.ip or self._is_dropped():
            self._examination.begin(self._interface, lease)
        else:
            self._adopt(lease)

    def _trusted(self, lease: Lease) -> set[str]:
        known = (lease.server, *lease.routers, self.lease.server, *self.lease.routers)
        return macs_of([address for address in known if address is not None])

    def _decline(self, lease: Lease, mac: str) -> None:
        """Tells the server that `mac` has the address, and asks for another one after a pause."""
        what = f"{mac} has {lease.address.ip} as well; it is declined, and another one asked for"
        self._report_claim(what)
        decline(self._interface, lease, self._spec.mac, self.client_identity, mac)
        self._examination.end()
        self._bound, self._confirmed, self._native = False, False, self._stays_native
        self._paused_until = boottime() + DECLINED_PAUSE_SECONDS
        self._run()

    def _adopt(self, lease: Lease) -> None:
        """The lease is in use from now on."""
        self._examination.end()
        if not self._apply(lease):
            self.clients.reject()
            return
        self._bound, self._refused, self._timers.silent = True, False, False
        self._claimant = None
        self._keep(lease, slept())
        self._defend()
        self._report(LeaseObtained(lease))
        if self._stays_native and not self._native:
            self._native = self._confirmed = True
            self._run()

    def _keep(self, lease: Lease, asleep: float) -> None:
        self.lease = lease
        self._timers.begin(lease, lease.obtained)
        self.clients.accept(lease, asleep)

    def _is_strange(self, lease: Lease) -> bool:
        """Whether another server was the first to answer udhcpc, while the lease that we hold still runs."""
        return lease.address != self.lease.address and self.lease.runs(boottime()) and not self._in_need

    @property
    def _in_need(self) -> bool:
        """Whether the lease may not be ours for long."""
        return self._timers.silent or self._refused or self._claimant is not None

    def _insist(self, lease: Lease) -> None:
        """The container keeps the address that Docker knows; its server tells if it is not its own any more."""
        what = f"{lease.server} gave {lease.address.ip}; it is given back, and {self.lease.address.ip} renewed"
        log.warning(what, extra={"interface": self._interface})
        release_by_broadcast(self._interface, lease, self._spec.mac, self.client_identity)
        self._native = True
        self._run()

    def _apply(self, lease: Lease) -> bool:
        return self._placement.put(self._interface, self.lease, lease)

    def _on_refused(self, words: str) -> None:
        self._bound, self._refused = False, True  # the deconfig that follows means nothing new
        self._tell(Trouble.NAK, f"the server refused {self.lease.address.ip}: {words!r}")
        self._drop()
        self._ask_anew()

    def _on_given_up(self) -> None:
        """The address stays: a router that reboots must not cost a container its network."""
        if self._bound:
            self._bound = False
            self._timers.give_up()
