"""The part of a client's machine that both RFCs have: the lease, the one that is remembered, and unheard-of ones.

Pure. The states, the table and the messages are the family's.
"""

import random
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar, Generic, Protocol, TypeVar

from msgspec import Struct

from workers.contract.client_identity import ClientIdentity
from workers.contract.lease import Address
from workers.dhcp.effects import Effect, L, Unconfirmed

FUZZ = 0.02  # of the time from T1 to T2 by which T1 is late: clients that started together drift apart
REBOOT_WAIT_SECONDS = 0.5
REBOOT_TRIES = 2
REFUSED_PAUSE_SECONDS = 1.0  # so that a server that always refuses is not asked as fast as it answers
UNUSABLE_PAUSE_SECONDS = 5.0  # after an unusable answer to a renewal
TAKEOVER_WAIT_SECONDS = 10.0  # so that a taken-over lease is confirmed soon after a silent server is back
MIN_WAIT_SECONDS = 1.0
MAX_UNRELEASED = 8  # a server that offers and never grants must not fill our memory


class Heard(Protocol):
    """An answer; `sender` is the MAC that the frame came from."""

    @property
    def sender(self) -> str: ...


A = TypeVar("A", bound=Heard)


class Tally(Struct):
    """The count of messages for a first lease; `unusable` says why the last unusable answer was one.

    `searches` are DISCOVERs or SOLICITs. `others` counts a server's answers to other clients, of which `other_server`
    sent the last one; only IPv4 clients hear those.
    """

    searches: int = 0
    offers: int = 0
    requests: int = 0
    refusals: int = 0
    informs: int = 0
    last_words: str = ""
    unusable: str = ""
    others: int = 0
    other_server: str = ""


@dataclass
class LeaseMachine(ABC, Generic[L, A]):
    """One client on one link, whose MAC address in messages is `mac`. It begins in INIT, or by `reboot` or `hold`.

    A search asks for the address `requested`. `unreleased` are the leases that a server may have granted although we
    did not hear of it. `remembered` is the lease of `reboot` or of `resort_to`, while it may still be ours and no
    server has granted it anew.
    """

    INIT: ClassVar[StrEnum]
    BOUND: ClassVar[StrEnum]
    REBOOT: ClassVar[StrEnum]  # where a remembered lease is asked for

    mac: str
    identity: ClientIdentity
    requested: Address | None = None
    state: StrEnum = field(init=False)  # at first INIT
    lease: L | None = None
    remembered: L | None = None
    next_at: float | None = 0.0
    tally: Tally = field(default_factory=Tally)
    unreleased: list[L] = field(default_factory=list)
    _confirmed: bool = False
    _asked_for: L | None = None
    _xid: int = 0
    _begun: float = 0.0
    _tries: int = 0

    @property
    def granted(self) -> L | None:
        """The lease that a server has granted; not a remembered one that none has confirmed."""
        return self.lease if self.state is self.BOUND and self.lease != self.remembered else None

    @abstractmethod
    def due(self, now: float) -> list[Effect[L]]:
        """Does what the time demands. Call it at `next_at`."""

    @abstractmethod
    def receive(self, answer: A, now: float) -> list[Effect[L]]:
        """Takes an answer, which may be of any server and for any client."""

    @abstractmethod
    def decline(self, lease: L, mac: str, now: float) -> list[Effect[L]]:
        """`mac` has the address of `lease`, which is not in use yet: the machine asks for another one."""

    def reboot(self, lease: L) -> None:
        """Begins with a remembered lease, for which it asks first."""
        self.state, self.lease, self.remembered = self.REBOOT, lease, lease

    def hold(self, lease: L, now: float, *, confirm: bool) -> None:
        """Begins in BOUND: we hold `lease`. With `confirm` the machine asks the server about it at once."""
        self._bind(lease, now)
        if confirm:
            self._confirmed, self.next_at = False, now

    def resort_to(self, lease: L, now: float) -> None:
        """No server has answered in time: ends in BOUND with a lease that has run out, and hears no server any more."""
        self._settle(lease)
        self.remembered = lease
        self._bind(lease, now)

    def _note(self, lease: L) -> None:
        """The server may have granted it."""
        self._settle(lease)
        self.unreleased = [*self.unreleased, lease][-MAX_UNRELEASED:]

    def _settle(self, lease: L | None) -> None:
        """Nothing is open about this lease any more."""
        if lease is not None:
            known = lease.server, lease.address.ip
            self.unreleased = [one for one in self.unreleased if (one.server, one.address.ip) != known]

    def _discard(self, lease: L, now: float) -> None:
        """Another machine has its address."""
        self._settle(lease)
        self._restart(now)
        if self.remembered is not None and self.remembered.address.ip == lease.address.ip:
            self.remembered = None

    def _bind(self, lease: L, now: float) -> None:
        self.state, self.lease, self._confirmed = self.BOUND, lease, True
        self._tries, self._asked_for, self.requested, self.next_at = 0, None, None, None
        if lease.t1 is not None and lease.t2 is not None:
            self.next_at = max(now, lease.t1 + random.uniform(0, FUZZ) * (lease.t2 - lease.t1))  # noqa: S311  a timer

    def _restart(self, at: float, requested: Address | None = None) -> None:
        """Begins anew. Does not ask again for an address that was refused or declined."""
        self.state, self.lease, self._asked_for, self.next_at = self.INIT, None, None, at
        self.requested, self._tries = requested, 0

    # Actions of both tables. Each gets the time, what an answer brings, and the state before.

    def _trust(self, now: float, _: object, __: object) -> list[Effect[L]]:
        """A remembered lease may be used without an answer (RFC 2131 section 3.2)."""
        assert self.lease is not None
        self._bind(self.lease, now)
        return [Unconfirmed(self.lease)]

    def _lose(self, now: float, _: object, __: object) -> list[Effect[L]]:
        """The lease has run out: the machine asks for its address anew."""
        assert self.lease is not None
        self._restart(now, self.lease.address.ip)
        return []
