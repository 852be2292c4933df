"""Obtains the first IPv6 address by the machine and by router advertisements, while the link is still on the host.

Owns the probe of an offered address, the choice between DHCPv6 and SLAAC, and the error that a user reads when no
address came. It does not wait: its caller, which may obtain an IPv4 lease at the same time, has the only waiting place
and the budget.
"""

import math
from dataclasses import dataclass, replace

from workers.acd.probe import AddressProbe
from workers.contract.errors import Failing, NoLease
from workers.contract.finding import Finding
from workers.contract.lease import Lease6
from workers.contract.messages import ConflictCheck, EndpointSpec, Ipv6
from workers.dhcp6.codec import Answer
from workers.dhcp6.effects import Configured, Effect, Granted, Offered, Send, Unconfirmed
from workers.dhcp6.machine import Machine, State
from workers.dhcp6.packet_socket import PacketSocket6
from workers.dhcp6.release import release_message
from workers.dhcp6.router_advertisement import RouterAdvertisement, identifier_of, slaac_lease
from workers.diagnosis import causes
from workers.system.clock import boottime
from workers.system.poll import ready

MAX_DECLINES = 3
MAX_ROUTERS = 4
# The first Router Solicitation goes out at once, these seconds after it the others (RFC 4861 section 10 says 4, 8).
SOLICITATIONS = (0.0, 1.0, 3.0, 7.0, 15.0)
REMEMBERED_SECONDS = 1.0  # for a router to advertise the prefix of a remembered SLAAC address
CONFIGURATION_SECONDS = 1.0  # for a server's name servers, if the address comes from SLAAC


@dataclass(frozen=True, slots=True)
class Acquired:
    """A lease; `confirmed` by a server or a router just now, or else a remembered one.

    `router` is the best of the routers that were heard. `probe` goes on hearing claims of the address; the caller ends
    it by `forget`.
    """

    lease: Lease6
    confirmed: bool
    router: RouterAdvertisement | None
    probe: AddressProbe


def machine_for(spec: EndpointSpec, now: float) -> Machine:
    """The client of this endpoint; it asks for a remembered lease of a server that still runs first."""
    machine = Machine(spec.client_identity, spec.requested6)
    remembered = spec.remembered6
    if remembered is not None and not remembered.slaac and remembered.runs(now):
        machine.reboot(remembered)
    return machine


