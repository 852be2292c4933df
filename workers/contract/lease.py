"""The leases of both families as the rest of the plugin sees them: validated, typed, immutable.

Owns the times of a lease, and the precedence between the IPv4 route options (RFC 3442). Must not know where a lease
came from, how it is stored or how it is applied to a link.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface
from typing import ClassVar, Self

Address = IPv4Address | IPv6Address
DEFAULT_DESTINATION = IPv4Network("0.0.0.0/0")
SILENCE_SECONDS = 5.0  # after T2, or half of the time that is left then
T1, T2 = 0.5, 0.875  # of the duration, if the server says nothing else; RFC 2131 section 4.4.5
T1_IPV6, T2_IPV6 = 0.5, 0.8  # of the preferred lifetime; RFC 8415 section 14.2


class Family(StrEnum):
    """The address families. An endpoint has at most one lease of each."""

    IPV4 = "ipv4"
    IPV6 = "ipv6"


@dataclass(frozen=True, slots=True)
class Route:
    """A route of a lease; `next_hop` is None if the destination is on the link itself."""

    destination: IPv4Network
    next_hop: IPv4Address | None = None


class AnyLease(ABC):
    """The part that the leases of both families share.

    `duration` is in seconds, for IPv6 the valid lifetime; None for an infinite lease. `obtained` is the `boottime()`
    from which the lease runs. `renewal` and `rebinding` are the server's T1 and T2 in seconds.
    """

    __slots__ = ()

    T1_SHARE: ClassVar[float]
    T2_SHARE: ClassVar[float]

    address: IPv4Interface | IPv6Interface
    server: IPv4Address | bytes | None
    duration: int | None
    obtained: float
    renewal: int | None
    rebinding: int | None
    dns: tuple[IPv4Address, ...] | tuple[IPv6Address, ...]
    search: tuple[str, ...]

    @property
    def family(self) -> Family:
        return Family(f"ipv{self.address.version}")

    @property
    @abstractmethod
    def source(self) -> str:
        """The server or router that granted it, for messages."""

    @property
    @abstractmethod
    def is_guess(self) -> bool:
        """Whether only the engine has told of the address, and no server of the lease yet."""

    @property
    def search_list(self) -> tuple[str, ...]:
        """The domains in which a name is looked up."""
        return self.search

    @property
    def expires(self) -> float | None:
        """The `boottime()` at which the lease ends; None for an infinite lease."""
        return None if self.duration is None else self.obtained + self.duration

    @property
    def t1(self) -> float | None:
        """The `boottime()` at which the client asks its server to renew it; None for never."""
        return self._at(self.renewal, self.T1_SHARE)

    @property
    def t2(self) -> float | None:
        """The `boottime()` from which the client asks every server; None for never."""
        return self._at(self.rebinding, self.T2_SHARE)

    def _at(self, named: int | None, share: float) -> float | None:
        """The server's time, or this share of the lifetime."""
        lifetime = self._shared
        return None if self.duration is None or lifetime is None else self.obtained + (named or share * lifetime)

    @property
    def _shared(self) -> int | None:
        """The lifetime of which T1 and T2 are shares."""
        return self.duration

    def overdue_at(self, now: float) -> float | None:
        """The `boottime()` from which no answer counts as silence, if none comes from `now` on; None for never."""
        if self.t2 is None or self.expires is None:
            return None
        return max(self.t2, now) + min(SILENCE_SECONDS, (self.expires - self.t2) / 2)

    def renewed(self, at: float) -> Self:
        """The same lease, acknowledged again at `at` (`boottime()`)."""
        return replace(self, obtained=at)  # type: ignore[type-var]  # both families' leases are dataclasses

    def runs(self, now: float) -> bool:
        """Whether the address may still be used at `now` (`boottime()`)."""
        return self.expires is None or now < self.expires


@dataclass(frozen=True, slots=True)
class Lease(AnyLease):
    """The IPv4 lease that one DHCPACK granted.

    An infinite lease has option 51 = 0xffffffff. `classless` holds option 121 (or 249, its private twin), `static`
    option 33, `routers` option 3, `search` option 119.
    """

    T1_SHARE, T2_SHARE = T1, T2

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
    ntp: tuple[IPv4Address, ...] = ()
    search: tuple[str, ...] = ()

    @property
    def source(self) -> str:
        return str(self.server)

    @property
    def is_guess(self) -> bool:
        return self.server is None and self.duration != 0

    @property
    def search_list(self) -> tuple[str, ...]:
        """Option 119; without it the one domain of option 15 (RFC 3397 section 4)."""
        return self.search or ((self.domain,) if self.domain else ())

    def bare(self) -> "Lease":
        """The same lease without a subnet and without routes."""
        address = IPv4Interface(self.address.ip)
        return replace(self, address=address, routers=(), classless=(), static=())

    def with_gateway(self, gateway: IPv4Address | None) -> "Lease":
        """The same lease with this default gateway, or with none, in place of the server's; its routes stay."""
        others = tuple(r for r in self.classless if r.destination != DEFAULT_DESTINATION)
        default = (Route(DEFAULT_DESTINATION, gateway),) if others and gateway is not None else ()
        static = () if self.classless else self.static
        return replace(self, routers=(gateway,) if gateway else (), classless=others + default, static=static)

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


NO_LEASE = Lease(IPv4Interface("0.0.0.0/32"), server=None, duration=0, obtained=0.0)  # before a server has granted one


@dataclass(frozen=True, slots=True)
class Lease6(AnyLease):
    """One IPv6 address: granted by one Reply of a DHCPv6 server, or with `slaac` made from an advertised prefix.

    `address` is a /128. `server` is the server's DUID, empty with `slaac`. `duration` is the valid lifetime and
    `preferred` the preferred one, both in seconds, None for infinite ones. `router` is the link-local address of the
    default router that was heard last.
    """

    T1_SHARE, T2_SHARE = T1_IPV6, T2_IPV6

    address: IPv6Interface
    server: bytes
    duration: int | None
    obtained: float
    preferred: int | None = None
    renewal: int | None = None
    rebinding: int | None = None
    dns: tuple[IPv6Address, ...] = ()
    search: tuple[str, ...] = ()
    router: IPv6Address | None = None
    slaac: bool = False

    @property
    def source(self) -> str:
        """A DUID is an opaque value that users compare with the server's own log."""
        if self.slaac:
            return f"router {self.router}" if self.router else "a router that is no default router"
        return f"server {self.server.hex(':')}"

    @property
    def is_guess(self) -> bool:
        return not self.server and not self.slaac

    @property
    def _shared(self) -> int | None:
        return self.duration if self.preferred is None else self.preferred
