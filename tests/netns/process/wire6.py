"""DHCPv6 and router advertisements on the wire: messages as bytes.

Owns the formats of RFC 8415 section 21 and RFC 4861 section 4. Must not know the plugin: a codec shared with it would
share its mistakes.
"""

import struct
from dataclasses import dataclass, field
from enum import IntEnum
from ipaddress import IPv6Address, IPv6Network
from typing import Self

INFINITE = 0xFFFFFFFF


class Kind(IntEnum):
    """The message types."""

    SOLICIT = 1
    ADVERTISE = 2
    REQUEST = 3
    CONFIRM = 4
    RENEW = 5
    REBIND = 6
    REPLY = 7
    RELEASE = 8
    DECLINE = 9
    INFORMATION_REQUEST = 11


class Option(IntEnum):
    """Codes of RFC 8415, RFC 3646 and RFC 4704."""

    CLIENT_ID = 1
    SERVER_ID = 2
    IA_NA = 3
    IA_ADDRESS = 5
    REQUESTED = 6
    PREFERENCE = 7
    ELAPSED = 8
    STATUS = 13
    RAPID_COMMIT = 14
    DNS = 23
    SEARCH = 24
    REFRESH = 32
    FQDN = 39
    SOL_MAX_RT = 82
    INF_MAX_RT = 83


class Code(IntEnum):
    """Status codes."""

    SUCCESS = 0
    UNSPEC_FAIL = 1
    NO_ADDRS_AVAIL = 2
    NO_BINDING = 3
    NOT_ON_LINK = 4
    USE_MULTICAST = 5


@dataclass(frozen=True, slots=True)
class Packet:
    """A DHCPv6 message; its options in order."""

    kind: Kind
    xid: int
    options: list[tuple[int, bytes]] = field(default_factory=list)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Raises struct.error or ValueError for what is truncated."""
        return cls(Kind(data[0]), int.from_bytes(data[1:4]), decode_options(data[4:]))

    def encode(self) -> bytes:
        """The UDP payload."""
        return bytes([self.kind]) + self.xid.to_bytes(3) + encode_options(self.options)

    def option(self, code: Option) -> bytes | None:
        """The value of the first of these."""
        return next((value for known, value in self.options if known == code), None)

    @property
    def addresses(self) -> list[IPv6Address]:
        """The addresses in its IA_NA."""
        association = self.option(Option.IA_NA) or bytes(12)
        return [IPv6Address(v[:16]) for code, v in decode_options(association[12:]) if code == Option.IA_ADDRESS]


def encode_options(options: list[tuple[int, bytes]]) -> bytes:
    """As they stand in a message or in another option."""
    return b"".join(struct.pack("!HH", code, len(value)) + value for code, value in options)


def decode_options(area: bytes) -> list[tuple[int, bytes]]:
    """The opposite."""
    options = []
    while area:
        code, length = struct.unpack_from("!HH", area)
        options.append((code, area[4 : 4 + length]))
        area = area[4 + length :]
    return options


def status(code: int, words: str = "") -> tuple[int, bytes]:
    """A status code option."""
    return Option.STATUS, struct.pack("!H", code) + words.encode()


def ia_address(address: IPv6Address, preferred: int, valid: int, *options: tuple[int, bytes]) -> tuple[int, bytes]:
    """An IA Address option."""
    return Option.IA_ADDRESS, struct.pack("!16sII", address.packed, preferred, valid) + encode_options(list(options))


def ia_na(iaid: int, t1: int, t2: int, *options: tuple[int, bytes]) -> tuple[int, bytes]:
    """An IA_NA option."""
    return Option.IA_NA, struct.pack("!III", iaid, t1, t2) + encode_options(list(options))


def wire_names(*names: str) -> bytes:
    """Domain names in DNS's form."""
    return b"".join(b"".join(bytes([len(p)]) + p.encode() for p in name.split(".")) + b"\0" for name in names)


@dataclass(frozen=True, slots=True)
class Advertisement:
    """A router advertisement, an ICMPv6 message; its options are whole."""

    flags: int = 0
    lifetime: int = 1800
    options: tuple[bytes, ...] = ()

    def encode(self) -> bytes:
        """With a checksum of 0."""
        return struct.pack("!BBHBBHII", 134, 0, 0, 64, self.flags, self.lifetime, 0, 0) + b"".join(self.options)


def prefix(network: IPv6Network, flags: int, valid: int, preferred: int) -> bytes:
    """A prefix information option; `flags` are 0x80 for on-link and 0x40 for autonomous."""
    fields = (3, 4, network.prefixlen, flags, valid, preferred, 0, network.network_address.packed)
    return struct.pack("!BBBBIII16s", *fields)


def rdnss(lifetime: int, *servers: IPv6Address) -> bytes:
    """RFC 8106 section 5.1."""
    return struct.pack("!BBHI", 25, 1 + 2 * len(servers), 0, lifetime) + b"".join(a.packed for a in servers)


def dnssl(lifetime: int, *names: str) -> bytes:
    """RFC 8106 section 5.2."""
    area = wire_names(*names)
    area += bytes(-len(area) % 8)
    return struct.pack("!BBHI", 31, 1 + len(area) // 8, 0, lifetime) + area


def neighbour_advertisement(address: IPv6Address, mac: bytes) -> bytes:
    """The frame in which the machine `mac` says to all, unasked, that it has the address (RFC 4861 section 4.4)."""
    body = struct.pack("!I16sBB6s", 0x20000000, address.packed, 2, 1, mac)
    return _frame_to_all(58, b"\x88\0\0\0" + body, 2, address, mac)


def advertisement_frame(advertisement: Advertisement, router: IPv6Address, mac: bytes) -> bytes:
    """As the router sends it to all, from the machine `mac`."""
    return _frame_to_all(58, advertisement.encode(), 2, router, mac)


def answer_frame(answer: Packet, mac: str) -> bytes:
    """A server's answer to the machine `mac`, at all nodes' IP address, which it hears as well as its own."""
    payload = answer.encode()
    udp = struct.pack("!HHHH", 547, 546, 8 + len(payload), 0) + payload
    frame = _frame_to_all(17, udp, 6, IPv6Address("fe80::bad"), b"\x02\xba\xd0\0\0\1")
    return bytes.fromhex(mac.replace(":", "")) + frame[6:]


def _frame_to_all(protocol: int, payload: bytes, checksum_at: int, source: IPv6Address, mac: bytes) -> bytes:
    """With the checksum, which is 0 in the payload, and a hop limit of 255."""
    everyone = IPv6Address("ff02::1").packed
    pseudo = source.packed + everyone + struct.pack("!II", len(payload), protocol)
    area = pseudo + payload + bytes(len(payload) % 2)
    total: int = sum(struct.unpack(f"!{len(area) // 2}H", area))
    checksum = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    body = payload[:checksum_at] + checksum.to_bytes(2) + payload[checksum_at + 2 :]
    header = struct.pack("!IHBB", 6 << 28, len(body), protocol, 255) + source.packed + everyone
    return b"\x33\x33\0\0\0\x01" + mac + b"\x86\xdd" + header + body


def mtu(value: int) -> bytes:
    """RFC 4861 section 4.6.4."""
    return struct.pack("!BBHI", 5, 1, 0, value)
