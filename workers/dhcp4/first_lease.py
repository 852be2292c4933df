"""Obtains the first lease by the machine on a packet socket, while the link is still in the host's network namespace.

Owns the probe of an offered address, and the error that a user reads when no lease came. It does not use
udhcpc, which closes a packet socket at each step: the kernel makes it wait some 15 ms each time.
"""

from dataclasses import dataclass

from workers.acd.probe import AddressProbe
from workers.contract.errors import Failing, NoLease
from workers.contract.lease import Lease
from workers.contract.link import LinkSpec
from workers.contract.messages import ConflictCheck, EndpointSpec
from workers.dhcp4.machine import (
    MAX_WAIT_SECONDS,
    Effect,
    Granted,
    Machine,
    Offered,
    Send,
    State,
    Tally,
    Unconfirmed,
)
from workers.dhcp4.packet_socket import PacketSocket
from workers.dhcp4.release import release_message
from workers.diagnosis.causes import likely_cause, others_answered
from workers.system.clock import boottime
from workers.system.poll import ready

MAX_DECLINES = 3


@dataclass(frozen=True, slots=True)
class Acquired:
    """A lease; `confirmed` by a server just now, or else a remembered one.

    `probe` goes on hearing claims of the address; the caller ends it by `forget`.
    """

    lease: Lease
    confirmed: bool
    probe: AddressProbe


def machine_for(spec: EndpointSpec) -> Machine:
    """The client of this endpoint; it asks for a remembered lease that still runs first."""
    machine = Machine(spec.mac, spec.client_identity, spec.requested, MAX_WAIT_SECONDS)
    if spec.remembered is not None and spec.remembered.runs(boottime()):
        machine.reboot(spec.remembered)
    return machine


