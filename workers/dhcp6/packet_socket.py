"""A packet socket that sees the DHCPv6 messages to the client's port of one interface, and router advertisements.

It works before the link has an address, passes every firewall, and needs no port that another process may hold. Servers
answer to the link-local address, and ask first who has it: the socket tells them, because the kernel does so only when
it has made sure for a second or two that nobody else has it. At the close of such a socket the kernel waits out a grace
period of some 15 ms.
"""

import socket
import struct
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path

from workers.acd.solicitation import (
    HOPS,
    NEXT_HEADER,
    SOLICITATION,
    SOURCE_LINK_ADDRESS,
    TARGET,
    TYPE,
    answer,
    solicited_node,
    target_is,
)
from workers.contract.exchange import CLIENT_PORT6, SERVER_PORT6, Kind6, note, packed
from workers.contract.lease import Family
from workers.dhcp.errors import Malformed
from workers.dhcp6 import router_advertisement
from workers.dhcp6.codec import Answer, decode, noted
from workers.dhcp6.router_advertisement import HOP_LIMIT, RouterAdvertisement, eui64
from workers.system import packet_filter as bpf
from workers.system.ip_packet import ALL_NODES, ALL_ROUTERS, ETH_P_IPV6, IPV6_HEADER, ipv6_packet, multicast_mac

SERVERS = IPv6Address("ff02::1:2")  # all servers and relay agents of the link
LINK_LOCAL = IPv6Network("fe80::/64")
UDP_HEADER = struct.Struct("!HHHH")
ROUTER_SOLICITATION = 133
ADDRESSES = Path("/proc/self/net/if_inet6")  # columns: address, index, prefix length, scope, flags, name
LINK_SCOPE, DUPLICATE = 0x20, 0x08
SOURCE, UDP_DESTINATION, MESSAGE = 8, 42, 48  # offsets in a packet


@dataclass(init=False, eq=False)
class PacketSocket6(bpf.FilteredSocket):
    """The DHCPv6 messages and router advertisements of one interface, whose MAC is `mac`."""

    _mac: str
    _address: IPv6Address

    def __init__(self, interface: str, mac: str) -> None:
        """Raises OSError."""
        self._mac = mac
        self._address = link_local(interface, mac)
        groups = [multicast_mac(group) for group in (ALL_NODES, solicited_node(self._address))]
        super().__init__(interface, ETH_P_IPV6, _filter(self._address, b""), groups)

    def send(self, payload: bytes) -> None:
        """Sends a DHCPv6 message to all servers of the link; from now on its answers are heard. Raises OSError."""
        bpf.attach(self._socket, _filter(self._address, payload[1:4]))
        datagram = UDP_HEADER.pack(CLIENT_PORT6, SERVER_PORT6, UDP_HEADER.size + len(payload), 0) + payload
        self._multicast(SERVERS, socket.IPPROTO_UDP, datagram, checksum_at=6)
        note(noted(payload, sent=True))

    def solicit_router(self) -> None:
        """Asks the routers for an advertisement (RFC 4861 section 4.1). Raises OSError."""
        option = SOURCE_LINK_ADDRESS + bytes.fromhex(self._mac.replace(":", ""))
        message = bytes([ROUTER_SOLICITATION]) + bytes(7) + option
        self._multicast(ALL_ROUTERS, socket.IPPROTO_ICMPV6, message, checksum_at=2)
        note(packed(Family.IPV6, ROUTER_SOLICITATION, sent=True))

    def receive(self) -> list[Answer | RouterAdvertisement]:
        """The messages of servers and routers since the last call, or some of a flood; drops all others.

        Raises OSError if the link is gone. Ignores checksums: a server on this host leaves them unfinished to its
        network card.
        """
        found: list[Answer | RouterAdvertisement] = []
        for packet, mac in self._packets():
            with suppress(Malformed):  # other packets on the wire do not concern us
                if _is_question(packet):
                    self._answer(packet, mac)
                else:
                    found.append(parse_packet(packet, mac.hex(":")))
        return found

    def _answer(self, packet: bytes, mac: bytes) -> None:
        asker = IPv6Address(packet[SOURCE : SOURCE + 16])
        if not asker.is_unspecified:  # that would be a machine that makes sure that nobody has the address
            self._send_to(mac, answer(self._address, self._mac, asker))

    def _multicast(self, group: IPv6Address, protocol: int, payload: bytes, *, checksum_at: int) -> None:
        packet = ipv6_packet(self._address, group, protocol, payload, checksum_at=checksum_at, hop_limit=HOP_LIMIT)
        self._send_to(multicast_mac(group), packet)


