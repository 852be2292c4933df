"""Obtains the first IPv6 address by the machine and by router advertisements, while the link is still on the host.

Owns the choice between DHCPv6 and SLAAC; the rest is workers.dhcp.first_lease.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from workers.contract.errors import Failing, NoLease
from workers.contract.finding import Finding
from workers.contract.lease import Lease6
from workers.contract.messages import EndpointSpec, Ipv6
from workers.dhcp.effects import Configured
from workers.dhcp.first_lease import Acquired, Exchange
from workers.dhcp6.codec import Answer
from workers.dhcp6.machine import Machine, State
from workers.dhcp6.packet_socket import PacketSocket6
from workers.dhcp6.release import release_message
from workers.dhcp6.router_advertisement import RouterAdvertisement, identifier_of, slaac_lease
from workers.diagnosis import causes
from workers.system.clock import boottime

MAX_ROUTERS = 4
# The first Router Solicitation goes out at once, these seconds after it the others (RFC 4861 section 10 says 4, 8).
SOLICITATIONS = (0.0, 1.0, 3.0, 7.0, 15.0)
REMEMBERED_SECONDS = 1.0  # for a router to advertise the prefix of a remembered SLAAC address
CONFIGURATION_SECONDS = 1.0  # for a server's name servers, if the address comes from SLAAC


def machine_for(spec: EndpointSpec, now: float) -> Machine:
    """The client of this endpoint; it asks for a remembered lease of a server that still runs first."""
    machine = Machine(spec.mac, spec.client_identity, spec.requested6)
    remembered = spec.remembered6
    if remembered is not None and not remembered.slaac and remembered.runs(now):
        machine.reboot(remembered)
    return machine


@dataclass(init=False, eq=False, kw_only=True)
class Exchange6(Exchange[Lease6, Answer]):
    """One endpoint's search for an IPv6 address on its link; `packet_socket` hears routers as well."""

    machine: Machine
    packet_socket: PacketSocket6
    _solicit_at: list[float]
    _routers: dict[str, RouterAdvertisement]
    _remembered_at: float | None
    _solicited: int = 0
    _configured_by: float | None = None

    def __init__(
        self, spec: EndpointSpec, machine: Machine, packet_socket: PacketSocket6, interface: str, now: float
    ) -> None:
        """Raises OSError."""
        remembered = spec.remembered6
        # An address of a prefix that no router advertises any more would have neither a subnet nor a way out.
        of_server = None if remembered is not None and remembered.slaac else remembered
        super().__init__(spec, machine, packet_socket, interface=interface, remembered=of_server, now=now)
        self._solicit_at = [now + seconds for seconds in SOLICITATIONS]
        self._routers = {}
        kept = remembered is not None and remembered.slaac and remembered.runs(now) and not self._only_dhcp
        self._remembered_at = now + REMEMBERED_SECONDS if kept else None

    @property
    def _identifier(self) -> int:
        return identifier_of(self._spec.mac) if self._spec.token is None else int(self._spec.token)

    def step(self, now: float) -> None:
        super().step(now)
        found, router = self.acquired, self._router
        if found is not None and router is not None and router.lifetime:
            self.acquired = Acquired(replace(found.lease, router=router.source), found.confirmed, found.probe)

    def _times(self) -> Iterable[float | None]:
        machine = self.machine.next_at if self._asks_servers else None
        return [*self._solicit_at[:1], self._remembered_at, machine]

    def _answers(self, now: float) -> Iterator[Answer]:
        for message in self.packet_socket.receive():
            if isinstance(message, Answer):
                yield message
            else:
                self._hear_router(message, now)

    def _release_message(self, lease: Lease6) -> bytes:
        return release_message(lease, self._spec.client_identity)

    def _failure(self) -> tuple[str, Failing]:
        tally, where = self.machine.tally, f"on {self._spec.link.parent} in {self._spec.lease_timeout:g} s"
        if self.machine.state is State.INFORM and self._only_dhcp:
            cause = causes.likely_cause(self._spec.link, ipv6=True)
            return f"REPLY {where} ({tally.informs} INFORMATION-REQUEST sent): {cause}", Failing.NO_SERVER
        if self._asks_servers:
            awaited = "REPLY" if self.machine.state is State.REQUEST else "ADVERTISE"
            reason, kind = self._servers_failure()
            return f"{awaited} {where} ({tally.searches} SOLICIT sent, {tally.offers} answers): {reason}", kind
        seen = f"{self._solicited} router solicitations sent, {len(self._routers)} routers heard"
        awaited = "router advertisement with a prefix for SLAAC"
        return f"{awaited} {where} ({seen}): {self._routers_reason()}", Failing.NO_ROUTER

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
            self.packet_socket.solicit_router()
        if self._asks_servers:
            super()._send_due(now)
        remembered = self._spec.remembered6
        if self._remembered_at is not None and now >= self._remembered_at and remembered is not None:
            self._take(remembered, now, confirmed=False)

    def _hear_router(self, advertisement: RouterAdvertisement, now: float) -> None:
        name = str(advertisement.source)
        if name in self._routers or len(self._routers) < MAX_ROUTERS:
            self._routers[name] = advertisement
        self._solicit_at.clear()
        self._remembered_at = None
        if self._lease is not None or self._asks_servers or self._only_dhcp:
            return
        lease = slaac_lease(advertisement, self._identifier, now)
        if lease is None:
            return
        if self._spec.ipv6 is Ipv6.AUTO and advertisement.other:
            self._configured_by = now + CONFIGURATION_SECONDS
            self.machine.inform(now)
            self._carry_out(self.machine.due(now), now)
        self._take(lease, now, confirmed=True)

    def _configure(self, configured: Configured, now: float) -> None:
        if self._lease is not None:
            dns, search = configured.dns or self._lease.dns, configured.search or self._lease.search
            self._lease = replace(self._lease, dns=dns, search=search)
            self._configured_by = None
            self._settle(now)

    def _settle(self, now: float, *, unasked: bool = False) -> None:
        super()._settle(now, unasked=False)
        self._settled_at = max(self._settled_at, self._configured_by or now)

    def _check_declinable(self, lease: Lease6, mac: str) -> None:
        if lease.slaac:
            origin = "MAC address" if self._spec.token is None else "client's identity"
            what = f"{lease.address.ip}, which follows from the {origin}, is in use"
            raise NoLease(f"{what} on {self._spec.link.parent} by {mac}", Failing.CONFLICT)

    def _no_offer(self) -> str:
        router = self._router
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
    now = boottime()
    machine = machine_for(spec, now)
    machine.inform(now)
    return Exchange6(spec, machine, packet_socket, spec.container_link, now).find_server(Configured).server.hex(":")