class Exchange:
    """One DISCOVER-OFFER-REQUEST-ACK over the socket, or REQUEST-ACK for a remembered lease (see Acquisition).

    Other leases that a server may have granted are in `machine.unreleased`, also after a failure. All methods raise
    OSError if the link is gone.
    """

    def __init__(self, spec: EndpointSpec, machine: Machine, packet_socket: PacketSocket) -> None:
        self.acquired: Acquired | None = None
        self._spec = spec
        self._machine = machine
        self._packet_socket = packet_socket
        self._probe = AddressProbe(spec.mac, enabled=spec.conflict is not ConflictCheck.OFF)
        self._declined: list[str] = []
        # A granted lease. It counts if no machine claims its address until `_settled_at`.
        self._lease: Lease | None = None
        self._confirmed = True
        self._settled_at = 0.0
        self._last = None if machine.state is State.INIT_REBOOT or spec.drop_expired else spec.remembered
        self._last_at = boottime() + spec.last_after
        self._last_owner: str | None = None
        if machine.state is State.INIT_REBOOT and machine.lease is not None:
            self._probe.probe(spec.container_link, machine.lease.address.ip)

    @property
    def next_at(self) -> float | None:
        """The `boottime()` at which to call `step`."""
        if self._lease is not None:
            return self._settled_at
        times = [self._machine.next_at, self._last_at if self._last is not None else None]
        return min((at for at in times if at is not None), default=None)

    def sources(self) -> list[int]:
        """The descriptors that are readable when there is something to read for `step`."""
        return [self._packet_socket.fileno(), *self._probe.sources()]

    def step(self, now: float) -> None:
        """Reads what has come, and does what is due then. Raises NoLease if it is useless to go on."""
        self._probe.hear()
        for answer in self._packet_socket.receive():
            self._carry_out(self._machine.receive(answer, boottime()), answer.sender)
        if self._lease is None and self._machine.next_at is not None and now >= self._machine.next_at:
            self._carry_out(self._machine.due(now))
        self._judge()
        if self._lease is None and self._last is not None and boottime() >= self._last_at:
            self._resort_to(self._last)
        if self._lease is not None and boottime() >= self._settled_at:
            self.acquired = Acquired(self._lease, self._confirmed, self._probe)

    def release_others(self) -> None:
        """Releases the leases that other servers may have granted although their answers were lost."""
        for lease in self._machine.unreleased.values():
            message = release_message(lease, self._spec.mac, self._spec.client_identity)
            self._packet_socket.broadcast(message)
        self._machine.unreleased.clear()

    def close(self) -> None:
        """Ends the probe of a lease that is not wanted."""
        self._probe.forget()

    def _resort_to(self, last: Lease) -> None:
        """No server has answered, so the last lease is used although it has run out, unless a server has refused."""
        if self._machine.tally.naks:
            self._last = None
            return
        self._machine.resort_to(last, boottime())
        self._probe.forget()
        self._take(last, confirmed=False)

    def _judge(self) -> None:
        """Declines an address that another machine has. In REBOOTING it waits: the router may answer for all others."""
        lease = self._machine.candidate
        mac = self._probe.claimant() if lease is not None else None
        if lease is None or mac is None:
            return
        self._probe.forget()
        self._lease = None
        declination = self._machine.decline(lease, mac, boottime())
        if lease is self._last:  # no server has granted it
            self._last, self._last_owner = None, f"{lease.address.ip}, is in use by {mac}"
            return
        self._carry_out(declination)
        self._declined.append(f"{lease.address.ip} by {mac}")
        if len(self._declined) >= MAX_DECLINES:
            raise NoLease(
                f"{MAX_DECLINES} addresses in a row that the server offered on {self._spec.link.parent} "
                f"are in use already: {', '.join(self._declined)}",
                Failing.CONFLICT,
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
        """No machine has claimed the address so far. With `conflict=wait` others get all of the probe's time, and they
        get it where the lease has run out, as a server may have given the address to one of them."""
        unasked = self._probe.address != lease.address.ip
        if unasked:
            self._probe.probe(self._spec.container_link, lease.address.ip)
        sure = unasked or lease is self._last or self._spec.conflict is ConflictCheck.WAIT
        self._lease, self._confirmed = lease, confirmed
        self._settled_at = self._probe.settled_at if sure else boottime()
        self._judge()

    def failure(self) -> NoLease:
        """The reason why there is no lease when the time is up."""
        error = no_lease(self._spec, self._machine)
        if self._last_owner is None:
            return error
        return NoLease(f"{error}; and the last address, {self._last_owner}", error.kind)


def find_server(spec: EndpointSpec, packet_socket: PacketSocket) -> str:
    """The first server that offers a lease, for which this client does not ask. Raises NoLease, OSError."""
    machine, deadline = machine_for(spec), boottime() + spec.lease_timeout
    while (now := boottime()) < deadline:
        due_at = machine.next_at or now
        if now >= due_at:
            for message in (effect for effect in machine.due(now) if isinstance(effect, Send)):
                packet_socket.broadcast(message.payload)
        else:
            ready([packet_socket.fileno()], min(due_at, deadline) - now)
        for answer in packet_socket.receive():
            offered = any(isinstance(effect, Offered) for effect in machine.receive(answer, boottime()))
            if offered and machine.candidate is not None:
                return machine.candidate.source
    raise no_lease(spec, machine)


def no_lease(spec: EndpointSpec, machine: Machine) -> NoLease:
    """The error of a budget that has run out."""
    tally = machine.tally
    awaited = "DHCPACK" if machine.state is State.REQUESTING else "DHCPOFFER"
    seen = f"{tally.discovers} DISCOVER sent, {tally.offers} answers"
    what = f"no {awaited} on {spec.link.parent} in {spec.lease_timeout:g} s ({seen})"
    return NoLease(f"{what}: {_reason(tally, spec.link)}", _kind(tally))


def _kind(tally: Tally) -> Failing:
    """By the same order as the reason."""
    if tally.naks:
        return Failing.NAK
    if tally.unusable:
        return Failing.UNUSABLE
    if tally.requests:
        return Failing.NO_ACK
    return Failing.NO_OFFER if tally.others else Failing.NO_SERVER


def _reason(tally: Tally, link: LinkSpec) -> str:
    if tally.naks:
        return f"{tally.naks} requests were refused by the server, last with {tally.last_words!r}"
    if tally.unusable:
        return tally.unusable
    if tally.requests:
        return f"{tally.requests} REQUEST sent for what was offered, none answered"
    others = [others_answered(tally.others, tally.other_server)] if tally.others else []
    return likely_cause(link, seen=others)
