"""The machine in the sandbox: keeps a lease over sockets that are open only while it waits for an answer.

It asks the server of its lease over UDP, from its address. All servers it asks over a packet socket, which no firewall
of the container stops: a VPN's kill switch must not cost the lease. Must not know conflicts, nor what follows from its
reports.
"""

import logging
import socket
import struct

from workers.contract.exchange import note
from workers.dhcp4.codec import CLIENT_PORT, SERVER_PORT, Answer, Malformed, decode, noted
from workers.dhcp4.machine import Effect, Granted, Machine, Offered, Refused, Send, State, Unanswered, Unusable
from workers.dhcp4.packet_socket import NOBODY, PacketSocket, answers_checks
from workers.dhcp4.release import release_by_broadcast
from workers.system.clock import boottime
from workers.system.packet_filter import attach, equal

PKTINFO = struct.Struct("=I4s4s")  # ip(7), struct in_pktinfo: the interface, the source, unused
IP_PKTINFO = 8
UDP_HEADER_BYTES = 8  # with which a filter's view of a datagram begins
MAX_DATAGRAM = 65536
MAX_DATAGRAMS = 64  # read at a time: a flood must not keep the worker from other work
ASKING = (State.RENEWING, State.REBINDING, State.SELECTING, State.REQUESTING)
Report = Granted | Refused | Unusable | Unanswered

log = logging.getLogger(__name__)


class NativeClient:
    """Drives `machine` on `interface`, in the present namespace."""

    def __init__(self, interface: str, machine: Machine) -> None:
        self._interface = interface
        self._machine = machine
        self._udp: socket.socket | None = None
        self._packets: PacketSocket | None = None

    @property
    def next_at(self) -> float | None:
        """The `boottime()` at which to call `due`."""
        return self._machine.next_at

    def sources(self) -> list[int]:
        """The descriptors that are readable when an answer has come."""
        return [s.fileno() for s in (self._udp, self._packets) if s is not None]

    def due(self) -> list[Report]:
        """Sends the messages that are due."""
        return self._carry_out(self._machine.due(boottime()))

    def read(self) -> list[Report]:
        """Reads the answers of servers."""
        reports: list[Report] = []
        for answer in self._answers():
            reports += self._carry_out(self._machine.receive(answer, boottime()))
        return reports

    def retry(self, seconds: float) -> None:
        """The granted lease could not be used: asks for it once more."""
        self._machine.next_at = boottime() + seconds

    def close(self) -> None:
        """Ends. The lease stays held; other leases that a server may have granted are released."""
        self._close_sockets()
        self._release_others()

    def _release_others(self) -> None:
        for lease in self._machine.unreleased.values():
            release_by_broadcast(self._interface, lease, self._machine.mac, self._machine.identity)
        self._machine.unreleased.clear()

    def _carry_out(self, effects: list[Effect]) -> list[Report]:
        reports: list[Report] = []
        for effect in effects:
            if isinstance(effect, Send):
                self._send(effect)
            elif isinstance(effect, Report):
                reports.append(effect)
            else:
                assert isinstance(effect, Offered)  # the lease manager probes for it when it is granted
        if self._machine.state not in ASKING:
            self._close_sockets()
        if self._machine.state is State.BOUND:
            self._release_others()
        return reports

    def _send(self, message: Send) -> None:
        """Sends. The machine tries a message that cannot be sent again, as one without an answer."""
        try:
            if message.to is None:
                self._packet_socket().broadcast(message.payload, message.source or NOBODY)
            else:
                assert message.source is not None
                source = (socket.IPPROTO_IP, IP_PKTINFO, PKTINFO.pack(0, message.source.packed, bytes(4)))
                udp = self._udp_socket()
                attach(udp, equal(*answers_checks(message.payload, UDP_HEADER_BYTES)))
                udp.sendmsg([message.payload], [source], 0, (str(message.to), SERVER_PORT))
                note(noted(message.payload, sent=True))
        except OSError as error:
            log.debug("%s not sent: %s", self._machine.state, error, extra={"interface": self._interface})

    def _packet_socket(self) -> PacketSocket:
        if self._packets is None:
            self._close_sockets()
            self._packets = PacketSocket(self._interface)
        return self._packets

    def _udp_socket(self) -> socket.socket:
        """Not bound to the address: a NAK is broadcast."""
        if self._udp is None:
            self._close_sockets()
            self._udp = udp = socket.socket(
                socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
            )
            udp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            udp.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, self._interface.encode())
            udp.bind(("", CLIENT_PORT))
        return self._udp

    def _answers(self) -> list[Answer]:
        if self._packets is not None:
            try:
                return self._packets.receive()
            except OSError:  # the link has gone, or is down
                self._close_sockets()
        answers = []
        for _ in range(MAX_DATAGRAMS if self._udp is not None else 0):
            assert self._udp is not None
            try:
                payload = self._udp.recv(MAX_DATAGRAM)
                answers.append(decode(payload))
                note(noted(payload))
            except BlockingIOError:
                break
            except (Malformed, OSError):
                continue  # not from the server that we asked, or an ICMP error about an earlier packet
        return answers

    def _close_sockets(self) -> None:
        for one in (self._udp, self._packets):
            if one is not None:
                one.close()
        self._udp = self._packets = None
