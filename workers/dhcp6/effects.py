"""What the machine has done or found out: the messages to send, and what becomes of the lease."""

from dataclasses import dataclass
from ipaddress import IPv6Address

from workers.contract.lease import Lease6


@dataclass(frozen=True, slots=True)
class Send:
    """Send this message to all servers."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Offered:
    """A server has offered this address, and the machine asks for it next."""

    address: IPv6Address


@dataclass(frozen=True, slots=True)
class Granted:
    """A Reply with a lease; `fresh`: it answers a Solicit's exchange, not a renewal."""

    lease: Lease6
    fresh: bool


@dataclass(frozen=True, slots=True)
class Unconfirmed:
    """No server has answered about a remembered lease, which still runs."""

    lease: Lease6


@dataclass(frozen=True, slots=True)
class Configured:
    """A Reply with configuration only, which is asked for again after `refresh` seconds; None for never."""

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
    """No server has answered several Solicits; more follow."""


Effect = Send | Offered | Granted | Unconfirmed | Configured | Refused | Unusable | Unanswered
