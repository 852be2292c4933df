"""The first lease, obtained while the link is still in the host's network namespace (RFC 2131 section 3.1).

    INIT-REBOOT: REQUEST of a remembered lease ─► ACK or silence (done), NAK (SELECTING)
    SELECTING: DISCOVER ... until an OFFER ─► REQUESTING: REQUEST ... until ACK (done) or NAK (SELECTING again)

Owns the budget. udhcpc is not used for it: it closes a packet
socket at each step, and the kernel makes it wait some 15 ms each time.
"""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address
from multiprocessing.connection import Connection

from workers.acd.arp import ArpWatch
from workers.acd.probe import AddressInUse, AddressProbe
from workers.contract.lease import Lease
from workers.contract.messages import ConflictCheck, EndpointSpec
from workers.dhcp4.codec import Answer, Kind, MessageType, encode
from workers.dhcp4.lease_parser import InvalidLease, parse_lease
from workers.dhcp4.packet_socket import PacketSocket
from workers.dhcp4.tally import NoLease, Tally
from workers.system.clock import boottime
from workers.system.poll import ready

FIRST_WAIT_SECONDS = 1.0  # RFC 2131 section 4.1 says 4, for whole campuses that boot at once
MAX_WAIT_SECONDS = 4.0
JITTER = 0.25  # of each wait, to either side
REQUEST_TRIES = 3  # then another server's OFFER is asked for
REBOOT_SECONDS = 1.0  # then a lease that is still valid is used without an answer
REBOOT_TRIES = 2
MAX_DECLINES = 3
REFUSED_PAUSE_SECONDS = 1.0  # a server that goes on refusing must not be asked as fast as it answers


class Cancelled(Exception):
    """The supervisor has something else to say, or is gone: the lease is not wanted any more."""


@dataclass(frozen=True, slots=True)
class Acquired:
    """A lease; `confirmed` by a server just now, or else remembered and still valid.

    `watch` goes on hearing whether somebody else claims the address; it is the caller's to close.
    """

    lease: Lease
    confirmed: bool
    watch: ArpWatch | None


def acquire(
    spec: EndpointSpec,
    channel: Connection,
    packet_socket: PacketSocket,
    note_unreleased: Callable[[Lease | None], None],
) -> Acquired:
    """One DISCOVER-OFFER-REQUEST-ACK over `wire`, or REQUEST-ACK for a remembered lease.

    `owe` is told before each REQUEST for an offer what the server may have leased from then on, heard or not, and None
    when it is not so any more. Raises NoLease, Cancelled, or OSError where the link is gone.
    """
    return _Exchange(spec, channel, packet_socket, note_unreleased).run()