class Exchange:
    """One endpoint's search for an IPv6 address on its link, from `now` on.

    Wait for `sources` until `next_at`, call `step`, and look at `acquired`. Leases that a server may have granted
    besides are in `machine.unreleased`. Call `close` if the search ends otherwise.
    """

    def __init__(
        self, spec: EndpointSpec, machine: Machine, packet_socket: PacketSocket6, interface: str, now: float
    ) -> None:
        """Raises OSError."""
        self.machine = machine
        self._spec = spec
        self._interface = interface
        self._identifier = identifier_of(spec.mac) if spec.token is None else int(spec.token)
        self._packet_socket = packet_socket
        self._solicit_at = [now + seconds for seconds in SOLICITATIONS]
        self._solicited = 0
        self._routers: dict[str, RouterAdvertisement] = {}
        self._probe = AddressProbe(spec.mac, enabled=spec.conflict is not ConflictCheck.OFF)
        self._declined: list[str] = []
        self._found: Lease6 | None = None
        self._confirmed = True
        self._settled_at = 0.0
        self._configured_by: float | None = None
        self._over = False
        remembered = spec.remembered6
        kept = remembered is not None and remembered.slaac and remembered.runs(now) and not self._only_dhcp
        self._remembered_at = now + REMEMBERED_SECONDS if kept else None
        # An address of a prefix that no router advertises any more would have neither a subnet nor a way out.
        out = remembered is not None and not (remembered.slaac or remembered.runs(now) or spec.drop_expired)
        self._last = remembered if out else None
        self._last_at = now + spec.last_after
        self._last_owner: str | None = None
        if machine.state is State.REBOOT and machine.lease is not None:
            self._probe.probe(interface, machine.lease.address.ip)

    @property
    def acquired(self) -> Acquired | None:
        """The result, once there is one."""
        if not self._over or self._found is None:
            return None
        router = self._router
        lease = replace(self._found, router=router.source) if router and router.lifetime else self._found
        return Acquired(lease, self._confirmed, router, self._probe)

    @property
    def next_at(self) -> float:
        """The `boottime()` at which to call `step`, even if nothing was heard."""
        if self._found is not None:
            return self._settled_at
        times = [
            *self._solicit_at[:1],
            self._remembered_at,
            self.machine.next_at if self._asks_servers else None,
            self._last_at if self._last is not None else None,
        ]
        return min((t for t in times if t is not None), default=math.inf)

    def sources(self) -> list[int]:
        """The descriptors that are readable when something was heard."""
        return [self._packet_socket.fileno(), *self._probe.sources()]

    def step(self, now: float) -> None:
        """Reads what came and sends what it is time for. Raises NoLease if it is useless to go on, or OSError."""
        for message in self._packet_socket.receive():
            if isinstance(message, Answer):
                self._carry_out(self.machine.receive(message, now), now, message.sender)
            else:
                self._hear_router(message, now)
        if self._found is None:
            self._send_due(now)
        self._judge(now)
        self._over = self._found is not None and now >= self._settled_at

    def release_others(self) -> None:
        """Releases the leases that other servers may have granted although their answers were lost."""
        for lease in self.machine.unreleased.values():
            self._packet_socket.multicast(release_message(lease, self._spec.client_identity))
        self.machine.unreleased.clear()

    def close(self) -> None:
        """Gives the search up."""
        self._probe.forget()

    def failure(self) -> NoLease:
        """The error for the user, if the time is over."""
        reason = self._reason()
        kind = self._servers_kind if self._asks_servers else Failing.NO_ROUTER
        if self._last_owner is not None:
            reason += f"; and the last address, {self._last_owner}"
        return NoLease(reason, kind)

    def _reason(self) -> str:
        seconds, parent = f"{self._spec.lease_timeout:g} s", self._spec.link.parent
        tally = self.machine.tally
        if self._asks_servers:
            awaited = "REPLY" if self.machine.state is State.REQUEST else "ADVERTISE"
            seen = f"{tally.solicits} SOLICIT sent, {tally.advertises} answers"
            return f"no {awaited} on {parent} in {seconds} ({seen}): {self._servers_reason()}"
        seen = f"{self._solicited} router solicitations sent, {len(self._routers)} routers heard"
        awaited = "router advertisement with a prefix for SLAAC"
        return f"no {awaited} on {parent} in {seconds} ({seen}): {self._routers_reason()}"

    @property
    def _only_dhcp(self) -> bool:
        return self._spec.ipv6 in (Ipv6.DHCP, Ipv6.ONLY)

    @property
    def _asks_servers(self) -> bool:
        """Whether DHCPv6 is in use: with `auto`, if a router says so, or for a lease that was obtained before."""
        if self._spec.ipv6 is Ipv6.AUTO:
            return self.machine.state is not State.INIT or any(r.managed for r in self._routers.values())
        return self._only_dhcp

    @property
    def _router(self) -> RouterAdvertisement | None:
        """The best one (RFC 4191 section 3.1); the first that was heard among equals."""
        return max(self._routers.values(), key=lambda r: (r.lifetime > 0, r.preference), default=None)

    def _send_due(self, now: float) -> None:
        if self._solicit_at and now >= self._solicit_at[0]:
            self._solicit_at.pop(0)
            self._solicited += 1
            self._packet_socket.solicit_router()
        at = self.machine.next_at
        if self._asks_servers and at is not None and now >= at:
            self._carry_out(self.machine.due(now), now)
        remembered = self._spec.remembered6
        if self._remembered_at is not None and now >= self._remembered_at and remembered is not None:
            self._take(remembered, now, confirmed=False)
        if self._last is not None and now >= self._last_at:
            self._resort_to(self._last, now)

    def _resort_to(self, last: Lease6, now: float) -> None:
        """No server has answered, so the last lease is used although it has run out, unless a server has refused."""
        if self.machine.tally.refusals:
            self._last = None
            return
        self.machine.resort_to(last, now)
        self._probe.forget()
        self._take(last, now, confirmed=False)

    def _hear_router(self, advertisement: RouterAdvertisement, now: float) -> None:
        name = str(advertisement.source)
        if name in self._routers or len(self._routers) < MAX_ROUTERS:
            self._routers[name] = advertisement
        self._solicit_at.clear()
        self._remembered_at = None
        if self._found is not None or self._asks_servers or self._only_dhcp:
            return
        lease = slaac_lease(advertisement, self._identifier, now)
        if lease is None:
            return
        if self._spec.ipv6 is Ipv6.AUTO and advertisement.other:
            self._configured_by = now + CONFIGURATION_SECONDS
            self.machine.inform(now)
            self._carry_out(self.machine.due(now), now)
        self._take(lease, now, confirmed=True)

    def _carry_out(self, effects: list[Effect], now: float, sender: str = "") -> None:
        for effect in effects:
            match effect:
                case Send(payload):
                    self._packet_socket.multicast(payload)
                case Offered(address):
                    self._probe.probe(self._interface, address)
                case Granted(lease):
                    self._probe.router = sender
                    self._take(lease, now, confirmed=True)
                case Unconfirmed(lease):
                    self._take(lease, now, confirmed=False)
                case Configured(dns, search) if self._found is not None:
                    self._found = replace(self._found, dns=dns or self._found.dns, search=search or self._found.search)
                    self._configured_by = None
                    self._settle(now)
                case _:
                    pass  # the machine goes on by itself

    def _take(self, lease: Lease6, now: float, *, confirmed: bool) -> None:
        """No machine has claimed the address so far."""
        if self._probe.address != lease.address.ip:
            self._probe.probe(self._interface, lease.address.ip)
        self._found, self._confirmed = lease, confirmed
        self._settle(now)

    def _settle(self, now: float) -> None:
        """With `conflict=wait`, and where the lease has run out, other machines get all of the probe's time."""
        waits = self._spec.conflict is ConflictCheck.WAIT or self._found is self._last
        self._settled_at = max(self._probe.settled_at if waits else now, self._configured_by or now)

    def _judge(self, now: float) -> None:
        """Declines a granted address that another machine has. A router that answers for all sent the Reply, too."""
        lease = self._found
        mac = self._probe.claimant() if lease is not None else None
        if lease is None or mac is None:
            return
        self._probe.forget()
        self._found = None
        if lease is self._last:  # no server has granted it
            self.machine.decline(lease, now)
            self._last, self._last_owner = None, f"{lease.address.ip}, is in use by {mac}"
            return
        self._declined.append(f"{lease.address.ip} by {mac}")
        parent = self._spec.link.parent
        if lease.slaac:
            origin = "MAC address" if self._spec.token is None else "client's identity"
            text = f"{lease.address.ip}, which follows from the {origin}, is in use on {parent} by {mac}"
            raise NoLease(text, Failing.CONFLICT)
        self._carry_out(self.machine.decline(lease, now), now)
        if len(self._declined) >= MAX_DECLINES:
            raise NoLease(
                f"{MAX_DECLINES} addresses in a row that the server offered on {parent} "
                f"are in use already: {', '.join(self._declined)}",
                Failing.CONFLICT,
            )

    @property
    def _servers_kind(self) -> Failing:
        """By the same order as the reason."""
        tally = self.machine.tally
        if tally.refusals:
            return Failing.NAK
        if tally.unusable:
            return Failing.UNUSABLE
        return Failing.NO_ACK if tally.requests else Failing.NO_SERVER

    def _servers_reason(self) -> str:
        tally, router = self.machine.tally, self._router
        if tally.refusals:
            return f"{tally.refusals} requests were refused by the server, last with {tally.last_words}"
        if tally.unusable:
            return tally.unusable
        if tally.requests:
            return f"{tally.requests} REQUEST sent for what was offered, none answered"
        if router is None:
            return self._likely_cause(causes.no_router())
        if router.managed:
            return self._likely_cause(causes.no_dhcpv6(str(router.source)))
        return self._likely_cause(causes.not_managed(str(router.source), has_prefix=self._has_prefix))

    def _routers_reason(self) -> str:
        router = self._router
        if router is None:
            return self._likely_cause(causes.no_router())
        return self._likely_cause(causes.no_prefix(str(router.source), managed=router.managed))

    def _likely_cause(self, seen: Finding) -> str:
        return causes.likely_cause(self._spec.link, ipv6=True, seen=[seen])

    @property
    def _has_prefix(self) -> bool:
        return any(slaac_lease(router, self._identifier, 0.0) for router in self._routers.values())


def find_server(spec: EndpointSpec, packet_socket: PacketSocket6) -> str:
    """The DUID of the first server that answers a question that asks for no address. Raises NoLease, OSError."""
    machine, deadline = machine_for(spec, boottime()), boottime() + spec.lease_timeout
    machine.inform(boottime())
    while (now := boottime()) < deadline:
        due_at = machine.next_at or now
        if now >= due_at:
            for message in (effect for effect in machine.due(now) if isinstance(effect, Send)):
                packet_socket.multicast(message.payload)
        else:
            ready([packet_socket.fileno()], min(due_at, deadline) - now)
        for answer in (message for message in packet_socket.receive() if isinstance(message, Answer)):
            if any(isinstance(effect, Configured) for effect in machine.receive(answer, boottime())):
                return answer.server.hex(":")
    sent, parent = f"{machine.tally.informs} INFORMATION-REQUEST sent", spec.link.parent
    raise NoLease(
        f"no REPLY on {parent} in {spec.lease_timeout:g} s ({sent}): {causes.likely_cause(spec.link, ipv6=True)}"
    )
