"""DHCP on the wire: messages as bytes, and a capture at the server's side, whose word counts in the tests.

Owns the format of RFC 2131 section 2. Must not know the plugin: a codec shared with it would share its mistakes.
"""

import socket
import struct
from dataclasses import dataclass, field
from enum import IntEnum
from ipaddress import IPv4Address
from typing import Self

from tests.lab.network import LAN_BRIDGE
from workers.system.namespaces import open_namespace

ETH_P_IP = 0x0800
HEADER = struct.Struct("!4BIHH4s4s4s4s6s10x64x128x4s")
COOKIE = bytes.fromhex("63825363")
BROADCAST_FLAG = 0x8000
PAD, END = 0, 255
CAPTURE_BUFFER_BYTES = 8 << 20


class Kind(IntEnum):
    """Option 53."""

    DISCOVER = 1
    OFFER = 2
    REQUEST = 3
    DECLINE = 4
    ACK = 5
    NAK = 6
    RELEASE = 7


class Option(IntEnum):
    """Codes of RFC 2132, RFC 3004, RFC 3442 and RFC 4702."""

    SUBNET_MASK = 1
    ROUTER = 3
    DNS = 6
    HOST_NAME = 12
    MTU = 26
    STATIC_ROUTES = 33
    REQUESTED_ADDRESS = 50
    LEASE_TIME = 51
    MESSAGE_TYPE = 53
    SERVER_ID = 54
    PARAMETERS = 55
    MESSAGE = 56
    RENEWAL_TIME = 58
    REBINDING_TIME = 59
    VENDOR_CLASS = 60
    CLIENT_ID = 61
    USER_CLASS = 77
    CLIENT_FQDN = 81
    CLASSLESS_ROUTES = 121
    MICROSOFT_ROUTES = 249


NOWHERE, EVERYONE = IPv4Address(0), IPv4Address("255.255.255.255")


@dataclass(frozen=True, slots=True)
class Packet:
    """A DHCP message. `op` is 1 from clients, 2 from servers."""

    op: int
    xid: int
    chaddr: str
    flags: int = 0
    ciaddr: IPv4Address = NOWHERE
    yiaddr: IPv4Address = NOWHERE
    giaddr: IPv4Address = NOWHERE
    options: dict[int, bytes] = field(default_factory=dict)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Raises struct.error or IndexError for what is truncated."""
        op, _, _, _, xid, _, flags, ciaddr, yiaddr, _, giaddr, chaddr, _ = HEADER.unpack_from(data)
        options = dict(_options(data[HEADER.size :]))
        client, yours, relay = map(IPv4Address, (ciaddr, yiaddr, giaddr))
        return cls(op, xid, chaddr.hex(":"), flags, client, yours, relay, options)

    def encode(self) -> bytes:
        """As a UDP payload."""
        chaddr = bytes.fromhex(self.chaddr.replace(":", ""))
        addresses = [address.packed for address in (self.ciaddr, self.yiaddr, NOWHERE, self.giaddr)]
        head = HEADER.pack(self.op, 1, 6, 0, self.xid, 0, self.flags, *addresses, chaddr, COOKIE)
        body = b"".join(bytes((code, len(value))) + value for code, value in self.options.items())
        return head + body + bytes((END,))

    @property
    def kind(self) -> Kind:
        """Option 53."""
        return Kind(self.options[Option.MESSAGE_TYPE][0])

    @property
    def hostname(self) -> str | None:
        """Option 12."""
        value = self.options.get(Option.HOST_NAME)
        return None if value is None else value.decode()


def _options(data: bytes) -> "list[tuple[int, bytes]]":
    found, at = [], 0
    while at < len(data) and data[at] != END:
        if data[at] == PAD:
            at += 1
            continue
        length = data[at + 1]
        found.append((data[at], data[at + 2 : at + 2 + length]))
        at += 2 + length
    return found


def broadcast_frame(payload: bytes, mac: bytes = bytes.fromhex("02bad0000001")) -> bytes:
    """A server's datagram to all clients, in a frame of the machine `mac`; UDP without a checksum."""
    udp = struct.pack("!HHHH", 67, 68, 8 + len(payload), 0) + payload
    fields = (0x45, 0, 20 + len(udp), 0, 0, 64, socket.IPPROTO_UDP)
    source, everyone = IPv4Address("192.168.77.66").packed, EVERYONE.packed
    bare = struct.pack("!BBHHHBBH4s4s", *fields, 0, source, everyone)
    total = sum(struct.unpack("!10H", bare))
    checksum = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    header = struct.pack("!BBHHHBBH4s4s", *fields, checksum, source, everyone)
    return b"\xff" * 6 + mac + ETH_P_IP.to_bytes(2) + header + udp


@dataclass(frozen=True, slots=True)
class Frame:
    """What a client sent: from which MAC and IP address, to which."""

    mac: str
    source: IPv4Address
    destination: IPv4Address
    packet: Packet

    @classmethod
    def decode(cls, data: bytes) -> "Frame | None":
        """None for what goes to no DHCP server."""
        header_length = (data[14] & 15) * 4
        udp = data[14 + header_length :]
        if data[23] != socket.IPPROTO_UDP or struct.unpack_from("!H", udp, 2)[0] != 67:
            return None
        source, destination = IPv4Address(data[26:30]), IPv4Address(data[30:34])
        return cls(data[6:12].hex(":"), source, destination, Packet.decode(udp[8:]))


class Capture:
    """All that clients sent to the servers of a namespace, since it was opened."""

    def __init__(self, namespace: str) -> None:
        with open_namespace(f"/run/netns/{namespace}") as lan, lan.visit():
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, CAPTURE_BUFFER_BYTES)
        self._socket.bind((LAN_BRIDGE, ETH_P_IP))
        self._socket.setblocking(False)
        self._frames: list[Frame] = []

    def frames(self, mac: str | None = None, kind: Kind | None = None) -> list[Frame]:
        """In order, of one client and of one kind where these are given."""
        self._read()
        return [f for f in self._frames if mac in (None, f.packet.chaddr) and kind in (None, f.packet.kind)]

    def forget(self) -> None:
        """What was sent until now."""
        self._read()
        self._frames.clear()

    def kinds(self, mac: str) -> list[Kind]:
        """The kinds of one client's messages, in order."""
        return [f.packet.kind for f in self.frames(mac)]

    def _read(self) -> None:
        while True:
            try:
                frame = Frame.decode(self._socket.recv(65535))
            except BlockingIOError:
                return
            if frame is not None:
                self._frames.append(frame)

    def close(self) -> None:
        """Gives the socket back."""
        self._socket.close()
