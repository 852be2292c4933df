"""A DHCP client's first message on its way over a bridge, as a packet filter looks at it."""

import socket
import struct
from ipaddress import IPv6Address

from msgspec import Struct

from workers.contract.exchange import CLIENT_PORT, CLIENT_PORT6, SERVER_PORT, SERVER_PORT6

UDP = struct.Struct("!HHHH")
LENGTH = 300  # of the DHCP message; no filter looks at it closely


class Packet(Struct, frozen=True):
    """Its headers, and the bridge that it passes. `sender` is not known: each container has another."""

    version: int
    ethertype: bytes
    destination: bytes  # its MAC address
    network: bytes
    transport: bytes
    bridge: str
    index: int

    @property
    def ports(self) -> tuple[int, int]:
        source, destination, _, _ = UDP.unpack(self.transport)
        return source, destination

    @property
    def addresses(self) -> tuple[bytes, bytes]:
        at, size = (12, 4) if self.version == socket.AF_INET else (8, 16)
        return self.network[at : at + size], self.network[at + size : at + 2 * size]


def discover(bridge: str, index: int) -> Packet:
    """A DHCPDISCOVER: from nobody to everybody."""
    udp = UDP.pack(CLIENT_PORT, SERVER_PORT, UDP.size + LENGTH, 0)
    length = 20 + UDP.size + LENGTH
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, length, 0, 0, 64, socket.IPPROTO_UDP, 0, bytes(4), b"\xff" * 4)
    return Packet(socket.AF_INET, b"\x08\x00", b"\xff" * 6, header, udp, bridge, index)


def solicit(bridge: str, index: int) -> Packet:
    """A DHCPv6 Solicit: from a link-local address to all servers."""
    udp = UDP.pack(CLIENT_PORT6, SERVER_PORT6, UDP.size + LENGTH, 0)
    ends = IPv6Address("fe80::1").packed + IPv6Address("ff02::1:2").packed
    header = struct.pack("!IHBB", 6 << 28, UDP.size + LENGTH, socket.IPPROTO_UDP, 1) + ends
    return Packet(socket.AF_INET6, b"\x86\xdd", bytes.fromhex("333300010002"), header, udp, bridge, index)
