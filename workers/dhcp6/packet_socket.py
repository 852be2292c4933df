"""A packet socket that sees the DHCPv6 messages to the client's port of one interface, and router advertisements.

It works before the link has an address, passes every firewall, and needs no port that another process may hold. At the
close of such a socket the kernel waits out a grace period of some 15 ms.
"""

import socket
import struct
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path
from types import TracebackType
from typing import Self

from workers.dhcp6 import router_advertisement
from workers.dhcp6.codec import CLIENT_PORT, SERVER_PORT, Answer, Malformed, decode
from workers.dhcp6.router_advertisement import HOP_LIMIT, RouterAdvertisement, eui64
from workers.system.ip_packet import ALL_ROUTERS, ETH_P_IPV6, IPV6_HEADER, hear_all_nodes, ipv6_packet, multicast_mac
from workers.system.packet_filter import JUMP_EQUAL, LOAD_BYTE, LOAD_HALF, RETURN, attach

SERVERS = IPv6Address("ff02::1:2")  # all servers and relay agents of the link
LINK_LOCAL = IPv6Network("fe80::/64")
UDP_HEADER = struct.Struct("!HHHH")
ROUTER_SOLICITATION = 133
SOURCE_LINK_ADDRESS = b"\x01\x01"  # an option's type, and its length in eight octets
ADDRESSES = Path("/proc/self/net/if_inet6")  # columns: address, index, prefix length, scope, flags, name
LINK_SCOPE, NOT_READY = 0x20, 0x40 | 0x08  # tentative, or found to be a duplicate
MAX_FRAME = 65536
MAX_FRAMES = 64  # read at a time: a flood must not keep the worker from other work
# UDP to the client's port, or an ICMPv6 router advertisement, each without extension headers.
FILTER = (
    (LOAD_BYTE, 0, 0, 6),
    (JUMP_EQUAL, 0, 2, socket.IPPROTO_UDP),
    (LOAD_HALF, 0, 0, 42),
    (JUMP_EQUAL, 3, 4, CLIENT_PORT),
    (JUMP_EQUAL, 0, 3, socket.IPPROTO_ICMPV6),
    (LOAD_BYTE, 0, 0, 40),
    (JUMP_EQUAL, 0, 1, router_advertisement.TYPE),
    (RETURN, 0, 0, MAX_FRAME),
    (RETURN, 0, 0, 0),
)


class PacketSocket6:
    """A context manager; `fileno` is readable when a packet has come. `mac` is the link's."""

    def __init__(self, interface: str, mac: str) -> None:
        """Raises OSError. The protocol is 0 first: with ETH_P_IPV6 it would listen on every interface at once."""
        self._interface = interface
        self._mac = mac
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, 0)
        try:
            attach(self._socket, FILTER)
            self._socket.bind((interface, ETH_P_IPV6))
            self._socket.setblocking(False)
            hear_all_nodes(self._socket, interface)
        except OSError:
            self._socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def fileno(self) -> int:
        """The descriptor."""
        return self._socket.fileno()

    def close(self) -> None:
        """Takes some 15 ms."""
        self._socket.close()

    def multicast(self, payload: bytes) -> None:
        """Sends a DHCPv6 message to all servers of the link. Raises OSError."""
        datagram = UDP_HEADER.pack(CLIENT_PORT, SERVER_PORT, UDP_HEADER.size + len(payload), 0) + payload
        self._send(SERVERS, socket.IPPROTO_UDP, datagram, checksum_at=6)

    def solicit_router(self) -> None:
        """Asks the routers for an advertisement (RFC 4861 section 4.1). Raises OSError."""
        message = (
            bytes([ROUTER_SOLICITATION]) + bytes(7) + SOURCE_LINK_ADDRESS + bytes.fromhex(self._mac.replace(":", ""))
        )
        self._send(ALL_ROUTERS, socket.IPPROTO_ICMPV6, message, checksum_at=2)

    def receive(self) -> list[Answer | RouterAdvertisement]:
        """The messages of servers and routers since the last call, or some of a flood; drops all others.

        Raises OSError if the link is gone. Ignores checksums: a server on this host leaves them unfinished to its
        network card.
        """
        found: list[Answer | RouterAdvertisement] = []
        for _ in range(MAX_FRAMES):
            try:
                packet, source = self._socket.recvfrom(MAX_FRAME)
            except BlockingIOError:
                break
            try:
                found.append(parse_packet(packet, source[4].hex(":")))
            except (Malformed, router_advertisement.Malformed):
                continue  # other packets on the wire do not concern us
        return found

    def _send(self, group: IPv6Address, protocol: int, payload: bytes, *, checksum_at: int) -> None:
        source = link_local(self._interface, self._mac)
        packet = ipv6_packet(source, group, protocol, payload, checksum_at=checksum_at, hop_limit=HOP_LIMIT)
        self._socket.sendto(packet, (self._interface, ETH_P_IPV6, 0, 0, multicast_mac(group)))


def parse_packet(packet: bytes, sender: str) -> Answer | RouterAdvertisement:
    """What an IPv6 packet from this MAC carries. Raises Malformed of either kind."""
    if len(packet) < IPV6_HEADER.size + UDP_HEADER.size:
        raise Malformed(f"a packet of {len(packet)} octets")
    _, length, protocol, hop_limit, source, _ = IPV6_HEADER.unpack_from(packet)
    payload = packet[IPV6_HEADER.size : IPV6_HEADER.size + length]
    if protocol == socket.IPPROTO_ICMPV6:
        return router_advertisement.decode(payload, IPv6Address(source), hop_limit, sender)
    if protocol != socket.IPPROTO_UDP or len(payload) < UDP_HEADER.size:
        raise Malformed(f"a packet of protocol {protocol} with {len(payload)} octets")
    _, _, length, _ = UDP_HEADER.unpack_from(payload)
    return decode(payload[UDP_HEADER.size : length], sender)


def link_local(interface: str, mac: str) -> IPv6Address:
    """The link's own link-local address; the one that the kernel makes of the MAC while there is none."""
    for line in ADDRESSES.read_text(encoding="ascii").splitlines() if ADDRESSES.exists() else ():
        address, _, _, scope, flags, name = line.split()
        if name == interface and int(scope, 16) == LINK_SCOPE and not int(flags, 16) & NOT_READY:
            return IPv6Address(bytes.fromhex(address))
    return eui64(LINK_LOCAL, mac)
