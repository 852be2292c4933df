"""Obtains the first lease by the machine on a packet socket, while the link is still in the host's network namespace.

Owns the budget, the probe of an offered address, and the error that a user reads when no lease came. It does not use
udhcpc, which closes a packet socket at each step: the kernel makes it wait some 15 ms each time.
"""

from dataclasses import dataclass
from multiprocessing.connection import Connection

from workers.acd.probe import AddressProbe
from workers.contract.lease import Lease
from workers.contract.messages import ConflictCheck, EndpointSpec
from workers.dhcp4.machine import (
    MAX_WAIT_SECONDS,
    Effect,
    Granted,
    Machine,
    Offered,
    Send,
    State,
    Unconfirmed,
)
from workers.dhcp4.packet_socket import PacketSocket
from workers.diagnosis.causes import likely_cause
from workers.system.clock import boottime
from workers.system.poll import ready

MAX_DECLINES = 3


class Cancelled(Exception):
    """The supervisor has sent another command, or is gone: it does not want the lease any more."""


class NoLease(Exception):
    """No lease came within the budget; the text says what we sent, what we saw and the likeliest cause."""


@dataclass(frozen=True, slots=True)
class Acquired:
    """A lease; `confirmed` by a server just now, or else remembered and still valid.

    `probe` goes on hearing claims of the address; the caller ends it by `forget`.
    """

    lease: Lease
    confirmed: bool
    probe: AddressProbe


def machine_for(spec: EndpointSpec) -> Machine:
    """The client of this endpoint; it asks for a remembered lease first."""
    machine = Machine(spec.mac, spec.client_identity, spec.requested, MAX_WAIT_SECONDS)
    if spec.remembered is not None and spec.remembered.runs(boottime()):
        machine.reboot(spec.remembered)
    return machine


def acquire(spec: EndpointSpec, machine: Machine, channel: Connection, packet_socket: PacketSocket) -> Acquired:
    """One DISCOVER-OFFER-REQUEST-ACK over the socket, or REQUEST-ACK for a remembered lease.

    Other leases that a server may have granted are in `machine.unreleased`, also after a failure. Raises NoLease,
    Cancelled, or OSError if the link is gone.
    """
    return _Exchange(spec, machine, channel, packet_socket).run()


class _Exchange:
    """`_acquired` is a granted lease. It counts if no machine claims its address until `_settled_at`."""

    def __init__(self, spec: EndpointSpec, machine: Machine, channel: Connection, packet_socket: PacketSocket) -> None:
        self._spec = spec
        self._machine = machine
        self._channel = channel
        self._packet_socket = packet_socket
        self._deadline = boottime() + spec.lease_timeout
        self._probe = AddressProbe(spec.mac, enabled=spec.conflict is not ConflictCheck.OFF)
        self._declined: list[str] = []
        self._acquired: Lease | None = None
        self._confirmed = True
        self._settled_at = 0.0

    def run(self) -> Acquired:
        try:
            return self._run()
        except BaseException:
            self._probe.forget()
            raise

    def _run(self) -> Acquired:
        if self._machine.state is State.INIT_REBOOT and self._machine.lease is not None:
            self._probe.probe(self._spec.container_link, self._machine.lease.address.ip)
        while True:
            now = boottime()
            if self._acquired is not None and now >= self._settled_at:
                return Acquired(self._acquired, self._confirmed, self._probe)
            if now >= self._deadline:
                raise self._failure()
            self._step(now)

    def _step(self, now: float) -> None:
        due_at = self._machine.next_at if self._acquired is None else self._settled_at
        if self._acquired is None and due_at is not None and now >= due_at:
            self._carry_out(self._machine.due(now))
            return
        until = self._deadline if due_at is None else min(due_at, self._deadline)
        told = self._channel.fileno()
        if told in ready([self._packet_socket.fileno(), told, *self._probe.sources()], until - now):
            raise Cancelled
        self._probe.hear()
        for answer in self._packet_socket.receive():
            self._carry_out(self._machine.receive(answer, boottime()), answer.sender)
        self._judge()

    def _judge(self) -> None:
        """Declines an address that another machine has. In REBOOTING it waits: the router may answer for all others."""
        lease = self._machine.candidate
        mac = self._probe.claimant() if lease is not None else None
        if lease is None or mac is None:
            return
        self._probe.forget()
        self._acquired = None
        self._carry_out(self._machine.decline(lease, mac, boottime()))
        self._declined.append(f"{lease.address.ip} by {mac}")
        if len(self._declined) >= MAX_DECLINES:
            raise NoLease(
                f"{MAX_DECLINES} addresses in a row that the server offered on {self._spec.link.parent} "
                f"are in use already: {', '.join(self._declined)}"
            )

    def _carry_out(self, effects: list[Effect], sender: str = "") -> None:
        for effect in effects:
            match effect:
                case Send(payload):
                    self._packet_socket.broadcast(payload)
                case Offered(address):
                    self._probe.probe(self._spec.container_link, address)
                    self._probe.router = sender
                case Granted(lease):
                    self._probe.router = sender
                    self._take(lease, confirmed=True)
                case Unconfirmed(lease):
                    self._take(lease, confirmed=False)
                case _:
                    pass  # the machine goes on by itself

    def _take(self, lease: Lease, *, confirmed: bool) -> None:
        """No machine has claimed the address so far. With `conflict=wait` others get all of the probe's time."""
        unasked = self._probe.address != lease.address.ip
        if unasked:
            self._probe.probe(self._spec.container_link, lease.address.ip)
        sure = unasked or self._spec.conflict is ConflictCheck.WAIT
        self._acquired, self._confirmed = lease, confirmed
        self._settled_at = self._probe.settled_at if sure else boottime()
        self._judge()

    def _failure(self) -> NoLease:
        tally, spec = self._machine.tally, self._spec
        awaited = "DHCPACK" if self._machine.state is State.REQUESTING else "DHCPOFFER"
        seen = f"{tally.discovers} DISCOVER sent, {tally.offers} answers"
        parent = spec.link.parent
        return NoLease(f"no {awaited} on {parent} in {spec.lease_timeout:g} s ({seen}): {self._reason()}")

    def _reason(self) -> str:
        tally = self._machine.tally
        if tally.naks:
            return f"{tally.naks} requests were refused by the server, last with {tally.last_words!r}"
        if tally.unusable:
            return tally.unusable
        if tally.requests:
            return f"{tally.requests} REQUEST sent for what was offered, none answered"
        return likely_cause(self._spec.link.parent)
