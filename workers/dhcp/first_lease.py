"""One family's way to its first lease: drives the machine over a packet socket, and probes for what servers offer.

Owns the probe, and the order of the reasons why no lease came. It does not wait: its caller, which may obtain a lease
of the other family at the same time, has the only waiting place and the budget.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, Protocol

from msgspec import Struct

from workers.acd.probe import AddressProbe
from workers.contract.errors import Failing, NoLease
from workers.contract.messages import ConflictCheck, EndpointSpec
from workers.dhcp.effects import Configured, Effect, Granted, L, Offered, Send, Unconfirmed
from workers.dhcp.machine import A, LeaseMachine
from workers.system.clock import boottime
from workers.system.poll import ready

MAX_DECLINES = 3


class Sender(Protocol):
    """A packet socket. Both methods raise OSError if the link is gone."""

    def fileno(self) -> int:
        """The descriptor."""

    def send(self, payload: bytes) -> None:
        """Sends a message to all servers."""


class Acquired(Struct, Generic[L], frozen=True):
    """A lease; `confirmed` by a server or a router just now, or else a remembered one.

    `probe` goes on hearing claims of the address; the caller ends it by `forget`.
    """

    lease: L
    confirmed: bool
    probe: AddressProbe


@dataclass(init=False, eq=False)
class Exchange(ABC, Generic[L, A]):
    """The search for one lease on one link, from `now` on.

    Wait for `sources` until `next_at`, call `step`, and look at `acquired`. Leases that a server may have granted
    besides are in `machine.unreleased`, also after a failure. Call `close` if the search ends otherwise. All methods
    raise OSError if the link is gone.
    """

    machine: LeaseMachine[L, A]
    packet_socket: Sender
    _spec: EndpointSpec
    _interface: str
    _probe: AddressProbe
    _declined: list[str]
    _last: L | None
    _last_at: float
    _last_owner: str | None = None
    # A granted lease. It counts if no machine claims its address until `_settled_at`.
    _lease: L | None = None
    _confirmed: bool = True
    _settled_at: float = 0.0
    acquired: Acquired[L] | None = None

    def __init__(
        self,
        spec: EndpointSpec,
        machine: LeaseMachine[L, A],
        packet_socket: Sender,
        *,
        interface: str,
        remembered: L | None,
        now: float,
    ) -> None:
        self.machine = machine
        self._spec = spec
        self._interface = interface
        self.packet_socket = packet_socket
        self._probe = AddressProbe(spec.mac, enabled=spec.conflict is not ConflictCheck.OFF)
        self._declined = []
        self._last = None if spec.drop_expired or machine.remembered is not None else remembered
        self._last_at = now + spec.last_after
        if machine.remembered is not None:
            self._probe.probe(interface, machine.remembered.address.ip)

    @property
    def next_at(self) -> float | None:
        """The `boottime()` at which to call `step`, even if nothing was heard."""
        if self._lease is not None:
            return self._settled_at
        times = (*self._times(), self._last_at if self._last is not None else None)
        return min((at for at in times if at is not None), default=None)

    def sources(self) -> list[int]:
        """The descriptors that are readable when something was heard."""
        return [self.packet_socket.fileno(), *self._probe.sources()]

    def step(self, now: float) -> None:
        """Reads what has come, and does what is due then. Raises NoLease if it is useless to go on."""
        self._probe.hear()
        for answer in self._answers(now):
            self._carry_out(self.machine.receive(answer, now), now, answer.sender)
        if self._lease is None:
            self._send_due(now)
        self._judge(now)
        if self._lease is None and self._last is not None and now >= self._last_at:
            self._resort_to(self._last, now)
        if self._lease is not None and now >= self._settled_at:
            self.acquired = Acquired(self._lease, self._confirmed, self._probe)

    def find_server(self, wanted: type) -> A:
        """The first answer by which the machine does what is `wanted`, while nobody else waits. Raises NoLease."""
        deadline = boottime() + self._spec.lease_timeout
        while (now := boottime()) < deadline:
            due_at = self.machine.next_at or now
            if now >= due_at:
                self._carry_out((effect for effect in self.machine.due(now) if isinstance(effect, Send)), now)
            else:
                ready([self.packet_socket.fileno()], min(due_at, deadline) - now)
            for answer in self._answers(now):
                if any(isinstance(effect, wanted) for effect in self.machine.receive(answer, boottime())):
                    return answer
        raise self.failure()

    def release_others(self) -> None:
        """Releases the leases that other servers may have granted although their answers were lost."""
        for lease in self.machine.unreleased:
            self.packet_socket.send(self._release_message(lease))
        self.machine.unreleased.clear()

    def close(self) -> None:
        """Ends the search. The machine learns what servers have granted until now, so that it can be given back."""
        for _ in range(2):  # the socket of a link that is gone tells that first, and then what had come before
            with suppress(OSError):
                for answer in self._answers(boottime()):
                    self.machine.receive(answer, boottime())
        self._probe.forget()

    def failure(self) -> NoLease:
        """The reason why there is no lease when the time is up."""
        what, kind = self._failure()
        last = f"; and the last address, {self._last_owner}" if self._last_owner is not None else ""
        return NoLease(f"no {what}{last}", kind)

    def _servers_failure(self) -> tuple[str, Failing]:
        """Why servers gave none, as the messages tell."""
        tally = self.machine.tally
        if tally.refusals:
            return f"{tally.refusals} requests were refused by the server, last with {self._last_words}", Failing.NAK
        if tally.unusable:
            return tally.unusable, Failing.UNUSABLE
        if tally.requests:
            return f"{tally.requests} REQUEST sent for what was offered, none answered", Failing.NO_ACK
        return self._no_offer(), Failing.NO_OFFER if tally.others else Failing.NO_SERVER

    def _send_due(self, now: float) -> None:
        if self.machine.next_at is not None and now >= self.machine.next_at:
            self._carry_out(self.machine.due(now), now)

    def _carry_out(self, effects: Iterable[Effect[L]], now: float, sender: str = "") -> None:
        for effect in effects:
            match effect:
                case Send(payload):
                    self.packet_socket.send(payload)
                case Offered(address):
                    self._probe.probe(self._interface, address)
                    self._probe.router = sender
                case Granted(lease):
                    self._probe.router = sender
                    self._take(lease, now, confirmed=True)
                case Unconfirmed(lease):
                    self._take(lease, now, confirmed=False)
                case Configured():
                    self._configure(effect, now)
                case _:
                    pass  # the machine goes on by itself

    def _take(self, lease: L, now: float, *, confirmed: bool) -> None:
        """No machine has claimed the address so far."""
        unasked = self._probe.address != lease.address.ip
        if unasked:
            self._probe.probe(self._interface, lease.address.ip)
        self._lease, self._confirmed = lease, confirmed
        self._settle(now, unasked=unasked)
        self._judge(now)

    def _settle(self, now: float, *, unasked: bool) -> None:
        """With `conflict=wait` others get all of the probe's time, and they get it where the lease has run out, as a
        server may have given the address to one of them."""
        sure = unasked or self._lease == self._last or self._spec.conflict is ConflictCheck.WAIT
        self._settled_at = self._probe.settled_at if sure else now

    def _resort_to(self, last: L, now: float) -> None:
        """No server has answered, so the last lease is used although it has run out, unless a server has refused."""
        if self.machine.tally.refusals:
            self._last = None
            return
        self.machine.resort_to(last, now)
        self._probe.forget()
        self._take(last, now, confirmed=False)

    def _judge(self, now: float) -> None:
        """Declines an address that another machine has. A router that answers for all sent the grant, too."""
        lease = self._claimable
        mac = self._probe.claimant() if lease is not None else None
        if lease is None or mac is None:
            return
        self._probe.forget()
        self._lease = None
        self._check_declinable(lease, mac)
        declination = self.machine.decline(lease, mac, now)
        if lease == self._last:  # no server has granted it
            self._last, self._last_owner = None, f"{lease.address.ip}, is in use by {mac}"
            return
        self._carry_out(declination, now)
        self._declined.append(f"{lease.address.ip} by {mac}")
        if len(self._declined) >= MAX_DECLINES:
            raise NoLease(
                f"{MAX_DECLINES} addresses in a row that the server offered on {self._spec.link.parent} "
                f"are in use already: {', '.join(self._declined)}",
                Failing.CONFLICT,
            )

    @abstractmethod
    def _answers(self, now: float) -> Iterable[A]:
        """Those that have come."""

    @abstractmethod
    def _times(self) -> Iterable[float | None]:
        """The `boottime()`s at which something is due while there is no lease."""

    @property
    def _claimable(self) -> L | None:
        """The lease whose address is not ours yet if another machine has it."""
        return self._lease

    def _check_declinable(self, lease: L, mac: str) -> None:
        """Raises NoLease if there is no other address instead of this one, which `mac` has."""

    @property
    def _last_words(self) -> str:
        """The server's, of its last refusal."""
        return self.machine.tally.last_words

    @abstractmethod
    def _failure(self) -> tuple[str, Failing]:
        """What did not come, and why."""

    @abstractmethod
    def _no_offer(self) -> str:
        """Why no server has offered anything."""

    def _configure(self, configured: Configured, now: float) -> None:
        """A server has told what goes with an address that comes from elsewhere."""

    @abstractmethod
    def _release_message(self, lease: L) -> bytes: ...
