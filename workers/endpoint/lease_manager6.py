"""Keeps an IPv6 address inside the sandbox: renews the lease of a DHCPv6 server, or follows what the kernel makes of
router advertisements.

Owns the address from Attach to Leave. Without one it goes on searching, so a container that started while no server
answered gets its address later. Runs in the sandbox's network namespace; must not know how it got there.
"""

import logging
import math
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from ipaddress import IPv6Address

from workers.acd.probe import AddressProbe
from workers.contract.client_identity import ClientIdentity
from workers.contract.errors import NoLease
from workers.contract.lease import AnyLease, Family, Lease6
from workers.contract.messages import Attach, EndpointSpec, Ipv6, LeaseObtained, LeaseTrouble, Report, Trouble
from workers.dhcp.effects import Configured, Granted, Refused, Unanswered, Unusable
from workers.dhcp.native import Report as ClientReport
from workers.dhcp6.first_lease import Exchange6, machine_for
from workers.dhcp6.machine import Machine
from workers.dhcp6.native import NativeClient6
from workers.dhcp6.packet_socket import PacketSocket6, link_local
from workers.dhcp6.release import decline, release
from workers.endpoint.examination import Examination
from workers.endpoint.lease_timers import LeaseTimers
from workers.link.mtu import fit_mtu
from workers.link.placement6 import Placement6, kernel_lease, on_link6
from workers.netlink.changes import RTMGRP_IPV6_IFADDR, change_feed, drain
from workers.system.clock import boottime
from workers.system.deadlines import Deadlines

RETRY_SECONDS = 5.0
DECLINED_PAUSE_SECONDS = 10.0  # between two Declines: one that claims all addresses must not empty the server's pool
REPORT_SECONDS = 1.0  # between two looks at what the kernel makes of advertisements: they may come in a flood
# Docker 28 advertises the address that it has set, three times in two seconds. Without the address, the start fails.
ENGINE_SECONDS = 3.0
FRESHER_SECONDS = 1.5  # by which an advertisement must prolong an address to be worth a report

log = logging.getLogger(__name__)


