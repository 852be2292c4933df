"""What a client's machine has done or found out: the messages to send, and what becomes of the lease."""

from ipaddress import IPv4Address, IPv6Address
from typing import Generic, TypeVar

from msgspec import Struct

from workers.contract.lease import Address, AnyLease

L = TypeVar("L", bound=AnyLease)


class Send(Struct, frozen=True):
    """Send this message to all servers. Only IPv4 has a `source`, and `to`, the only server that gets it."""

    payload: bytes
    source: IPv4Address | None = None
    to: IPv4Address | None = None


class Offered(Struct, frozen=True):
    """A server has offered this address, and the machine asks for it next."""

    address: Address


class Granted(Struct, Generic[L], frozen=True):
    """A server grants this lease; `fresh`: after an exchange that began with a search, not by a renewal."""

    lease: L
    fresh: bool


class Unconfirmed(Struct, Generic[L], frozen=True):
    """No server has answered about a remembered lease, which still runs."""

    lease: L


class Configured(Struct, frozen=True):
    """A DHCPv6 Reply with configuration only, which is asked for again after `refresh` seconds; None for never."""

    dns: tuple[IPv6Address, ...]
    search: tuple[str, ...]
    refresh: int | None


class Refused(Struct, frozen=True):
    """A server has refused or ended the lease, with these words."""

    words: str


class Unusable(Struct, frozen=True):
    """An answer that grants nothing."""

    reason: str


class Unanswered(Struct, frozen=True):
    """No server has answered several searches; more follow."""


Effect = Send | Offered | Granted[L] | Unconfirmed[L] | Configured | Refused | Unusable | Unanswered