def parse_packet(packet: bytes, sender: str) -> Answer | RouterAdvertisement:
    """What an IPv6 packet from this MAC carries, which is noted. Raises Malformed."""
    if len(packet) < IPV6_HEADER.size + UDP_HEADER.size:
        raise Malformed(f"a packet of {len(packet)} octets")
    _, length, protocol, hop_limit, source, _ = IPV6_HEADER.unpack_from(packet)
    payload = packet[IPV6_HEADER.size : IPV6_HEADER.size + length]
    if protocol == socket.IPPROTO_ICMPV6:
        advertisement = router_advertisement.decode(payload, IPv6Address(source), hop_limit, sender)
        note(packed(Family.IPV6, router_advertisement.TYPE, address=advertisement.source))
        return advertisement
    if protocol != socket.IPPROTO_UDP or len(payload) < UDP_HEADER.size:
        raise Malformed(f"a packet of protocol {protocol} with {len(payload)} octets")
    _, _, length, _ = UDP_HEADER.unpack_from(payload)
    answer = decode(payload[UDP_HEADER.size : length], sender)
    note(noted(payload[UDP_HEADER.size : length]))
    return answer


def _is_question(packet: bytes) -> bool:
    """Whether it asks who has our address: of all solicitations the filter passes only those."""
    header = (packet[NEXT_HEADER], packet[HOPS], packet[TYPE]) if len(packet) >= TARGET + 16 else None
    return header == (socket.IPPROTO_ICMPV6, HOP_LIMIT, SOLICITATION)


def _filter(address: IPv6Address, xid: bytes) -> list[bpf.Instruction]:
    """Passes servers' answers with this transaction id, router advertisements and solicitations of `address`.

    None of them has extension headers. A flood of answers to other clients fills no queue that ours needs.
    """
    advertise, reply = (int.from_bytes(bytes([kind]) + xid) for kind in (Kind6.ADVERTISE, Kind6.REPLY))
    return [
        *((bpf.LOAD_BYTE, 0, 0, NEXT_HEADER), (bpf.JUMP_EQUAL, 0, 5, socket.IPPROTO_UDP)),
        *((bpf.LOAD_HALF, 0, 0, UDP_DESTINATION), (bpf.JUMP_EQUAL, 0, 16, CLIENT_PORT6)),
        *((bpf.LOAD, 0, 0, MESSAGE), (bpf.JUMP_EQUAL, 13, 0, advertise), (bpf.JUMP_EQUAL, 12, 13, reply)),
        (bpf.JUMP_EQUAL, 0, 12, socket.IPPROTO_ICMPV6),
        *(
            (bpf.LOAD_BYTE, 0, 0, TYPE),
            (bpf.JUMP_EQUAL, 9, 0, router_advertisement.TYPE),
            (bpf.JUMP_EQUAL, 0, 9, SOLICITATION),
        ),
        *target_is(address),
        (bpf.RETURN, 0, 0, bpf.ALL),
        (bpf.RETURN, 0, 0, 0),
    ]


def link_local(interface: str, mac: str) -> IPv6Address:
    """The link's own link-local address, be it tentative; while there is none, the one that is made of the MAC.

    An ipvlan has its parent's MAC, so the kernel makes another one for it, and gives it no frames to any other.
    """
    for line in ADDRESSES.read_text(encoding="ascii").splitlines() if ADDRESSES.exists() else ():
        address, _, _, scope, flags, name = line.split()
        if name == interface and int(scope, 16) == LINK_SCOPE and not int(flags, 16) & DUPLICATE:
            return IPv6Address(bytes.fromhex(address))
    return eui64(LINK_LOCAL, mac)
