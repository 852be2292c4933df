"""The DHCPv6 client of RFC 8415 section 18.2 as a table: each signal leads to a state by an action.

    REBOOT ──GRANT or silence─────────────────────┐
      │ REFUSAL                                   ▼                 ┌─ GRANT ─► BOUND
    INIT ─► SOLICIT ─CHOICE─► REQUEST ─GRANT─► BOUND ─T1─► RENEW ─T2─► REBIND
      ▲         └── GRANT (rapid commit) ────────▲ ▲ └─► CONFIRM ─┘        │
      └──── REFUSAL, silence, Decline, expiry ─────┴────────────────────────┘
    INFORM ─INFORMATION─► INFORMED ─► INFORM, without an address

A server that does not know the lease in RENEW, REBIND or REBOOT (NO_BINDING) is asked for it by a Request.

Pure: it gets the time (`boottime()`) and servers' answers, and returns the messages to send and the time of its next
call. It serves the first lease and the container's whole life. Must not know sockets, links or conflicts.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from ipaddress import IPv6Address

from workers.contract.client_identity import ClientIdentity
from workers.contract.exchange import Kind6
from workers.contract.lease import Address, Lease6
from workers.dhcp.effects import Configured, Granted, Offered, Refused, Send, Unanswered, Unusable
from workers.dhcp.effects import Effect as AnyEffect
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
from workers.dhcp6.codec import Answer, Code, encode
from workers.dhcp6.lease_parser import INFINITE_SECONDS, Refusal, parse_lease

# RFC 8415 section 7.6, except where a comment says otherwise.
RAND = 0.1  # of each wait, to either side
SOLICIT_SECONDS = REQUEST_SECONDS = CONFIRM_SECONDS = INFORM_SECONDS = 1.0
RENEW_SECONDS = REBIND_SECONDS = 10.0
REQUEST_TRIES = 3  # the RFC says 10, which takes minutes; then it asks another server
REQUEST_MAX_SECONDS = 30.0
CONFIRM_MAX_SECONDS = 4.0
CONFIRM_ROUND_SECONDS = 10.0
RENEW_MAX_SECONDS = REBIND_MAX_SECONDS = 600.0
# Without a word of a server the longest wait between two Solicits. The RFC says 3600, for hosts on links without a
# server; here one has been configured, and it shall be found soon when it returns.
SOLICIT_MAX_SECONDS = INFORM_MAX_SECONDS = 120.0
MIN_MAX_RT, MAX_MAX_RT = 60, 86400  # sections 21.24 and 21.25

CHOICE_SECONDS = 0.01  # for other servers' Advertises after the first one; the RFC says a second
BEST_PREFERENCE = 255  # section 18.2.1: it is taken at once
SOLICIT_ROUND = 3  # unanswered Solicits, until that is reported
REFRESH_SECONDS, MIN_REFRESH_SECONDS = 86400, 600  # section 21.23
MAX_OFFERS = 4


class State(StrEnum):
    """Each is named by the message that the client sends in it; REBOOT is a Rebind for a remembered lease."""

    REBOOT = "REBOOT"
    INIT = "INIT"
    SOLICIT = "SOLICIT"
    REQUEST = "REQUEST"
    BOUND = "BOUND"
    RENEW = "RENEW"
    REBIND = "REBIND"
    CONFIRM = "CONFIRM"
    INFORM = "INFORM"
    INFORMED = "INFORMED"


class Signal(StrEnum):
    """The signals by which the machine leaves a state."""

    DUE = "due"  # it is time to send, again or for the first time
    GIVE_UP = "give up"  # no try was answered as hoped
    T1 = "T1"
    T2 = "T2"
    EXPIRY = "expiry"
    CHOICE = "choice"  # the best Advertise is known
    GRANT = "grant"  # a Reply with a lease
    REFUSAL = "refusal"  # a Reply that says that there is none
    NO_BINDING = "no binding"  # a Reply of a server that does not know the lease
    CONFIRMATION = "confirmation"
    INFORMATION = "information"


Outcome = Lease6 | Configured | None  # of an answer


Effect = AnyEffect[Lease6]


@dataclass
class Machine(LeaseMachine[Lease6, Answer]):
    """One client on one link (workers.dhcp.machine); `inform` is one more beginning.

    In REBOOT it sends a Rebind, which any server may answer, and extend the lease. A Confirm would tell neither whether
    the server still has the lease nor for how long.
    """

    INIT, BOUND, REBOOT = State.INIT, State.BOUND, State.REBOOT

    requested: IPv6Address | None = None
    state: State = State.INIT
    _offers: list[tuple[int, Lease6]] = field(default_factory=list)  # with the servers' preferences, the best first
    _sent: float = 0.0
    _wait: float = 0.0
    _solicit_max: float = SOLICIT_MAX_SECONDS
    _inform_max: float = INFORM_MAX_SECONDS
    _doubt: str = ""

    def moved(self, now: float) -> None:
        """The link may be another one now (section 18.2.3): asks by a Confirm whether the address fits."""
        if self.state in (State.BOUND, State.RENEW, State.REBIND):
            self.state, self._tries, self.next_at = State.CONFIRM, 0, now

    def inform(self, now: float) -> None:
        """Begins without an address: asks for configuration only (section 18.2.6)."""
        self.state, self._tries, self.next_at = State.INFORM, 0, now

    def due(self, now: float) -> list[Effect]:
        return self._take(self._signal(now), now, None)

    def receive(self, answer: Answer, now: float) -> list[Effect]:
        if (answer.xid, answer.client) != (self._xid, self.identity.duid):
            return []
        self._take_limits(answer)
        try:
            if answer.kind is Kind6.ADVERTISE:
                return self._hear_offer(answer, now)
            if not self._counts(answer):
                return self._note_stray(answer, now)
            signal, outcome = self._judge(answer, now)
        except (InvalidLease, Refusal) as error:
            return self._skip(str(error), now)
        return [] if signal is None else self._take(signal, now, outcome)

    def decline(self, lease: Lease6, mac: str, now: float) -> list[Effect]:
        self._discard(lease, now)
        return [Send(message_about(Kind6.DECLINE, random.getrandbits(24), lease, self.identity))]

    def _signal(self, now: float) -> Signal:
        """The signal of the time."""
        if self.state is State.SOLICIT and self._offers:
            return Signal.CHOICE
        if self.state is State.REQUEST and self._tries >= REQUEST_TRIES:
            return Signal.CHOICE if self._offers else Signal.GIVE_UP
        if self.state is State.REBOOT and self._tries >= REBOOT_TRIES:
            return Signal.REFUSAL if self._doubt else Signal.GIVE_UP
        if self.lease is not None and self.state in (State.BOUND, State.RENEW, State.REBIND, State.CONFIRM):
            return self._signal_of(self.lease, now)
        return Signal.DUE

    def _signal_of(self, lease: Lease6, now: float) -> Signal:
        """The signal of the time of a lease that we hold."""
        if not lease.runs(now):
            return Signal.EXPIRY
        if self.state is State.CONFIRM:
            over = self._tries and now >= self._begun + CONFIRM_ROUND_SECONDS
            return Signal.GIVE_UP if over else Signal.DUE
        if self.state is State.REBIND:
            return Signal.REFUSAL if self._doubt else Signal.DUE
        if lease.t2 is not None and now >= lease.t2:
            return Signal.T2
        return Signal.T1 if self.state is State.BOUND else Signal.DUE

    def _take(self, signal: Signal, now: float, outcome: Outcome) -> list[Effect]:
        """Does what the table says; `outcome` is what a server's answer brings."""
        following, act = TABLE[self.state, signal]
        if following is not self.state:
            self._tries, self._doubt = 0, ""
        before, self.state = self.state, following
        return act(self, now, outcome, before)

    def _take_limits(self, answer: Answer) -> None:
        """Any answer may change these (section 18.2.9), even one that grants nothing."""
        if answer.sol_max_rt is not None and MIN_MAX_RT <= answer.sol_max_rt <= MAX_MAX_RT:
            self._solicit_max = answer.sol_max_rt
        if answer.inf_max_rt is not None and MIN_MAX_RT <= answer.inf_max_rt <= MAX_MAX_RT:
            self._inform_max = answer.inf_max_rt

    def _counts(self, answer: Answer) -> bool:
        """Whether the Reply may be one to what we have sent last."""
        match self.state:
            case State.SOLICIT:
                return answer.rapid_commit
            case State.REQUEST:
                return self._asked_for is not None and self._asked_for.server == answer.server
            case State.RENEW:
                return self.lease is not None and self.lease.server == answer.server
            case _:
                return self.state in (State.REBIND, State.REBOOT, State.CONFIRM, State.INFORM)

    def _note_stray(self, answer: Answer, now: float) -> list[Effect]:
        """A second server may have committed a lease to our Solicit, after the first one."""
        if self.state is State.BOUND and self.lease is not None and answer.rapid_commit:
            stray = parse_lease(answer, self.identity.iaid, now)
            if stray.server != self.lease.server:
                self._note(replace(stray, dns=(), search=()))
        return []

    def _judge(self, answer: Answer, now: float) -> tuple[Signal | None, Outcome]:
        """What the Reply means; no signal if it means nothing yet. Raises InvalidLease."""
        if self.state is State.INFORM:
            return Signal.INFORMATION, _configured(answer)
        if self.state is State.CONFIRM:
            if answer.status.code in (Code.SUCCESS, Code.NOT_ON_LINK):
                self.tally.last_words = str(answer.status)
                return Signal.REFUSAL if answer.status.code else Signal.CONFIRMATION, None
            raise InvalidLease(str(answer.status))
        try:
            lease = parse_lease(answer, self.identity.iaid, now, self._wanted)
        except Refusal as refusal:
            return self._judge_refusal(answer, refusal), None
        held = self.lease if self.state in (State.REBIND, State.REBOOT) else None
        if held is not None and held.server != lease.server and held.address != lease.address:
            return None, None  # another server may extend the lease that we have, but not replace it
        return Signal.GRANT, lease

    def _judge_refusal(self, answer: Answer, refusal: Refusal) -> Signal | None:
        """In a renewal a server that has no address to give has not ended the lease. Raises what means no refusal."""
        code = refusal.status.code
        without = self.state in (State.REQUEST, State.REBOOT) and code == Code.NO_ADDRS_AVAIL
        if self.state is State.SOLICIT or not (refusal.ended or without or code in (Code.NO_BINDING, Code.NOT_ON_LINK)):
            raise refusal
        self.tally.last_words = str(refusal.status)
        if self.state is State.REQUEST:
            self.tally.refusals += 1
            self._settle(self._asked_for)
            return Signal.CHOICE if self._offers else Signal.REFUSAL
        if self.lease is not None and self.lease.server != answer.server:
            self._doubt = self.tally.last_words
            return None
        return Signal.NO_BINDING if code == Code.NO_BINDING and not refusal.ended else Signal.REFUSAL

    @property
    def _wanted(self) -> tuple[IPv6Address, ...]:
        """The addresses that we would rather have than others."""
        leases = (self._asked_for, self.lease)
        return tuple(a for a in (*(le.address.ip for le in leases if le is not None), self.requested) if a is not None)

    def _hear_offer(self, answer: Answer, now: float) -> list[Effect]:
        """Collects offers for a moment: servers of one LAN answer almost at once, and a container waits."""
        if self.state is not State.SOLICIT:
            return []
        self.tally.offers += 1
        offer = replace(parse_lease(answer, self.identity.iaid, now, self._wanted), dns=(), search=())
        if any(known.server == offer.server for _, known in self._offers):
            return []
        if not self._offers and self.next_at is not None:
            self.next_at = min(self.next_at, now + CHOICE_SECONDS)
        offers = [*self._offers, (answer.preference, offer)]
        self._offers = sorted(offers, key=lambda o: (-o[0], o[1].address.ip not in self._wanted))[:MAX_OFFERS]
        at_once = answer.preference == BEST_PREFERENCE or self._tries > 1  # section 18.2.1
        return self._take(Signal.CHOICE, now, None) if at_once else []

    def _skip(self, reason: str, now: float) -> list[Effect]:
        """Ignores an answer; in a renewal the machine soon asks the server again."""
        self.tally.unusable = reason
        if self.state in (State.RENEW, State.REBIND) and self.next_at is not None:
            self.next_at = min(self.next_at, now + UNUSABLE_PAUSE_SECONDS)
        return [Unusable(reason)]

    # The actions of the table. Each gets the time, the outcome of an answer, and the state before.

    def _solicit(self, now: float, _: Outcome, __: State) -> list[Effect]:
        self.tally.searches += 1
        silence: list[Effect] = [Unanswered()] if self._tries == SOLICIT_ROUND else []
        self._begin(now)
        addresses = () if self.requested is None else (self.requested,)
        self._retry(now, SOLICIT_SECONDS, self._solicit_max)
        return [*silence, self._message(Kind6.SOLICIT, addresses)]

    def _choose(self, now: float, _: Outcome, before: State) -> list[Effect]:
        """Asks the best server for its offer."""
        self._tries, self._asked_for = 0, self._offers.pop(0)[1]
        return [Offered(self._asked_for.address.ip), *self._request(now, None, before)]

    def _ask_again(self, now: float, _: Outcome, before: State) -> list[Effect]:
        """The server does not know our lease: asks for the same address (section 18.2.10.1)."""
        self._decided(before)
        self._asked_for = self.lease
        return self._request(now, None, before)

    def _request(self, now: float, _: Outcome, __: State) -> list[Effect]:
        assert self._asked_for is not None
        self.tally.requests += 1
        self._begin(now)
        if self._asked_for != self.lease:  # our own is released, if at all, with all else that is the container's
            self._note(replace(self._asked_for, dns=(), search=()))
        self._retry(now, REQUEST_SECONDS, REQUEST_MAX_SECONDS)
        return [self._message(Kind6.REQUEST, (self._asked_for.address.ip,), self._asked_for.server)]

    def _reboot(self, now: float, _: Outcome, __: State) -> list[Effect]:
        assert self.lease is not None
        self._begin(now)
        self._tries += 1
        self._sent, self.next_at = now, now + REBOOT_WAIT_SECONDS
        return [self._message(Kind6.REBIND, (self.lease.address.ip,))]

    def _grant(self, now: float, lease: Outcome, before: State) -> list[Effect]:
        assert isinstance(lease, Lease6)
        fresh = self.lease is None
        self._decided(before)
        self._bind(lease, now)
        return [Granted(lease, fresh=fresh)]

    def _refuse(self, now: float, _: Outcome, before: State) -> list[Effect]:
        self._decided(before)
        self._restart(now + (0 if before is State.REBOOT else REFUSED_PAUSE_SECONDS))
        return [Refused(self.tally.last_words)]

    def _decided(self, asked: State) -> None:
        """A server has decided about the lease that we asked for."""
        if asked is State.REQUEST:
            self._settle(self._asked_for)
        elif asked is State.REBOOT:
            self.remembered = None

    def _give_up_offer(self, now: float, _: Outcome, __: State) -> list[Effect]:
        self._restart(now, None if self.lease is None else self.lease.address.ip)
        return []

    def _renew(self, now: float, _: Outcome, __: State) -> list[Effect]:
        """At a short lease the waits are shorter than the RFC's, so that servers are asked more than once."""
        lease = self.lease
        assert lease is not None
        self._begin(now)
        renewing = self.state is State.RENEW
        end = lease.t2 if renewing else lease.expires
        first, longest = (RENEW_SECONDS, RENEW_MAX_SECONDS) if renewing else (REBIND_SECONDS, REBIND_MAX_SECONDS)
        if end is not None:
            first = min(first, max((end - now) / 4, MIN_WAIT_SECONDS))
            longest = longest if self._confirmed else TAKEOVER_WAIT_SECONDS
        self._retry(now, first, longest, end)
        if renewing:
            return [self._message(Kind6.RENEW, (lease.address.ip,), lease.server)]
        return [self._message(Kind6.REBIND, (lease.address.ip,))]

    def _confirm(self, now: float, _: Outcome, __: State) -> list[Effect]:
        assert self.lease is not None
        self._begin(now)
        self._retry(now, CONFIRM_SECONDS, CONFIRM_MAX_SECONDS, self._begun + CONFIRM_ROUND_SECONDS)
        return [self._message(Kind6.CONFIRM, (self.lease.address.ip,))]

    def _keep(self, now: float, _: Outcome, __: State) -> list[Effect]:
        """The address fits, or no server has said otherwise (section 18.2.3)."""
        assert self.lease is not None
        confirmed = self._confirmed
        self._bind(self.lease, now)
        self._confirmed = confirmed
        return []

    def _inform(self, now: float, _: Outcome, __: State) -> list[Effect]:
        self.tally.informs += 1
        self._begin(now)
        self._retry(now, INFORM_SECONDS, self._inform_max)
        return [self._message(Kind6.INFORMATION_REQUEST, None)]

    def _learn(self, now: float, outcome: Outcome, __: State) -> list[Effect]:
        assert isinstance(outcome, Configured)
        self.next_at = None if outcome.refresh is None else now + outcome.refresh
        return [outcome]

    def _begin(self, now: float) -> None:
        """A transaction begins with its first message, and its repetitions belong to it (section 16.1)."""
        if self._tries == 0:
            self._xid, self._begun = random.getrandbits(24), now

    def _retry(self, now: float, first: float, longest: float, end: float | None = None) -> None:
        """The wait of section 15, but not beyond `end`. The first one of a Solicit is not shorter than `first`."""
        least = 0.0 if self.state is State.SOLICIT and self._tries == 0 else -RAND
        jitter = random.uniform(least, RAND)  # noqa: S311  a timer
        wait = first * (1 + jitter) if self._tries == 0 else self._wait * (2 + jitter)
        self._wait = wait if wait <= longest else longest * (1 + jitter)
        self._tries, self._sent = self._tries + 1, now
        self.next_at = now + self._wait if end is None else min(now + self._wait, end)

    def _bind(self, lease: Lease6, now: float) -> None:
        super()._bind(lease, now)
        self._offers = []

    def _restart(self, at: float, requested: Address | None = None) -> None:
        super()._restart(at, requested)
        self._offers, self._doubt = [], ""

    def _message(self, kind: Kind6, addresses: tuple[IPv6Address, ...] | None, server: bytes = b"") -> Send:
        elapsed = self._sent - self._begun
        return Send(encode(kind, self._xid, self.identity, elapsed=elapsed, server=server, addresses=addresses))