class _Exchange:
    """One client in the states SELECTING and REQUESTING."""

    def __init__(
        self,
        spec: EndpointSpec,
        channel: Connection,
        packet_socket: PacketSocket,
        note_unreleased: Callable[[Lease | None], None],
    ) -> None:
        self._spec = spec
        self._note_unreleased = note_unreleased
        self._channel = channel
        self._packet_socket = packet_socket
        self._begun = time.monotonic()
        self._deadline = self._begun + spec.lease_timeout
        self._requested = spec.requested
        self._xid = random.getrandbits(32)
        self._tally = Tally()
        self._probe = AddressProbe(spec.mac, enabled=spec.conflict is not ConflictCheck.OFF)

    def run(self) -> Acquired:
        try:
            return self._run()
        except BaseException:
            self._probe.forget()
            raise

    def _run(self) -> Acquired:
        remembered = self._spec.remembered
        if remembered is not None and remembered.runs(boottime()):
            try:
                acquired = self._reboot(remembered)
            except AddressInUse as claim:
                acquired = None
                self._decline(claim, remembered.server)
            if acquired is not None:
                return acquired
        return self._confirmed(self._fresh())

    def _reboot(self, remembered: Lease) -> Acquired | None:
        """INIT-REBOOT: a REQUEST without a server's name; None where it is refused."""
        self._probe.probe(self._spec.container_link, remembered.address.ip)
        begun = time.monotonic()
        for attempt in range(1, REBOOT_TRIES + 1):
            self._send(MessageType.REQUEST, remembered.address.ip, server=None)
            for answer in self._answers(begun + attempt * REBOOT_SECONDS / REBOOT_TRIES):
                if answer.kind is Kind.ACK:
                    self._probe.router = answer.sender
                    return self._confirmed(self._accepted(answer))
                if answer.kind is Kind.NAK:
                    self._requested = None
                    self._xid = random.getrandbits(32)
                    return None
        return Acquired(remembered, confirmed=False, watch=self._probe.watch)

    def _confirmed(self, lease: Lease) -> Acquired:
        return Acquired(lease, confirmed=True, watch=self._probe.watch)

    def _fresh(self) -> Lease:
        while True:
            offer = self._select()
            try:
                lease = self._request(offer)
            except AddressInUse as claim:
                lease = None
                self._decline(claim, offer.server)
            if lease is not None:
                return lease
            self._xid = random.getrandbits(32)
            self._requested = None  # what was refused is not asked for again

    def _select(self) -> Answer:
        self._probe.forget()
        for wait_until in self._retransmissions():
            self._send(MessageType.DISCOVER, self._requested, server=None)
            self._tally.discovers += 1
            for answer in self._answers(wait_until):
                if answer.kind is Kind.OFFER:
                    self._tally.offers += 1
                    if answer.server is not None:
                        return answer
        raise self._tally.failure("DHCPOFFER", self._spec)

    def _request(self, offer: Answer) -> Lease | None:
        """None where the server refuses or falls silent."""
        self._probe.router = offer.sender
        self._probe.probe(self._spec.container_link, offer.address)
        with suppress(InvalidLease):  # the ACK may be a better one
            self._note_unreleased(parse_lease(offer.values, boottime()))
        for attempt, wait_until in enumerate(self._retransmissions(), 1):
            self._send(MessageType.REQUEST, offer.address, server=offer.server)
            self._tally.requests += 1
            for answer in self._answers(wait_until):
                if answer.server != offer.server:
                    continue  # another server's word about an offer that is not its own
                if answer.kind is Kind.ACK:
                    return self._accepted(answer)
                if answer.kind is Kind.NAK:
                    self._tally.naks += 1
                    self._tally.last_words = answer.values["message"][:100]
                    self._note_unreleased(None)
                    self._pause()
                    return None
            if attempt == REQUEST_TRIES:
                return None
        raise self._tally.failure("DHCPACK", self._spec)

    def _pause(self) -> None:
        for _ in self._answers(min(self._deadline, time.monotonic() + REFUSED_PAUSE_SECONDS)):
            pass  # late words about what is over

    def _send(self, kind: MessageType, requested: IPv4Address | None, server: IPv4Address | None) -> None:
        message = encode(
            kind,
            self._xid,
            self._spec.mac,
            broadcast=True,  # an address that is not on the link yet cannot be sent to by unicast
            secs=int(time.monotonic() - self._begun),
            server=server,
            requested=requested,
            hostname=self._spec.hostname,
        )
        self._packet_socket.broadcast(message)

    def _retransmissions(self) -> Iterator[float]:
        """The `time.monotonic()` until which each packet's answer is awaited, within the budget."""
        seconds = FIRST_WAIT_SECONDS
        while (now := time.monotonic()) < self._deadline:
            yield min(self._deadline, now + seconds * random.uniform(1 - JITTER, 1 + JITTER))  # noqa: S311  a timer
            seconds = min(MAX_WAIT_SECONDS, seconds * 2)

    def _answers(self, until: float) -> Iterator[Answer]:
        """Those to this client and this transaction."""
        while (left := until - time.monotonic()) > 0:
            told = self._channel.fileno()
            if told in ready([self._packet_socket.fileno(), told, *self._probe.sources()], left):
                raise Cancelled
            self._probe.refuse()
            for answer in self._packet_socket.receive():
                if answer.xid == self._xid and answer.mac == self._spec.mac:
                    yield answer

    def _accepted(self, answer: Answer) -> Lease:
        """A lease that nobody else claims so far; `conflict=wait` gives them all of the probe's time."""
        lease = self._validated(answer)
        if self._spec.conflict is ConflictCheck.WAIT:
            for _ in self._answers(time.monotonic() + self._probe.settled_at - boottime()):
                pass  # a second word of the server's
        self._probe.refuse()
        return lease

    def _decline(self, claim: AddressInUse, server: IPv4Address | None) -> None:
        """Tells the server that somebody has the address, and gives up where all that it offers is taken."""
        self._probe.forget()
        self._note_unreleased(None)
        self._send(MessageType.DECLINE, claim.address, server)
        self._tally.declined.append(f"{claim.address} by {claim.mac}")
        if len(self._tally.declined) >= MAX_DECLINES:
            raise NoLease(
                f"{MAX_DECLINES} addresses in a row that the server offered on {self._spec.link.parent} "
                f"are in use already: {', '.join(self._tally.declined)}"
            )

    def _validated(self, answer: Answer) -> Lease:
        try:
            return parse_lease(answer.values, boottime())
        except InvalidLease as error:
            raise NoLease(str(error)) from error
