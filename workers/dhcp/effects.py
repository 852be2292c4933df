"""What a client's machine has done or found out: the messages to send, and what becomes of the lease."""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Generic, TypeVar

from workers.contract.lease import Address, AnyLease

L = TypeVar("L", bound=AnyLease)


@dataclass(frozen=True, slots=True)
class Send:
    """Send this message to all servers. Only IPv4 has a `source`, and `to`, the only server that gets it."""

    payload: bytes
    source: IPv4Address | None = None
    to: IPv4Address | None = None


@dataclass(frozen=True, slots=True)
class Offered:
    """A server has offered this address, and the machine asks for it next."""

    address: Address


@dataclass(frozen=True, slots=True)
class Granted(Generic[L]):
    """A server grants this lease; `fresh`: after an exchange that began with a search, not by a renewal."""

    lease: L
    fresh: bool


@dataclass(frozen=True, slots=True)
class Unconfirmed(Generic[L]):
    """No server has answered about a remembered lease, which still runs."""

    lease: L


@dataclass(frozen=True, slots=True)
class Configured:
    """A DHCPv6 Reply with configuration only, which is asked for again after `refresh` seconds; None for never."""

    dns: tuple[IPv6Address, ...]
    search: tuple[str, ...]
    refresh: int | None


@dataclass(frozen=True, slots=True)
class Refused:
    """A server has refused or ended the lease, with these words."""

    words: str


@dataclass(frozen=True, slots=True)
class Unusable:
    """An answer that grants nothing."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unanswered:
    """No server has answered several searches; more follow."""


Effect = Send | Offered | Granted[L] | Unconfirmed[L] | Configured | Refused | Unusable | Unanswered
