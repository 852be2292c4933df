"""IPv6 packets for packet sockets, and the checksum of both families.

Must not know what a packet carries.
"""

import struct
from ipaddress import IPv6Address

ETH_P_IPV6 = 0x86DD
IPV6_HEADER = struct.Struct("!IHBB16s16s")
VERSION = 6 << 28
ALL_NODES, ALL_ROUTERS = IPv6Address("ff02::1"), IPv6Address("ff02::2")


def checksum(data: bytes) -> int:
    """RFC 1071."""
    total: int = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + bytes(len(data) % 2)))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ipv6_packet(
    source: IPv6Address, to: IPv6Address, protocol: int, payload: bytes, *, checksum_at: int, hop_limit: int
) -> bytes:
    """The packet, with the checksum (RFC 8200 section 8.1) at this offset of the payload, where it is 0."""
    pseudo = source.packed + to.packed + struct.pack("!II", len(payload), protocol)
    value = checksum(pseudo + payload) or 0xFFFF
    payload = payload[:checksum_at] + value.to_bytes(2) + payload[checksum_at + 2 :]
    return IPV6_HEADER.pack(VERSION, len(payload), protocol, hop_limit, source.packed, to.packed) + payload


def multicast_mac(group: IPv6Address) -> bytes:
    """The destination of its frames (RFC 2464 section 7)."""
    return b"\x33\x33" + group.packed[12:]
