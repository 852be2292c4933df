"""ARP: the packets of RFC 5227, by which we probe, announce and hear the claims of others, and the kernel's table.

Must not know what follows from a conflict.
"""

import socket
import struct
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from workers.acd.watch import Watch
from workers.system.packet_filter import DIRECT, JUMP_EQUAL, LOAD, LOAD_HALF, RETURN, Instruction

ETH_P_ARP = 0x0806
ETH_P_IP = 0x0800
BROADCAST_MAC = b"\xff" * 6
REQUEST = 1
ARP = struct.Struct("!HHBBH6s4s6s4s")
NOBODY = IPv4Address(0)
ARP_TABLE = Path("/proc/self/net/arp")  # arp(7)
# Offsets in an ARP packet.
SENDER_MAC, SENDER_IP = 8, 14


@dataclass(init=False, eq=False)
class ArpWatch(Watch):
    """Hears other machines claim `address` on `interface` (workers.acd.watch).

    With `twins` a machine that has our MAC as well is heard, too: what this link sends itself does not come to the
    socket. With `direct` only answers to a probe are heard, which neighbours send to us alone.
    """

    address: IPv4Address
    _mac: bytes

    def __init__(
        self, interface: str, mac: str, address: IPv4Address, *, twins: bool = False, direct: bool = False
    ) -> None:
        """Raises OSError."""
        self.address = address
        self._mac = bytes.fromhex(mac.replace(":", ""))
        claims = _claims(address) if twins else _claims_of_others(self._mac, address)
        super().__init__(interface, ETH_P_ARP, [*(DIRECT if direct else ()), *claims])

    def probe(self) -> None:
        """RFC 5227 section 2.1.1."""
        self._send_to(BROADCAST_MAC, _packet(self._mac, NOBODY, self.address))

    def _claimants(self, packet: bytes, mac: bytes) -> list[str]:
        return [packet[SENDER_MAC : SENDER_MAC + 6].hex(":")]


def announce(interface: str, mac: str, address: IPv4Address) -> None:
    """Sends one ARP Announcement (section 2.3), which updates the neighbours' caches. Raises OSError."""
    # Protocol 0 receives nothing: closing such a socket does not make the kernel wait out a grace period.
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, 0) as packet_socket:
        packet = _packet(bytes.fromhex(mac.replace(":", "")), address, address)
        packet_socket.sendto(packet, (interface, ETH_P_ARP, 0, 0, BROADCAST_MAC))


def macs_of(addresses: Collection[IPv4Address]) -> set[str]:
    """The MACs of those neighbours among `addresses` that the kernel of the present namespace has talked to."""
    wanted = {str(address) for address in addresses}
    rows = (line.split() for line in ARP_TABLE.read_text(encoding="ascii").splitlines()[1:])
    return {row[3] for row in rows if row[0] in wanted}


def _packet(mac: bytes, sender: IPv4Address, target: IPv4Address) -> bytes:
    return ARP.pack(1, ETH_P_IP, 6, 4, REQUEST, mac, sender.packed, bytes(6), target.packed)


def _claims(address: IPv4Address) -> list[Instruction]:
    """Passes packets whose sender has the address."""
    return [
        (LOAD, 0, 0, SENDER_IP),
        (JUMP_EQUAL, 0, 1, int(address)),
        (RETURN, 0, 0, ARP.size),
        (RETURN, 0, 0, 0),
    ]


def _claims_of_others(mac: bytes, address: IPv4Address) -> list[Instruction]:
    """Passes packets whose sender has the address and is not ourselves (a router may answer as us).

    A probe of another client (section 2.1.1) is no claim. As a rule the same server has offered the address to both
    clients, and grants it to one: if each took the other's probe for a claim, both would decline it.
    """
    return [
        (LOAD, 0, 0, SENDER_IP),
        (JUMP_EQUAL, 0, 5, int(address)),
        (LOAD, 0, 0, SENDER_MAC),
        (JUMP_EQUAL, 0, 2, int.from_bytes(mac[:4], "big")),
        (LOAD_HALF, 0, 0, SENDER_MAC + 4),
        (JUMP_EQUAL, 1, 0, int.from_bytes(mac[4:], "big")),
        (RETURN, 0, 0, ARP.size),
        (RETURN, 0, 0, 0),
    ]
