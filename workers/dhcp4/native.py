"""The machine in the sandbox: over UDP and over a packet socket.

It asks the server of its lease over UDP, from its address. All servers it asks over a packet socket, which no firewall
of the container stops: a VPN's kill switch must not cost the lease. Must not know conflicts, nor what follows from its
reports.
"""

import socket
import struct
from collections.abc import Collection
from dataclasses import dataclass

from workers.contract.exchange import CLIENT_PORT, SERVER_PORT, note
from workers.contract.lease import Lease
from workers.dhcp.effects import Send
from workers.dhcp.errors import Malformed
from workers.dhcp.native import Native
from workers.dhcp4.codec import Answer, decode, noted
from workers.dhcp4.machine import Machine, State
from workers.dhcp4.packet_socket import NOBODY, PacketSocket, answers_checks
from workers.dhcp4.release import release_by_broadcast
from workers.system.packet_filter import attach, equal

PKTINFO = struct.Struct("=I4s4s")  # ip(7), struct in_pktinfo: the interface, the source, unused
IP_PKTINFO = 8
UDP_HEADER_BYTES = 8  # with which a filter's view of a datagram begins
MAX_DATAGRAM = 65536
MAX_DATAGRAMS = 64  # read at a time: a flood must not keep the worker from other work


@dataclass(eq=False)
class NativeClient(Native[Lease, Answer]):
    """A DHCPv4 client (workers.dhcp.native)."""

    SILENT = (State.INIT, State.BOUND)

    _machine: Machine
    _udp: socket.socket | None = None
    _packets: PacketSocket | None = None

    def sources(self) -> list[int]:
        return [s.fileno() for s in (self._udp, self._packets) if s is not None]

    def _release(self, leases: Collection[Lease]) -> None:
        for lease in leases:
            release_by_broadcast(self._interface, lease, self._machine.mac, self._machine.identity)

    def _send(self, message: Send) -> None:
        if message.to is None:
            self._packet_socket().send(message.payload, message.source or NOBODY)
        else:
            assert message.source is not None
            source = (socket.IPPROTO_IP, IP_PKTINFO, PKTINFO.pack(0, message.source.packed, bytes(4)))
            udp = self._udp_socket()
            attach(udp, equal(*answers_checks(message.payload, UDP_HEADER_BYTES)))
            udp.sendmsg([message.payload], [source], 0, (str(message.to), SERVER_PORT))
            note(noted(message.payload, sent=True))

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
