"""The DHCPv4 client of RFC 2131 section 4.4, figure 5, as a table: which state follows which signal, and what is done.

    INIT-REBOOT ─► REBOOTING ──ACK or silence──────────┐
                       │ NAK                           ▼
                     INIT ─► SELECTING ─OFFER─► REQUESTING ─ACK─► BOUND ─T1─► RENEWING ─T2─► REBINDING
                       ▲ NAK, silence, DECLINE ──────┴──────────────┴────────────┴── NAK, expiry ──┘

Pure: it is told the time (`boottime()`) and what came, and says what is to be sent, and when it wants to be called
again. It serves the first lease, the takeover after a crash and, with client=native, the container's whole life.
Must not know sockets, links or who else has an address.
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
MAX_WAIT_SECONDS = 4.0  # where Docker waits for a first lease
PATIENT_WAIT_SECONDS = 16.0  # where nobody waits; RFC 2131 says 64, a server that returns is to be found sooner
JITTER = 0.25  # of each wait, to either side
FUZZ = 0.02  # of the time between T1 and T2, by which T1 is late: clients that started together drift apart
DISCOVER_ROUND = 3  # unanswered ones, until that is told
REQUEST_TRIES = 3  # then another server's OFFER is asked for
REBOOT_WAIT_SECONDS = 0.5
REBOOT_TRIES = 2
REFUSED_PAUSE_SECONDS = 1.0  # a server that goes on refusing must not be asked as fast as it answers
UNUSABLE_PAUSE_SECONDS = 5.0  # after an answer to a renewal that grants nothing
RENEW_FLOOR_SECONDS = 60.0  # RFC 2131 section 4.4.5; a lease too short for that is asked for in quarters
TAKEOVER_WAIT_SECONDS = 10.0  # a lease whose keeper died is confirmed soon after a silent server is back
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
    """What a state may be left for."""

    DUE = "due"  # the time to send, once more or for the first time
    GIVE_UP = "give up"  # every try has gone unanswered
    T1 = "T1"
    T2 = "T2"
    EXPIRY = "expiry"
    OFFER = "OFFER"
    ACK = "ACK"
    NAK = "NAK"


@dataclass(frozen=True, slots=True)
class Send:
    """A message is to be sent; without `source` no address may be used yet, and it goes to everyone."""

    payload: bytes
    source: IPv4Address | None = None
    to: IPv4Address | None = None


@dataclass(frozen=True, slots=True)
class Offered:
    """A server has offered this address, which is about to be asked for."""

    address: IPv4Address


@dataclass(frozen=True, slots=True)
class Granted:
    """A DHCPACK; `fresh`: of a DISCOVER, and not of a renewal."""

    lease: Lease
    fresh: bool


@dataclass(frozen=True, slots=True)
class Unconfirmed:
    """No server has answered for a remembered lease, which still runs."""

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
    """What went over the wire for a first lease; `unusable` says why the last useless answer was one."""

    discovers: int = 0
    offers: int = 0
    requests: int = 0
    naks: int = 0
    last_words: str = ""
    unusable: str = ""


@dataclass(slots=True)
class Machine:
    """One client on one link. Without a lease it begins in INIT; see `reboot` and `hold` for the other beginnings.

    `unreleased` are the leases that a server may have granted without our having heard of it. `remembered` is the lease
    of INIT-REBOOT, for as long as it may still be ours and is not the one that is held.
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
        """The lease that has been granted, or offered and asked for."""
        return self._offer if self.state is State.REQUESTING else self.lease if self.state is State.BOUND else None

    def reboot(self, lease: Lease) -> None:
        """Begins in INIT-REBOOT: `lease` is remembered."""
        self.state, self.lease, self.remembered = State.INIT_REBOOT, lease, lease

    def hold(self, lease: Lease, now: float, *, confirm: bool) -> None:
        """Begins in BOUND: `lease` is held; with `confirm` the server is asked about it at once."""
        self._bind(lease, now)
        if confirm:
            self._confirmed, self.next_at = False, now

    def due(self, now: float) -> list[Effect]:
        """To be called at `next_at`."""
        return self._take(self._signal(now), now, None)

    def receive(self, answer: Answer, now: float) -> list[Effect]:
        """What has come from a server, whichever and to whomever."""
        signal = Signal[answer.kind.name]
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
        """`mac` has the address of `lease`, which is not in use yet: another one is asked for."""
        self.unreleased.pop((lease.server, lease.address.ip), None)
        self._restart(now)
        if self.remembered is not None and self.remembered.address.ip == lease.address.ip:
            self.remembered = None
        return [Send(declination(lease, self.mac, self.identity, mac))]

    def _signal(self, now: float) -> Signal:
        """What it is time for."""
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
        """What the table says; `lease` is what was offered or granted."""
        following, act = TABLE[self.state, signal]
        if following is not self.state:
            self._tries = 0
        before, self.state = self.state, following
        return act(self, now, lease, before)

    def _counts(self, answer: Answer) -> bool:
        """A NAK only of the server that has granted or offered what is asked for; an ACK of an offer as well."""
        held = self._offer if self.state is State.REQUESTING else self.lease
        if answer.kind is Kind.NAK or self.state is State.REQUESTING:
            return held is not None and held.server in (None, answer.server)
        return True

    def _usable(self, answer: Answer) -> Lease:
        """What an OFFER or an ACK grants, from the moment on in which it was asked for (section 4.4.1)."""
        if answer.server is None and answer.kind is Kind.OFFER:
            raise InvalidLease("what was offered names no server (option 54)")
        return parse_lease(answer.values, self._asked)

    def _skip(self, reason: str, now: float) -> list[Effect]:
        """Like no answer; but while renewing the server is soon asked again."""
        self.tally.unusable = reason
        if self.state in (State.RENEWING, State.REBINDING) and self.next_at is not None:
            self.next_at = min(self.next_at, now + UNUSABLE_PAUSE_SECONDS)
        return [Unusable(reason)]

    # What the table calls: each is told the time, what was offered or granted, and the state before.

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
        """To no server in particular (section 4.3.2)."""
        assert self.lease is not None
        if before is State.INIT_REBOOT:
            self._xid, self._asked, self._begun = random.getrandbits(32), now, now
        self._secs = int(now - self._begun)
        self._tries += 1
        self.next_at = now + REBOOT_WAIT_SECONDS
        return [self._message(MessageType.REQUEST, self.lease.address.ip)]

    def _trust(self, now: float, _: Lease | None, __: State) -> list[Effect]:
        """What is remembered may be used without an answer (section 3.2)."""
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
        """The server that was asked has decided about what was asked for."""
        if asked is State.REQUESTING and self._offer is not None:
            self.unreleased.pop((self._offer.server, self._offer.address.ip), None)
        elif asked is State.REBOOTING:
            self.remembered = None

    def _give_up_offer(self, now: float, _: Lease | None, __: State) -> list[Effect]:
        self._restart(now)
        return []

    def _lose(self, now: float, _: Lease | None, __: State) -> list[Effect]:
        """The lease has run out: its address is asked for anew."""
        assert self.lease is not None
        self._restart(now, self.lease.address.ip)
        return []

    def _renew(self, now: float, _: Lease | None, before: State) -> list[Effect]:
        """Each try is a transaction of its own, so that its ACK tells from when on the lease runs."""
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
        """Half of the time that is left to T2 or to the end, a minute at least, and that boundary at the latest."""
        if lease.t1 is None or lease.t2 is None or lease.expires is None:
            return now + RENEW_FLOOR_SECONDS * _jitter()
        begin, end = (lease.t1, lease.t2) if self.state is State.RENEWING else (lease.t2, lease.expires)
        floor = max(min(RENEW_FLOOR_SECONDS, (end - begin) / 4), MIN_WAIT_SECONDS)
        wait = max((end - now) / 2, floor) * _jitter()
        if not self._confirmed:
            wait = min(wait, TAKEOVER_WAIT_SECONDS)
        return min(now + wait, end)

    def _wait(self, now: float) -> None:
        """Each try's answer is awaited for twice as long as the one before."""
        self.next_at = now + min(FIRST_WAIT_SECONDS * 2 ** min(self._tries, 8), self.longest_wait) * _jitter()
        self._tries += 1

    def _bind(self, lease: Lease, now: float) -> None:
        self.state, self.lease, self._confirmed = State.BOUND, lease, True
        self._tries, self._offer, self.requested, self.next_at = 0, None, None, None
        if lease.t1 is not None and lease.t2 is not None:
            self.next_at = max(now, lease.t1 + random.uniform(0, FUZZ) * (lease.t2 - lease.t1))  # noqa: S311  a timer

    def _restart(self, at: float, requested: IPv4Address | None = None) -> None:
        """What was refused or declined is not asked for again."""
        self.state, self.lease, self._offer, self.next_at = State.INIT, None, None, at
        self.requested, self._tries = requested, 0

    def _message(self, kind: MessageType, requested: IPv4Address | None, server: IPv4Address | None = None) -> Send:
        """To everyone, to be answered to everyone: an address that is not on the link cannot be sent to by unicast."""
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
