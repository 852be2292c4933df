"""The DHCPv4 client of RFC 2131 section 4.4, figure 5, as a table: each signal leads to a state by an action.

    INIT-REBOOT ─► REBOOTING ──ACK or silence──────────┐
                       │ NAK                           ▼
                     INIT ─► SELECTING ─OFFER─► REQUESTING ─ACK─► BOUND ─T1─► RENEWING ─T2─► REBINDING
                       ▲ NAK, silence, DECLINE ──────┴──────────────┴────────────┴── NAK, expiry ──┘

Pure: it gets the time (`boottime()`) and servers' answers, and returns the messages to send and the time of its next
call. It serves the first lease, the takeover after a crash and, with client=native, the container's whole life. Must
not know sockets, links or conflicts.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from ipaddress import IPv4Address

from workers.contract.client_identity import ClientIdentity
from workers.contract.lease import Lease
from workers.dhcp4.codec import Answer, Kind, MessageType, encode
from workers.dhcp4.lease_parser import InvalidLease, parse_lease

FIRST_WAIT_SECONDS = 1.0  # RFC 2131 section 4.1 says 4, for whole campuses that boot at once
MAX_WAIT_SECONDS = 4.0  # while Docker waits for a first lease
PATIENT_WAIT_SECONDS = 16.0  # while nothing waits; RFC 2131 says 64, but we want to find a server sooner that returns
JITTER = 0.25  # of each wait, to either side
FUZZ = 0.02  # of the time from T1 to T2 by which T1 is late: clients that started together drift apart
DISCOVER_ROUND = 3  # unanswered DISCOVERs, until that is reported
REQUEST_TRIES = 3  # then it looks for another server
REBOOT_WAIT_SECONDS = 0.5
REBOOT_TRIES = 2
REFUSED_PAUSE_SECONDS = 1.0  # so that a server that always refuses is not asked as fast as it answers
UNUSABLE_PAUSE_SECONDS = 5.0  # after an unusable answer to a renewal
RENEW_FLOOR_SECONDS = 60.0  # RFC 2131 section 4.4.5; for short leases a quarter of the remaining time
TAKEOVER_WAIT_SECONDS = 10.0  # so that a taken-over lease is confirmed soon after a silent server is back
MIN_WAIT_SECONDS = 1.0
MAX_UNRELEASED = 8  # a server that offers and never grants must not fill our memory


class State(StrEnum):
    """The names of RFC 2131."""

    INIT_REBOOT = "INIT-REBOOT"
    REBOOTING = "REBOOTING"
    INIT = "INIT"
    SELECTING = "SELECTING"
    REQUESTING = "REQUESTING"
    BOUND = "BOUND"
    RENEWING = "RENEWING"
    REBINDING = "REBINDING"


class Signal(StrEnum):
    """The signals by which the machine leaves a state."""

    DUE = "due"  # it is time to send, again or for the first time
    GIVE_UP = "give up"  # no try was answered
    T1 = "T1"
    T2 = "T2"
    EXPIRY = "expiry"
    OFFER = "OFFER"
    ACK = "ACK"
    NAK = "NAK"


@dataclass(frozen=True, slots=True)
class Send:
    """Send this message. Without `source` no address may be used yet, and it goes to everyone."""

    payload: bytes
    source: IPv4Address | None = None
    to: IPv4Address | None = None


@dataclass(frozen=True, slots=True)
class Offered:
    """A server has offered this address, and the machine asks for it next."""

    address: IPv4Address


@dataclass(frozen=True, slots=True)
class Granted:
    """A DHCPACK; `fresh`: it answers a DISCOVER's exchange, not a renewal."""

    lease: Lease
    fresh: bool


@dataclass(frozen=True, slots=True)
class Unconfirmed:
    """No server has answered about a remembered lease, which still runs."""

    lease: Lease


@dataclass(frozen=True, slots=True)
class Refused:
    """A DHCPNAK with the server's words."""

    words: str


