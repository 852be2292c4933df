"""A DHCP lease as the rest of the plugin sees it: validated, typed, immutable.

Owns the precedence between the route options (RFC 3442). Must not know where a lease came from, how it is stored
or how it is applied to a link.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

DEFAULT_DESTINATION = IPv4Network("0.0.0.0/0")
SILENCE_SECONDS = 5.0  # after T2, or half of the time that is left then
T1, T2 = 0.5, 0.875  # of the duration, if the server says nothing else; RFC 2131 section 4.4.5


class Family(StrEnum):
    """The address families. An endpoint has at most one lease of each."""

    IPV4 = "ipv4"
    IPV6 = "ipv6"


@dataclass(frozen=True, slots=True)
class Route:
    """A route of a lease; `next_hop` is None if the destination is on the link itself."""

    destination: IPv4Network
    next_hop: IPv4Address | None = None


@dataclass(frozen=True, slots=True)
class Lease:
    """The lease that one DHCPACK granted.

    `duration` is in seconds, None for an infinite lease (option 51 = 0xffffffff); `obtained` is the `boottime()` from
    which it runs. `renewal` and `rebinding` are the server's T1 and T2 in seconds. `classless` holds option 121 (or
    249, its private twin), `static` option 33, `routers` option 3.
    """

    address: IPv4Interface
    server: IPv4Address | None
    duration: int | None
    obtained: float
    routers: tuple[IPv4Address, ...] = ()
    classless: tuple[Route, ...] = ()
    static: tuple[Route, ...] = ()
    dns: tuple[IPv4Address, ...] = ()
    domain: str | None = None
    mtu: int | None = None
    renewal: int | None = None
    rebinding: int | None = None

    @property
    def family(self) -> Family:
        """The family of its address."""
        return Family(f"ipv{self.address.version}")

    @property
    def expires(self) -> float | None:
        """The `boottime()` at which the lease ends; None for an infinite lease."""
        return None if self.duration is None else self.obtained + self.duration

    @property
    def t1(self) -> float | None:
        """The `boottime()` at which the client asks its server to renew it; None for an infinite lease."""
        return None if self.duration is None else self.obtained + (self.renewal or T1 * self.duration)

    @property
    def t2(self) -> float | None:
        """The `boottime()` from which the client asks every server; None for an infinite lease."""
        return None if self.duration is None else self.obtained + (self.rebinding or T2 * self.duration)

    def overdue_at(self, now: float) -> float | None:
        """The `boottime()` from which no answer counts as silence, if none comes from `now` on; None for never."""
        if self.t2 is None or self.expires is None:
            return None
        return max(self.t2, now) + min(SILENCE_SECONDS, (self.expires - self.t2) / 2)

    def renewed(self, at: float) -> "Lease":
        """The same lease, acknowledged again at `at` (`boottime()`)."""
        return replace(self, obtained=at)

    def runs(self, now: float) -> bool:
        """Whether the address may still be used at `now` (`boottime()`)."""
        return self.expires is None or now < self.expires

    @property
    def gateway(self) -> IPv4Address | None:
        """The default gateway: a default in option 121 wins over option 3 (RFC 3442); our own address is none."""
        if self.classless:
            candidates = [r.next_hop for r in self.classless if r.destination == DEFAULT_DESTINATION]
        else:
            candidates = list(self.routers)
        return next((c for c in candidates if c is not None and c != self.address.ip), None)

    @property
    def routes(self) -> tuple[Route, ...]:
        """The routes except the default one: option 121 replaces option 33 (RFC 3442)."""
        candidates = self.classless or self.static
        return tuple(r for r in candidates if r.destination != DEFAULT_DESTINATION and r.next_hop != self.address.ip)