@dataclass(init=False, eq=False)
class LeaseManager6:
    """The IPv6 lease of one interface; None while there is none. `confirmed`: a server has confirmed it just now.

    One of three things keeps it: `_client` that of a server, `_feed` the kernel's, `_search` looks for one.
    """

    lease: Lease6 | None
    client_identity: ClientIdentity
    _confirmed: bool
    _timers: LeaseTimers
    _deadlines: Deadlines
    _examination: Examination[Lease6]
    _settling: Examination[Lease6]
    _interface: str = ""
    _claimant: str | None = None
    _refused: bool = False
    _asks_from: float = 0.0
    _paused_until: float = 0.0
    _stays_until: float = 0.0
    _looked_at: float = 0.0
    _client: NativeClient6 | None = None
    _search: Exchange6 | None = None
    _feed: socket.socket | None = None

    def __init__(
        self, spec: EndpointSpec, lease: AnyLease | None, report: Callable[[Report], None], *, confirmed: bool
    ) -> None:
        self.lease = lease if isinstance(lease, Lease6) else None
        self.client_identity, self._confirmed = spec.client_identity, confirmed
        self._timers, self._deadlines = LeaseTimers(), Deadlines()
        self._examination, self._settling = Examination(), Examination()
        self.bind(spec, report)

    def bind(self, spec: EndpointSpec, report: Callable[[Report], None]) -> None:
        """All that is not handed from turn to turn."""
        self._spec = spec
        self._report = report
        self._placement = Placement6(report, spec.token)
        self._timers.bind(Family.IPV6, self._report_silence, self._on_expiry)
        self._examination.bind(spec, self._adopt, self._decline)
        self._settling.bind(spec, self._on_settled, self._decline)

    @property
    def next_at(self) -> float | None:
        """The `boottime()` at which to call `due`."""
        parts = (self._timers, self._client, self._search, self._examination, self._settling, self._deadlines)
        times = [part.next_at for part in parts if part is not None]
        return min((at for at in times if at is not None), default=None)

    def sources(self) -> dict[int, Callable[[], None]]:
        """The descriptors to wait for, each with the function to call when it is readable."""
        found = self._examination.sources() | self._settling.sources()
        if self._client is not None:
            found |= dict.fromkeys(self._client.sources(), self._on_answer)
        if self._search is not None:
            found |= dict.fromkeys(self._search.sources(), self._on_search)
        if self._feed is not None:
            found[self._feed.fileno()] = self._on_addresses
        return found

    def begin(self, interface: str, attach: Attach, _: int, probe: AddressProbe | None = None) -> None:
        """The link is in the sandbox, configured, and called `interface` there.

        `probe` is the one that the link's way may have interrupted: then the address is probed for here once more. The
        kernel does so itself for one that it has made.
        """
        self._interface = interface
        self._stays_until = boottime() + ENGINE_SECONDS
        if attach.hostname not in (None, self.client_identity.hostname):
            self.client_identity = replace(self.client_identity, hostname=attach.hostname)
            self._confirmed = False  # the server does not know it yet
        self._placement.prepare(interface, slaac=self._is_slaac)
        if self.lease is not None and self.lease.is_guess:
            self.lease = on_link6(interface, self.lease)
        lease = self.lease
        # Also one whose end nobody saw: the kernel has taken its address off.
        if lease is not None and (lease.runs(boottime()) or (self._stays(lease) and not lease.slaac)):
            self._put(None, lease)
            self._placement.route_at_first(interface, lease)
        if self.lease is not None and self._claimant is not None:
            self._decline(self.lease, self._claimant)
            return
        self._run()
        if lease is not None and not lease.slaac and probe is not None and probe.interrupted:
            asker = link_local(interface, self._spec.mac)
            self._settling.begin(interface, lease, router=probe.router, asker=asker)

    @property
    def _is_slaac(self) -> bool:
        """Whether the kernel makes the address. `auto` becomes one or the other with the first lease."""
        return self.lease.slaac if self.lease is not None else self._spec.ipv6 is Ipv6.SLAAC

    def on_conflict(self, mac: str) -> None:
        """`mac` has answered our probe from before the address was in use: `begin` declines the address.

        No server can be told of one that was made of a router's prefix. The kernel probes for it in the sandbox.
        """
        if not self._is_slaac:
            self._claimant = mac

    def rename(self, hostname: str) -> None:
        """Makes the server learn a host name by a renewal."""
        if hostname != self.client_identity.hostname:
            self.client_identity = replace(self.client_identity, hostname=hostname)
            if self._client is not None:
                self._confirmed = False
                self._run()

    def move(self, interface: str) -> None:
        """The link has another name now."""
        self._interface = interface
        self._run()

    def ask(self) -> None:
        """The way to the servers is open again. It was, where an address is being examined that one has granted."""
        if self._examination.lease is None:
            self._confirmed = False
            self._run()

    def ask_anew(self) -> None:
        """The lease was given back: the client asks for another one; an advertised address has no lease."""
        lease = self.lease
        if lease is None or lease.slaac:
            return
        self._refused = True
        if self._spec.drop_expired:
            self._placement.drop(self._interface, lease)
        self._stop_client()
        self._client = NativeClient6(self._interface, Machine(self._spec.mac, self.client_identity, lease.address.ip))

    def limit_mtu(self, mtu: int) -> None:
        """The link's parent takes no larger frames any more."""
        fit_mtu(self._interface, mtu)

    def check(self) -> None:
        """The link has changed: the kernel takes its addresses off one that goes down."""
        lease = self.lease
        ours = lease is not None and not lease.slaac and self._stays(lease)
        if lease is not None and ours and not self._placement.has(self._interface, lease):
            self._put(None, lease)
            if self._client is not None:
                self._client.moved()

    def due(self) -> None:
        """Does what is due. Call it at `next_at`."""
        now = boottime()
        if self._client is not None and self._client.next_at is not None and self._client.next_at <= now:
            self._take(self._client.due())
        if self._search is not None and self._search.next_at is not None and self._search.next_at <= now:
            self._on_search()
        self._timers.due(now)
        self._examination.due(now)
        self._settling.due(now)
        self._deadlines.due(now, self)

    def stop(self) -> None:
        """Ends the client; the lease stays held."""
        self._stop_client()
        self._deadlines.clear()
        self._examination.end()
        self._settling.end()
        self._timers.clear()

    def release(self) -> None:
        """Gives the lease back to its server, if it has one. Raises ReleaseError."""
        if self.lease is not None and not self.lease.slaac:
            release(self._interface, self._spec.mac, self.lease, self.client_identity)

    def finish(self) -> None:
        """As `stop`, but takes the last granted lease, even if its probe has not ended yet."""
        if self._client is not None:
            self._take(self._client.read())
        self._examination.finish()
        self.stop()

    def end(self) -> None:
        """The worker has left the sandbox."""
        self.stop()
        self._interface = ""

    def _run(self) -> None:
        """Starts what the state of the lease demands."""
        self._stop_client()
        now, lease = boottime(), self.lease
        if lease is None:
            self._start_search()
            return
        self._begin_timers(lease, now)
        if lease.slaac:
            self._feed = change_feed(RTMGRP_IPV6_IFADDR)
            self._on_addresses()
            return
        if self._claimant is not None:
            machine = Machine(self._spec.mac, self.client_identity, next_at=max(now, self._asks_from))
        else:
            machine = Machine(self._spec.mac, self.client_identity, lease.address.ip)
            if lease.runs(now):
                machine.hold(lease, now, confirm=not self._confirmed)
        self._client = NativeClient6(self._interface, machine)
        self._confirmed = False

    def _start_search(self) -> None:
        """As at the endpoint's beginning, but nobody waits for it."""
        try:
            packet_socket = PacketSocket6(self._interface, self._spec.mac)
            former = self._spec.remembered6
            runs = former is not None and former.runs(boottime())
            spec = replace(self._spec, client_identity=self.client_identity, remembered6=former if runs else None)
            self._search = Exchange6(spec, machine_for(spec, boottime()), packet_socket, self._interface, boottime())
        except OSError as error:  # the link has gone, or is down
            log.debug("no search for an IPv6 address: %s", error, extra={"interface": self._interface})
            self._run_later()

    def _on_search(self) -> None:
        if self._search is None:
            return
        try:
            self._search.step(boottime())
        except (NoLease, OSError) as error:
            self._tell(Trouble.NO_ANSWER, str(error))
            self._run_later()
            return
        acquired = self._search.acquired
        if acquired is not None:
            self._search.release_others()
            acquired.probe.forget()
            self._confirmed = acquired.confirmed
            self._placement.prepare(self._interface, slaac=acquired.lease.slaac)
            if self._adopt(acquired.lease):
                self._run()
            else:
                self._run_later()

    def _run_later(self) -> None:
        self._stop_client()
        self._deadlines.set(self._run, boottime() + RETRY_SECONDS)

    def _stop_client(self) -> None:
        if self._search is not None:
            self._search.packet_socket.close()
        for part in (self._client, self._search, self._feed):
            if part is not None:
                part.close()
        self._client = self._search = self._feed = None

    def _on_answer(self) -> None:
        if self._client is not None:
            self._take(self._client.read())

    def _take(self, reports: Iterable[ClientReport[Lease6]]) -> None:
        for report in reports:
            match report:
                case Granted(lease):
                    self._on_granted(lease)
                case Refused(words):
                    self._on_refused(words)
                case Unusable(reason):
                    self._tell(Trouble.INVALID, reason)
                case Unanswered():
                    self._tell(Trouble.NO_ANSWER, "no server answered a round of SOLICITs; still asking")
                case Configured(dns, search):
                    self._learn(dns, search)

    def _on_granted(self, lease: Lease6) -> None:
        """Probes for an address before it is used; a renewal needs no probe. The engine advertises its own first."""
        former = self.lease
        lease = replace(lease, router=former.router if former else None)
        in_use = former is not None and former.address == lease.address and self._stays(former)
        if in_use and self._claimant is None:
            self._adopt(lease)
            return
        router = self._client.sender if self._client is not None else ""
        self._examination.begin(self._interface, lease, router=router, not_before=self._stays_until if former else 0.0)

    def _on_refused(self, words: str) -> None:
        """The client asks for another lease by itself."""
        self._refused = True
        self._tell(Trouble.NAK, f"the server refused {self._address}: {words!r}")
        if self.lease is not None and self._spec.drop_expired:
            self._placement.drop(self._interface, self.lease)

    def _stays(self, lease: Lease6) -> bool:
        """Whether the address belongs on the link. With `expired=keep` one in use is never given up."""
        return not self._spec.drop_expired or (lease.runs(boottime()) and not self._refused)

    def _decline(self, lease: Lease6, mac: str) -> None:
        """Tells the server that `mac` has the address (RFC 8415 section 18.2.8), and asks for another one."""
        self._tell(Trouble.CONFLICT, f"{mac} has {lease.address.ip} as well; it is declined, and another one asked for")
        decline(self._interface, self._spec.mac, lease, self.client_identity)
        self._examination.end()
        self._settling.end()
        self._claimant = mac
        self._asks_from = self._paused_until
        self._paused_until = boottime() + DECLINED_PAUSE_SECONDS
        self._run()

    def _on_settled(self, _: Lease6) -> None:
        """No neighbour has answered the probe that began before the address was in use."""
        self._settling.end()

    def _adopt(self, lease: Lease6) -> bool:
        """The lease is in use from now on; False if the kernel refused its address."""
        self._examination.end()
        if not self._put(self.lease, lease):
            if self._client is not None:
                self._client.retry(RETRY_SECONDS)
            return False
        self.lease, self._claimant, self._refused = lease, None, False
        self._begin_timers(lease, lease.obtained)
        self._report(LeaseObtained(lease))
        return True

    def _begin_timers(self, lease: Lease6, at: float) -> None:
        self._timers.silent = False
        self._timers.begin(lease, at)

    def _report_silence(self, report: Report) -> None:
        silent = isinstance(report, LeaseTrouble) and report.kind is Trouble.NO_ANSWER
        if silent and self.lease is not None and self._stays(self.lease):
            self._put(None, self.lease)
        self._report(report)

    def _put(self, previous: Lease6 | None, lease: Lease6) -> bool:
        """The kernel takes an address off at the end of its lease. With `expired=keep` it shall stay on the link, which
        the kernel is told as soon as no server has renewed the lease by T2."""
        overdue = lease.t2 is not None and boottime() >= lease.t2
        for_ever = overdue and not self._spec.drop_expired
        return self._placement.put(self._interface, previous, lease, for_ever=for_ever)

    def _on_expiry(self) -> None:
        """No server has renewed the lease in time. The client asks for another one by itself."""
        if self.lease is None:
            return
        if self._spec.drop_expired:
            self._placement.drop(self._interface, self.lease)
        if self.lease.slaac:
            self._on_addresses()

    def _on_addresses(self) -> None:
        """The kernel has changed an address: prolonged it, made one of a new prefix, or let the old one go."""
        if self._feed is not None:
            drain(self._feed)
        now = boottime()
        if now < self._looked_at + REPORT_SECONDS:
            self._deadlines.set(self._on_addresses, self._looked_at + REPORT_SECONDS)
            return
        found, known = kernel_lease(self._interface, self.lease, keep=not self._timers.silent), self.lease
        if found is None:
            return
        if known is not None and found.address == known.address and not self._is_fresher(found, known):
            return
        if known is not None and found.address != known.address and self._timers.silent:
            self._placement.drop(self._interface, known)  # the kernel was told to keep it
        self.lease, self._looked_at = found, now
        self._begin_timers(found, found.obtained)
        self._report(LeaseObtained(found))

    def _is_fresher(self, found: Lease6, known: Lease6) -> bool:
        """Whether a router has prolonged the address. That the kernel keeps it for ever is our own word."""
        kept = self._timers.silent and found.duration is None
        ends = [_end(one.obtained, one.preferred if kept else one.duration) for one in (found, known)]
        return ends[0] > ends[1] + FRESHER_SECONDS

    def _learn(self, dns: tuple[IPv6Address, ...], search: tuple[str, ...]) -> None:
        if self.lease is not None and (dns, search) != (self.lease.dns, self.lease.search):
            self.lease = replace(self.lease, dns=dns, search=search)
            self._report(LeaseObtained(self.lease))

    @property
    def _address(self) -> str:
        return str(self.lease.address.ip) if self.lease is not None else "an address"

    def _tell(self, trouble: Trouble, what: str) -> None:
        self._report(LeaseTrouble(trouble, what, Family.IPV6))


def _end(obtained: float, lifetime: int | None) -> float:
    """The kernel says 0 of what has ended before."""
    if lifetime is None:
        return math.inf
    return obtained + lifetime if lifetime else 0.0
