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
from dataclasses import dataclass, replace
from enum import StrEnum
from ipaddress import IPv4Address

from workers.contract.client_identity import ClientIdentity
from workers.contract.exchange import Kind
from workers.contract.lease import Lease
from workers.dhcp.effects import Effect as AnyEffect
from workers.dhcp.effects import Granted, Offered, Refused, Send, Unanswered, Unusable
from workers.dhcp.errors import InvalidLease
from workers.dhcp.machine import (
    MIN_WAIT_SECONDS,
    REBOOT_TRIES,
    REBOOT_WAIT_SECONDS,
    REFUSED_PAUSE_SECONDS,
    TAKEOVER_WAIT_SECONDS,
    UNUSABLE_PAUSE_SECONDS,
    LeaseMachine,
)
from workers.dhcp4.codec import Answer, encode
from workers.dhcp4.lease_parser import parse_lease

FIRST_WAIT_SECONDS = 1.0  # RFC 2131 section 4.1 says 4, for whole campuses that boot at once
MAX_WAIT_SECONDS = 4.0  # while Docker waits for a first lease
PATIENT_WAIT_SECONDS = 16.0  # while nothing waits; RFC 2131 says 64, but we want to find a server sooner that returns
JITTER = 0.25  # of each wait, to either side
DISCOVER_ROUND = 3  # unanswered DISCOVERs, until that is reported
REQUEST_TRIES = 3  # then it looks for another server
RENEW_FLOOR_SECONDS = 60.0  # RFC 2131 section 4.4.5; for short leases a quarter of the remaining time

Effect = AnyEffect[Lease]


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


@dataclass
class Machine(LeaseMachine[Lease, Answer]):
    """One client on one link (workers.dhcp.machine)."""

    INIT, BOUND, REBOOT = State.INIT, State.BOUND, State.INIT_REBOOT

    requested: IPv4Address | None = None
    state: State = State.INIT
    longest_wait: float = PATIENT_WAIT_SECONDS
    _secs: int = 0
    _asked: float = 0.0

    @property
    def candidate(self) -> Lease | None:
        """The lease that a server has granted, or offered and we have asked for."""
        return self._asked_for if self.state is State.REQUESTING else self.lease if self.state is State.BOUND else None

    def due(self, now: float) -> list[Effect]:
        return self._take(self._signal(now), now)

    def receive(self, answer: Answer, now: float) -> list[Effect]:
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
        self._discard(lease, now)
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
        held = self._asked_for if self.state is State.REQUESTING else self.lease
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
        self.tally.searches += 1
        self._secs = int(now - self._begun)
        silence: list[Effect] = [Unanswered()] if self._tries == DISCOVER_ROUND else []
        self._wait(now)
        return [*silence, self._message(Kind.DISCOVER, self.requested)]

    def _accept_offer(self, now: float, lease: Lease | None, before: State) -> list[Effect]:
        assert lease is not None
        self._asked, self._asked_for = now, replace(lease, obtained=now)
        self._note(self._asked_for)
        return [Offered(lease.address.ip), *self._request(now, None, before)]

    def _request(self, now: float, _: Lease | None, __: State) -> list[Effect]:
        """`secs` is that of the DISCOVER (section 4.4.1)."""
        assert self._asked_for is not None
        self.tally.requests += 1
        self._wait(now)
        return [self._message(Kind.REQUEST, self._asked_for.address.ip, self._asked_for.server)]

    def _reboot(self, now: float, _: Lease | None, before: State) -> list[Effect]:
        """Asks no server in particular (section 4.3.2)."""
        assert self.lease is not None
        if before is State.INIT_REBOOT:
            self._xid, self._asked, self._begun = random.getrandbits(32), now, now
        self._secs = int(now - self._begun)
        self._tries += 1
        self.next_at = now + REBOOT_WAIT_SECONDS
        return [self._message(Kind.REQUEST, self.lease.address.ip)]

    def _grant(self, now: float, lease: Lease | None, before: State) -> list[Effect]:
        assert lease is not None
        self._decided(before)
        self._bind(lease, now)
        return [Granted(lease, fresh=before is State.REQUESTING)]

    def _refuse(self, now: float, _: Lease | None, before: State) -> list[Effect]:
        self._decided(before)
        self.tally.refusals += before is State.REQUESTING
        self._restart(now + (0 if before is State.REBOOTING else REFUSED_PAUSE_SECONDS))
        return [Refused(self.tally.last_words)]

    def _decided(self, asked: State) -> None:
        """The server has decided about the lease that we asked for."""
        if asked is State.REQUESTING:
            self._settle(self._asked_for)
        elif asked is State.REBOOTING:
            self.remembered = None

    def _give_up_offer(self, now: float, _: Lease | None, __: State) -> list[Effect]:
        self._restart(now)
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
        message = encode(Kind.REQUEST, self._xid, self.mac, self.identity, ciaddr=own, secs=self._secs)
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

    def _message(self, kind: Kind, requested: IPv4Address | None, server: IPv4Address | None = None) -> Send:
        """A message that asks for a broadcast answer: no unicast reaches an address that the link lacks."""
        xid, who, secs = self._xid, self.identity, self._secs
        return Send(encode(kind, xid, self.mac, who, broadcast=True, secs=secs, server=server, requested=requested))


def declination(lease: Lease, mac: str, identity: ClientIdentity, claimant: str) -> bytes:
    """A DHCPDECLINE with the fields of RFC 2131, table 5."""
    xid, words = random.getrandbits(32), f"in use by {claimant}"
    return encode(Kind.DECLINE, xid, mac, identity, requested=lease.address.ip, server=lease.server, words=words)


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
