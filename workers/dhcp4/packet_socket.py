"""A packet socket that sees all packets to the DHCP client port of one interface, even without an address.

No firewall of a container sees its packets, but for one at the link itself. It is closed after the answer: at each
close of such a socket the kernel waits out a grace period of some 15 ms.
"""

import socket
import struct
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address

from workers.contract.exchange import CLIENT_PORT, SERVER_PORT, note
from workers.dhcp.errors import Malformed
from workers.dhcp4.codec import Answer, decode, noted
from workers.system import packet_filter as bpf
from workers.system.ip_packet import checksum

ETH_P_IP = 0x0800
BROADCAST_MAC = b"\xff" * 6
NOBODY, EVERYONE = IPv4Address(0), b"\xff" * 4
IP_HEADER = struct.Struct("!BBHHHBBH4s4s")
UDP_HEADER = struct.Struct("!HHHH")
TTL = 64
MAX_STRANGERS = 64  # answers to other clients that are heard, as their number helps to explain a failure
XID, CHADDR = 4, 28  # offsets in a message (RFC 2131 section 2)
# UDP, no fragment, and the destination port behind the header's own length.
FILTER = (
    (bpf.LOAD_BYTE, 0, 0, 9),
    (bpf.JUMP_EQUAL, 0, 6, socket.IPPROTO_UDP),
    (bpf.LOAD_HALF, 0, 0, 6),
    (bpf.JUMP_BITS, 4, 0, 0x1FFF),
    (bpf.IP_HEADER_LENGTH, 0, 0, 0),
    (bpf.LOAD_HALF_BEHIND_HEADER, 0, 0, 2),
    (bpf.JUMP_EQUAL, 0, 1, CLIENT_PORT),
    (bpf.RETURN, 0, 0, bpf.ALL),
    (bpf.RETURN, 0, 0, 0),
)


@dataclass(init=False, eq=False)
class PacketSocket(bpf.FilteredSocket):
    """The DHCPv4 messages to the client port of one interface (workers.system.packet_filter)."""

    _sent: bytes = b""
    _strangers: int = 0

    def __init__(self, interface: str) -> None:
        """Raises OSError."""
        super().__init__(interface, ETH_P_IP, FILTER)

    def send(self, payload: bytes, source: IPv4Address = NOBODY) -> None:
        """Sends a DHCP message from `source` to 255.255.255.255. Raises OSError."""
        self._sent = payload[: CHADDR + 6]
        self._drop_strangers()
        udp_length = UDP_HEADER.size + len(payload)
        pseudo = source.packed + EVERYONE + struct.pack("!BBH", 0, socket.IPPROTO_UDP, udp_length)
        ports = struct.pack("!HHH", CLIENT_PORT, SERVER_PORT, udp_length)
        value = checksum(pseudo + ports + bytes(2) + payload) or 0xFFFF
        udp = ports + struct.pack("!H", value) + payload
        fields = (0x45, 0, IP_HEADER.size + len(udp), 0, 0, TTL, socket.IPPROTO_UDP)
        header = IP_HEADER.pack(*fields, 0, source.packed, EVERYONE)
        header = IP_HEADER.pack(*fields, checksum(header), source.packed, EVERYONE)
        self._send_to(BROADCAST_MAC, header + udp)
        note(noted(payload, sent=True))

    def receive(self) -> list[Answer]:
        """The messages of servers since the last call, or some of a flood; drops all others.

        After so many to other clients the kernel drops all but the answers to what was sent last: a flood fills no
        queue that our answer needs. Raises OSError if the link is gone. Ignores UDP checksums: a server on this host
        leaves them unfinished to its network card.
        """
        answers: list[Answer] = []
        before = self._strangers
        for packet, mac in self._packets():
            with suppress(Malformed):  # other packets on the wire do not concern us
                payload = _payload(packet)
                ours = _answers(payload, self._sent)
                self._strangers += not ours
                answers.append(decode(payload, mac.hex(":")))
                if ours:
                    note(noted(payload))
        if self._strangers > before:
            self._drop_strangers()
        return answers

    def _drop_strangers(self) -> None:
        """Has the kernel drop answers to other clients, if too many have come."""
        if self._strangers >= MAX_STRANGERS:
            bpf.attach(self._socket, _answers_filter(self._sent))


def answers_checks(sent: bytes, at: int, *, behind_header: bool = False) -> list[tuple[int, int, int]]:
    """That the message at this offset is for the client, and has the transaction id, of the one that was sent."""
    word, half = (bpf.LOAD_BEHIND_HEADER, bpf.LOAD_HALF_BEHIND_HEADER) if behind_header else (bpf.LOAD, bpf.LOAD_HALF)
    return [
        (word, at + XID, int.from_bytes(sent[XID : XID + 4])),
        (word, at + CHADDR, int.from_bytes(sent[CHADDR : CHADDR + 4])),
        (half, at + CHADDR + 4, int.from_bytes(sent[CHADDR + 4 : CHADDR + 6])),
    ]


def _answers_filter(sent: bytes) -> list[bpf.Instruction]:
    checks = answers_checks(sent, UDP_HEADER.size, behind_header=True)
    ports = [(bpf.LOAD_HALF_BEHIND_HEADER, 0, SERVER_PORT), (bpf.LOAD_HALF_BEHIND_HEADER, 2, CLIENT_PORT)]
    return [(bpf.IP_HEADER_LENGTH, 0, 0, 0), *bpf.equal((bpf.LOAD_BYTE, 9, socket.IPPROTO_UDP), *ports, *checks)]


def _answers(payload: bytes, sent: bytes) -> bool:
    return (payload[XID : XID + 4], payload[CHADDR : CHADDR + 6]) == (sent[XID : XID + 4], sent[CHADDR:])


def _payload(packet: bytes) -> bytes:
    start = (packet[0] & 0x0F) * 4
    if start < IP_HEADER.size or len(packet) < start + UDP_HEADER.size:
        raise Malformed("truncated")
    source, _, length, _ = UDP_HEADER.unpack_from(packet, start)
    if source != SERVER_PORT:
        raise Malformed("not from a server's port")
    return packet[start + UDP_HEADER.size : start + length]
