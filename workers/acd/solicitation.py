"""Neighbour discovery (RFC 4861) for addresses that are not on the link: asks who has one, hears claims, and answers.

The kernel's own detection of duplicates takes a second, and works only for an address that is on the link. Must not
know what follows from a conflict.
"""

import socket
import struct
from dataclasses import dataclass
from ipaddress import IPv6Address

from workers.acd.watch import Watch
from workers.system.ip_packet import ALL_NODES, ETH_P_IPV6, ipv6_packet, multicast_mac
from workers.system.packet_filter import DIRECT, JUMP_EQUAL, LOAD, LOAD_BYTE, RETURN, Instruction

SOLICITATION, ADVERTISEMENT = 135, 136
MESSAGE = struct.Struct("!BBHI16s")  # type, code, checksum, flags, target
NOBODY = IPv6Address(0)
SOLICITED_NODE = IPv6Address("ff02::1:ff00:0")
SOLICITED, OVERRIDE = 0x40000000, 0x20000000
SOURCE_LINK_ADDRESS, TARGET_LINK_ADDRESS = b"\x01\x01", b"\x02\x01"  # an option's type, its length in eight octets
HOP_LIMIT = 255  # a packet from another link has less (RFC 4861 section 7.1.2)
# Offsets in a packet.
NEXT_HEADER, HOPS, TYPE, TARGET = 6, 7, 40, 48


@dataclass(init=False, eq=False)
class NeighbourWatch(Watch):
    """Hears other machines claim `address` on `interface` (workers.acd.watch).

    With `asker`, an address of the link, only answers to a probe are heard, which neighbours send to us alone then.
    """

    address: IPv6Address
    _mac: str
    _asker: IPv6Address | None

    def __init__(self, interface: str, mac: str, address: IPv6Address, asker: IPv6Address | None = None) -> None:
        """Raises OSError."""
        self.address, self._asker = address, asker
        self._mac = mac
        program = [*(DIRECT if asker else ()), *_claims(address)]
        super().__init__(interface, ETH_P_IPV6, program, [multicast_mac(ALL_NODES)])

    def probe(self) -> None:
        """RFC 4862 section 5.4.2; with an asker RFC 4861 section 7.2.2."""
        group = solicited_node(self.address)
        message = MESSAGE.pack(SOLICITATION, 0, 0, 0, self.address.packed)
        if self._asker:
            message += SOURCE_LINK_ADDRESS + bytes.fromhex(self._mac.replace(":", ""))
        sender = self._asker or NOBODY
        packet = ipv6_packet(sender, group, socket.IPPROTO_ICMPV6, message, checksum_at=2, hop_limit=HOP_LIMIT)
        self._send_to(multicast_mac(group), packet)

    def _claimants(self, packet: bytes, mac: bytes) -> list[str]:
        return [] if mac.hex(":") == self._mac else [mac.hex(":")]  # a switch may send us our own packets


def solicited_node(address: IPv6Address) -> IPv6Address:
    """The group of those that may have the address (RFC 4291 section 2.7.1)."""
    return SOLICITED_NODE + (int(address) & 0xFFFFFF)


def answer(address: IPv6Address, mac: str, asker: IPv6Address) -> bytes:
    """The packet that tells `asker` that the machine `mac` has the address (RFC 4861 section 7.2.4)."""
    option = TARGET_LINK_ADDRESS + bytes.fromhex(mac.replace(":", ""))
    message = MESSAGE.pack(ADVERTISEMENT, 0, 0, SOLICITED | OVERRIDE, address.packed) + option
    return ipv6_packet(address, asker, socket.IPPROTO_ICMPV6, message, checksum_at=2, hop_limit=HOP_LIMIT)


def _claims(address: IPv6Address) -> list[Instruction]:
    """Passes the advertisements of neighbours that have the address.

    The solicitation of another client that is about to use it is no claim, as with ARP: see workers.acd.arp.
    """
    return [
        *((LOAD_BYTE, 0, 0, NEXT_HEADER), (JUMP_EQUAL, 0, 13, socket.IPPROTO_ICMPV6)),
        *((LOAD_BYTE, 0, 0, HOPS), (JUMP_EQUAL, 0, 11, HOP_LIMIT)),
        *((LOAD_BYTE, 0, 0, TYPE), (JUMP_EQUAL, 0, 9, ADVERTISEMENT)),
        *target_is(address),
        (RETURN, 0, 0, 0xFFFF),
        (RETURN, 0, 0, 0),
    ]


def target_is(address: IPv6Address) -> list[Instruction]:
    """Goes on if the message is about the address; jumps over the next instruction if not."""
    words = [int.from_bytes(address.packed[i : i + 4]) for i in range(0, 16, 4)]
    pairs = [
        ((LOAD, 0, 0, TARGET + 4 * index), (JUMP_EQUAL, 0, 7 - 2 * index, word)) for index, word in enumerate(words)
    ]
    return [instruction for pair in pairs for instruction in pair]