@dataclass(frozen=True, slots=True)
class Unusable:
    """An answer that grants nothing."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unanswered:
    """No server has answered several DHCPDISCOVERs; more follow."""


Effect = Send | Offered | Granted | Unconfirmed | Refused | Unusable | Unanswered


@dataclass(slots=True)
class Tally:
    """The count of messages for a first lease; `unusable` says why the last unusable answer was one.

    `others` counts a server's answers to other clients, of which `other_server` sent the last one.
    """

    discovers: int = 0
    offers: int = 0
    requests: int = 0
    naks: int = 0
    last_words: str = ""
    unusable: str = ""
    others: int = 0
    other_server: str = ""


@dataclass(slots=True)
class Machine:
    """One client on one link. Without a lease it begins in INIT; `reboot` and `hold` are the other beginnings.

    `unreleased` are the leases that a server may have granted although we did not hear of it. `remembered` is the lease
    of INIT-REBOOT or of `resort_to`, while it may still be ours and no server has granted it anew.
    """

    mac: str
    identity: ClientIdentity
    requested: IPv4Address | None = None
    longest_wait: float = PATIENT_WAIT_SECONDS
    state: State = State.INIT
    lease: Lease | None = None
    remembered: Lease | None = None
    next_at: float | None = 0.0
    tally: Tally = field(default_factory=Tally)
    unreleased: dict[tuple[IPv4Address | None, IPv4Address], Lease] = field(default_factory=dict)
    _confirmed: bool = False
    _offer: Lease | None = None
    _xid: int = 0
    _begun: float = 0.0
    _secs: int = 0
    _asked: float = 0.0
    _tries: int = 0

    @property
    def candidate(self) -> Lease | None:
        """The lease that a server has granted, or offered and we have asked for."""
        return self._offer if self.state is State.REQUESTING else self.lease if self.state is State.BOUND else None

    @property
    def granted(self) -> Lease | None:
        """The lease that a server has granted; not a remembered one that none has confirmed."""
        return self.lease if self.state is State.BOUND and self.lease is not self.remembered else None

    def reboot(self, lease: Lease) -> None:
        """Begins in INIT-REBOOT with a remembered lease."""
        self.state, self.lease, self.remembered = State.INIT_REBOOT, lease, lease

    def hold(self, lease: Lease, now: float, *, confirm: bool) -> None:
        """Begins in BOUND: we hold `lease`. With `confirm` the machine asks the server about it at once."""
        self._bind(lease, now)
        if confirm:
            self._confirmed, self.next_at = False, now

    def resort_to(self, lease: Lease, now: float) -> None:
        """No server has answered in time: ends in BOUND with a lease that has run out, and hears no server any more."""
        self.unreleased.pop((lease.server, lease.address.ip), None)
        self.remembered = lease
        self._bind(lease, now)

    def due(self, now: float) -> list[Effect]:
        """Does what the time demands. Call it at `next_at`."""
        return self._take(self._signal(now), now, None)

    def receive(self, answer: Answer, now: float) -> list[Effect]:
        """Takes an answer, which may be of any server and for any client."""
        signal = Signal[answer.kind.name]
        if answer.mac != self.mac and signal is not Signal.NAK:
            self.tally.others += 1
            self.tally.other_server = str(answer.server or answer.sender)
        if (answer.xid, answer.mac) != (self._xid, self.mac) or (self.state, signal) not in TABLE:
            return []
        if not self._counts(answer):
            return []
        if signal is Signal.NAK:
            self.tally.last_words = answer.values["message"][:100]
            return self._take(signal, now)
        self.tally.offers += signal is Signal.OFFER
        try:
            return self._take(signal, now, self._usable(answer))
        except InvalidLease as error:
            return self._skip(str(error), now)

    def decline(self, lease: Lease, mac: str, now: float) -> list[Effect]:
        """`mac` has the address of `lease`, which is not in use yet: the machine asks for another one."""
        self.unreleased.pop((lease.server, lease.address.ip), None)
        self._restart(now)
        if self.remembered is not None and self.remembered.address.ip == lease.address.ip:
            self.remembered = None
        return [Send(declination(lease, self.mac, self.identity, mac))]

    def _signal(self, now: float) -> Signal:
        """The signal of the time."""
        if self.state in (State.REBOOTING, State.REQUESTING):
            tries = REBOOT_TRIES if self.state is State.REBOOTING else REQUEST_TRIES
            return Signal.GIVE_UP if self._tries >= tries else Signal.DUE
        if self.lease is None or self.state not in (State.BOUND, State.RENEWING, State.REBINDING):
            return Signal.DUE
        if not self.lease.runs(now):
            return Signal.EXPIRY
        if self.lease.t2 is not None and now >= self.lease.t2 and self.state is not State.REBINDING:
            return Signal.T2
        return Signal.T1 if self.state is State.BOUND else Signal.DUE

    def _take(self, signal: Signal, now: float, lease: Lease | None = None) -> list[Effect]:
        """Does what the table says; `lease` was offered or granted."""
        following, act = TABLE[self.state, signal]
        if following is not self.state:
            self._tries = 0
        before, self.state = self.state, following
        return act(self, now, lease, before)

    def _counts(self, answer: Answer) -> bool:
        """Whether the server may say that. Any may extend the lease that we have; only its own may change or end it."""
        held = self._offer if self.state is State.REQUESTING else self.lease
        if held is None or held.server in (None, answer.server):
            return held is not None or answer.kind is Kind.OFFER
        extends = answer.kind is Kind.ACK and answer.address == held.address.ip
        return answer.kind is Kind.OFFER or (extends and self.state is not State.REQUESTING)

    def _usable(self, answer: Answer) -> Lease:
        """The lease of an OFFER or an ACK. It runs from the moment of our request (section 4.4.1)."""
        if answer.server is None and answer.kind is Kind.OFFER:
            raise InvalidLease("what was offered names no server (option 54)")
        return parse_lease(answer.values, self._asked)

    def _skip(self, reason: str, now: float) -> list[Effect]:
        """Ignores an answer; in a renewal the machine soon asks the server again."""
        self.tally.unusable = reason
        if self.state in (State.RENEWING, State.REBINDING) and self.next_at is not None:
            self.next_at = min(self.next_at, now + UNUSABLE_PAUSE_SECONDS)
        return [Unusable(reason)]

    # The actions of the table. Each gets the time, the lease that was offered or granted, and the state before.

    def _discover(self, now: float, _: Lease | None, before: State) -> list[Effect]:
        if before is State.INIT:
            self._xid, self._begun = random.getrandbits(32), now
        self.tally.discovers += 1
        self._secs = int(now - self._begun)
        silence: list[Effect] = [Unanswered()] if self._tries == DISCOVER_ROUND else []
        self._wait(now)
        return [*silence, self._message(MessageType.DISCOVER, self.requested)]

    def _accept_offer(self, now: float, lease: Lease | None, before: State) -> list[Effect]:
        assert lease is not None
        self._asked, self._offer = now, replace(lease, obtained=now)
        self.unreleased[lease.server, lease.address.ip] = self._offer
        while len(self.unreleased) > MAX_UNRELEASED:
            del self.unreleased[next(iter(self.unreleased))]
        return [Offered(lease.address.ip), *self._request(now, None, before)]

    def _request(self, now: float, _: Lease | None, __: State) -> list[Effect]:
        """`secs` is that of the DISCOVER (section 4.4.1)."""
        assert self._offer is not None
        self.tally.requests += 1
        self._wait(now)
        return [self._message(MessageType.REQUEST, self._offer.address.ip, self._offer.server)]

    def _reboot(self, now: float, _: Lease | None, before: State) -> list[Effect]:
        """Asks no server in particular (section 4.3.2)."""
        assert self.lease is not None
        if before is State.INIT_REBOOT:
            self._xid, self._asked, self._begun = random.getrandbits(32), now, now
        self._secs = int(now - self._begun)
        self._tries += 1
        self.next_at = now + REBOOT_WAIT_SECONDS
        return [self._message(MessageType.REQUEST, self.lease.address.ip)]

    def _trust(self, now: float, _: Lease | None, __: State) -> list[Effect]:
        """A remembered lease may be used without an answer (section 3.2)."""
        assert self.lease is not None
        self._bind(self.lease, now)
        return [Unconfirmed(self.lease)]

    def _grant(self, now: float, lease: Lease | None, before: State) -> list[Effect]:
        assert lease is not None
        self._settle(before)
        self._bind(lease, now)
        return [Granted(lease, fresh=before is State.REQUESTING)]

    def _refuse(self, now: float, _: Lease | None, before: State) -> list[Effect]:
        self._settle(before)
        self.tally.naks += before is State.REQUESTING
        self._restart(now + (0 if before is State.REBOOTING else REFUSED_PAUSE_SECONDS))
        return [Refused(self.tally.last_words)]

    def _settle(self, asked: State) -> None:
        """The server has decided about the lease that we asked for."""
        if asked is State.REQUESTING and self._offer is not None:
            self.unreleased.pop((self._offer.server, self._offer.address.ip), None)
        elif asked is State.REBOOTING:
            self.remembered = None

    def _give_up_offer(self, now: float, _: Lease | None, __: State) -> list[Effect]:
        self._restart(now)
        return []

    def _lose(self, now: float, _: Lease | None, __: State) -> list[Effect]:
        """The lease has run out: the machine asks for its address anew."""
        assert self.lease is not None
        self._restart(now, self.lease.address.ip)
        return []

    def _renew(self, now: float, _: Lease | None, before: State) -> list[Effect]:
        """Each try is a transaction of its own, so that its ACK tells when the lease began."""
        lease = self.lease
        assert lease is not None
        if before is State.BOUND:
            self._begun = now
        self._xid, self._asked, self._secs = random.getrandbits(32), now, int(now - self._begun)
        self.next_at = self._next_renewal(lease, now)
        server = lease.server if self.state is State.RENEWING else None
        own = lease.address.ip
        message = encode(MessageType.REQUEST, self._xid, self.mac, self.identity, ciaddr=own, secs=self._secs)
        return [Send(message, own, server)]

    def _next_renewal(self, lease: Lease, now: float) -> float:
        """After half of the time to T2 or to the end, at least a minute, but not later than that boundary."""
        if lease.t1 is None or lease.t2 is None or lease.expires is None:
            return now + RENEW_FLOOR_SECONDS * _jitter()
        begin, end = (lease.t1, lease.t2) if self.state is State.RENEWING else (lease.t2, lease.expires)
        floor = max(min(RENEW_FLOOR_SECONDS, (end - begin) / 4), MIN_WAIT_SECONDS)
        wait = max((end - now) / 2, floor) * _jitter()
        if not self._confirmed:
            wait = min(wait, TAKEOVER_WAIT_SECONDS)
        return min(now + wait, end)

    def _wait(self, now: float) -> None:
        """Waits twice as long for each answer as for the one before."""
        self.next_at = now + min(FIRST_WAIT_SECONDS * 2 ** min(self._tries, 8), self.longest_wait) * _jitter()
        self._tries += 1

    def _bind(self, lease: Lease, now: float) -> None:
        self.state, self.lease, self._confirmed = State.BOUND, lease, True
        self._tries, self._offer, self.requested, self.next_at = 0, None, None, None
        if lease.t1 is not None and lease.t2 is not None:
            self.next_at = max(now, lease.t1 + random.uniform(0, FUZZ) * (lease.t2 - lease.t1))  # noqa: S311  a timer

    def _restart(self, at: float, requested: IPv4Address | None = None) -> None:
        """Begins anew. Does not ask again for an address that was refused or declined."""
        self.state, self.lease, self._offer, self.next_at = State.INIT, None, None, at
        self.requested, self._tries = requested, 0

    def _message(self, kind: MessageType, requested: IPv4Address | None, server: IPv4Address | None = None) -> Send:
        """A message that asks for a broadcast answer: no unicast reaches an address that the link lacks."""
        xid, who, secs = self._xid, self.identity, self._secs
        return Send(encode(kind, xid, self.mac, who, broadcast=True, secs=secs, server=server, requested=requested))


def declination(lease: Lease, mac: str, identity: ClientIdentity, claimant: str) -> bytes:
    """A DHCPDECLINE with the fields of RFC 2131, table 5."""
    xid, words = random.getrandbits(32), f"in use by {claimant}"
    return encode(MessageType.DECLINE, xid, mac, identity, requested=lease.address.ip, server=lease.server, words=words)


def _jitter() -> float:
    return random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311  a timer


Action = Callable[[Machine, float, Lease | None, State], list[Effect]]

TABLE: Mapping[tuple[State, Signal], tuple[State, Action]] = {
    (State.INIT_REBOOT, Signal.DUE): (State.REBOOTING, Machine._reboot),
    (State.REBOOTING, Signal.DUE): (State.REBOOTING, Machine._reboot),
    (State.REBOOTING, Signal.ACK): (State.BOUND, Machine._grant),
    (State.REBOOTING, Signal.NAK): (State.INIT, Machine._refuse),
    (State.REBOOTING, Signal.GIVE_UP): (State.BOUND, Machine._trust),
    (State.INIT, Signal.DUE): (State.SELECTING, Machine._discover),
    (State.SELECTING, Signal.DUE): (State.SELECTING, Machine._discover),
    (State.SELECTING, Signal.OFFER): (State.REQUESTING, Machine._accept_offer),
    (State.REQUESTING, Signal.DUE): (State.REQUESTING, Machine._request),
    (State.REQUESTING, Signal.ACK): (State.BOUND, Machine._grant),
    (State.REQUESTING, Signal.NAK): (State.INIT, Machine._refuse),
    (State.REQUESTING, Signal.GIVE_UP): (State.INIT, Machine._give_up_offer),
    (State.BOUND, Signal.T1): (State.RENEWING, Machine._renew),
    (State.BOUND, Signal.T2): (State.REBINDING, Machine._renew),
    (State.BOUND, Signal.EXPIRY): (State.INIT, Machine._lose),
    (State.RENEWING, Signal.DUE): (State.RENEWING, Machine._renew),
    (State.RENEWING, Signal.ACK): (State.BOUND, Machine._grant),
    (State.RENEWING, Signal.NAK): (State.INIT, Machine._refuse),
    (State.RENEWING, Signal.T2): (State.REBINDING, Machine._renew),
    (State.RENEWING, Signal.EXPIRY): (State.INIT, Machine._lose),
    (State.REBINDING, Signal.DUE): (State.REBINDING, Machine._renew),
    (State.REBINDING, Signal.ACK): (State.BOUND, Machine._grant),
    (State.REBINDING, Signal.NAK): (State.INIT, Machine._refuse),
    (State.REBINDING, Signal.EXPIRY): (State.INIT, Machine._lose),
}