def message_about(kind: Kind6, xid: int, lease: Lease6, identity: ClientIdentity, elapsed: float = 0.0) -> bytes:
    """A Decline or a Release of one address (sections 18.2.7 and 18.2.8)."""
    return encode(kind, xid, identity, elapsed=elapsed, server=lease.server, addresses=(lease.address.ip,))


def _configured(answer: Answer) -> Configured:
    """Raises InvalidLease."""
    if answer.status.code != Code.SUCCESS:
        raise InvalidLease(str(answer.status))
    refresh = REFRESH_SECONDS if answer.refresh is None else max(answer.refresh, MIN_REFRESH_SECONDS)
    return Configured(answer.dns, answer.search, None if refresh == INFINITE_SECONDS else refresh)


Action = Callable[[Machine, float, Outcome, State], list[Effect]]

TABLE: Mapping[tuple[State, Signal], tuple[State, Action]] = {
    (State.REBOOT, Signal.DUE): (State.REBOOT, Machine._reboot),
    (State.REBOOT, Signal.GRANT): (State.BOUND, Machine._grant),
    (State.REBOOT, Signal.REFUSAL): (State.INIT, Machine._refuse),
    (State.REBOOT, Signal.NO_BINDING): (State.REQUEST, Machine._ask_again),
    (State.REBOOT, Signal.GIVE_UP): (State.BOUND, Machine._trust),
    (State.INIT, Signal.DUE): (State.SOLICIT, Machine._solicit),
    (State.SOLICIT, Signal.DUE): (State.SOLICIT, Machine._solicit),
    (State.SOLICIT, Signal.CHOICE): (State.REQUEST, Machine._choose),
    (State.SOLICIT, Signal.GRANT): (State.BOUND, Machine._grant),
    (State.REQUEST, Signal.DUE): (State.REQUEST, Machine._request),
    (State.REQUEST, Signal.CHOICE): (State.REQUEST, Machine._choose),
    (State.REQUEST, Signal.GRANT): (State.BOUND, Machine._grant),
    (State.REQUEST, Signal.REFUSAL): (State.INIT, Machine._refuse),
    (State.REQUEST, Signal.GIVE_UP): (State.INIT, Machine._give_up_offer),
    (State.BOUND, Signal.T1): (State.RENEW, Machine._renew),
    (State.BOUND, Signal.T2): (State.REBIND, Machine._renew),
    (State.BOUND, Signal.EXPIRY): (State.INIT, Machine._lose),
    (State.RENEW, Signal.DUE): (State.RENEW, Machine._renew),
    (State.RENEW, Signal.GRANT): (State.BOUND, Machine._grant),
    (State.RENEW, Signal.REFUSAL): (State.INIT, Machine._refuse),
    (State.RENEW, Signal.NO_BINDING): (State.REQUEST, Machine._ask_again),
    (State.RENEW, Signal.T2): (State.REBIND, Machine._renew),
    (State.RENEW, Signal.EXPIRY): (State.INIT, Machine._lose),
    (State.REBIND, Signal.DUE): (State.REBIND, Machine._renew),
    (State.REBIND, Signal.GRANT): (State.BOUND, Machine._grant),
    (State.REBIND, Signal.REFUSAL): (State.INIT, Machine._refuse),
    (State.REBIND, Signal.NO_BINDING): (State.REQUEST, Machine._ask_again),
    (State.REBIND, Signal.EXPIRY): (State.INIT, Machine._lose),
    (State.CONFIRM, Signal.DUE): (State.CONFIRM, Machine._confirm),
    (State.CONFIRM, Signal.CONFIRMATION): (State.BOUND, Machine._keep),
    (State.CONFIRM, Signal.REFUSAL): (State.INIT, Machine._refuse),
    (State.CONFIRM, Signal.GIVE_UP): (State.BOUND, Machine._keep),
    (State.CONFIRM, Signal.EXPIRY): (State.INIT, Machine._lose),
    (State.INFORM, Signal.DUE): (State.INFORM, Machine._inform),
    (State.INFORM, Signal.INFORMATION): (State.INFORMED, Machine._learn),
    (State.INFORMED, Signal.DUE): (State.INFORM, Machine._inform),
}
