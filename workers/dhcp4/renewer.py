"""Keeps a lease that somebody else obtained, without a DISCOVER: RFC 2131 section 4.4.5.

    confirm now ─► BOUND ─T1─► RENEWING (unicast) ─T2─► REBINDING (broadcast) ─► expired, the lease manager's to notice
                     ▲ ACK ◄──────┴──────────────────────────┘    NAK ─► refused

udhcpc cannot take over a lease, it begins each life with a DISCOVER. So the successor of a worker that died asks for
nothing new: it renews what is held, and udhcpc comes back when the lease is refused or has run out.
Runs in the sandbox, where the address is on the link. Reports in udhcpc's events, so that its lease manager sees no
difference.
"""

import logging
import random
import socket
import struct

from workers.contract.lease import Lease
from workers.dhcp4.codec import CLIENT_PORT, SERVER_PORT, Answer, Kind, Malformed, MessageType, decode, encode
from workers.dhcp4.udhcpc import Event, EventKind
from workers.system.clock import boottime

MIN_RETRY_SECONDS, MAX_RETRY_SECONDS = 2.0, 60.0
PKTINFO = struct.Struct("=I4s4s")  # ip(7), struct in_pktinfo: the interface, the source, unused
IP_PKTINFO = 8
BROADCAST = "255.255.255.255"
MAX_DATAGRAM = 65536

log = logging.getLogger(__name__)


class Renewer:
    """A client in RENEWING, REBINDING or BOUND; `next_at` is a `boottime()`."""

    def __init__(self, interface: str, mac: str, lease: Lease, hostname: str | None) -> None:
        """Raises OSError where the interface is gone."""
        self._mac = mac
        self._lease = lease
        self._hostname = hostname
        self._xid = random.getrandbits(32)
        self._asked = boottime()
        self._confirmed = False
        self.next_at: float | None = self._asked
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
            self._socket.bind(("", CLIENT_PORT))  # not to the address: a NAK is broadcast
        except OSError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """Readable when something came."""
        return self._socket.fileno()

    def close(self) -> None:
        """The lease stays held."""
        self._socket.close()

    def ask(self) -> None:
        """To be called at `next_at`."""
        now = boottime()
        rebinding = self._lease.t2 is not None and now >= self._lease.t2
        try:
            self._send(broadcast=rebinding or self._lease.server is None)
        except OSError as error:
            log.debug("REQUEST not sent: %s", error)  # tried again like one that was not answered
        self.next_at = now + self._patience(now)

    def read_events(self) -> list[Event]:
        """What the server has answered."""
        events: list[Event] = []
        while True:
            try:
                datagram = self._socket.recv(MAX_DATAGRAM)
            except BlockingIOError:
                return events
            except OSError:
                continue  # an ICMP error about an earlier packet: like no answer
            try:
                events += self._take(decode(datagram))
            except Malformed:
                continue  # whoever sent it, it is not the server that is asked

    def accept(self, lease: Lease) -> None:
        """The answer was a lease: rest until T1."""
        self._lease, self._confirmed = lease, True
        self._xid = random.getrandbits(32)
        self.next_at = lease.t1

    def _take(self, answer: Answer) -> list[Event]:
        if answer.xid != self._xid or answer.mac != self._mac:
            return []
        if answer.kind is Kind.ACK:
            return [Event(EventKind.RENEW, answer.values)]
        return [Event(EventKind.NAK, answer.values)] if answer.kind is Kind.NAK else []

    def _send(self, *, broadcast: bool) -> None:
        address = self._lease.address.ip
        secs = int(boottime() - self._asked)
        message = encode(MessageType.REQUEST, self._xid, self._mac, ciaddr=address, secs=secs, hostname=self._hostname)
        source = (socket.IPPROTO_IP, IP_PKTINFO, PKTINFO.pack(0, address.packed, bytes(4)))
        target = BROADCAST if broadcast else str(self._lease.server)
        self._socket.sendmsg([message], [source], 0, (target, SERVER_PORT))

    def _patience(self, now: float) -> float:
        """Half of the time to the next boundary, within limits; a REQUEST that takes a lease over is not spared."""
        lease = self._lease
        if lease.t2 is None or lease.expires is None:
            return MAX_RETRY_SECONDS
        boundary = lease.t2 if now < lease.t2 else lease.expires
        longest = MAX_RETRY_SECONDS if self._confirmed else MAX_RETRY_SECONDS / 6
        return min(max((boundary - now) / 2, MIN_RETRY_SECONDS), longest)
