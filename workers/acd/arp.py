"""The ARP packets of RFC 5227: sends probes and announcements, and hears the claims of others.

Must not know what follows from a conflict.
"""

import socket
import struct
from ipaddress import IPv4Address

from workers.system.packet_filter import JUMP_EQUAL, LOAD, LOAD_HALF, RETURN, Instruction, filtered_socket

ETH_P_ARP = 0x0806
ETH_P_IP = 0x0800
BROADCAST_MAC = b"\xff" * 6
REQUEST = 1
ARP = struct.Struct("!HHBBH6s4s6s4s")
NOBODY = IPv4Address(0)
MAX_CLAIMS = 64  # read at a time: a sender that is faster than we are must not keep us from other work
# Offsets in an ARP packet.
SENDER_MAC, SENDER_IP = 8, 14


class ArpWatch:
    """Hears other machines claim `address` on `interface`; `fileno` is readable when one does.

    The filter is in the kernel, so that the LAN's other ARP traffic does not wake the worker. With `twins` a machine
    that has our MAC as well is heard, too: what this link sends itself does not come to the socket.
    """

    def __init__(self, interface: str, mac: str, address: IPv4Address, *, twins: bool = False) -> None:
        """Raises OSError."""
        self.address = address
        self._interface = interface
        self._mac = bytes.fromhex(mac.replace(":", ""))
        claims = _claims(address) if twins else _claims_of_others(self._mac, address)
        self._socket = filtered_socket(interface, ETH_P_ARP, claims)

    def fileno(self) -> int:
        """The descriptor."""
        return self._socket.fileno()

    def close(self) -> None:
        """Takes some 15 ms, as for every packet socket."""
        self._socket.close()

    def probe(self) -> None:
        """Sends a probe, which does not claim the address (section 2.1.1). Raises OSError."""
        packet = _packet(self._mac, NOBODY, self.address)
        self._socket.sendto(packet, (self._interface, ETH_P_ARP, 0, 0, BROADCAST_MAC))

    def claims(self) -> list[str]:
        """The MACs that have claimed the address since the last call; of a flood only some."""
        found: list[str] = []
        failures = 0
        while failures < 2 and len(found) < MAX_CLAIMS:
            try:
                packet = self._socket.recv(ARP.size)
            except BlockingIOError:
                break
            except OSError:
                failures += 1  # a link that goes causes one error, which comes before the packets that it had received
            else:
                found.append(packet[SENDER_MAC : SENDER_MAC + 6].hex(":"))
        return found


def announce(interface: str, mac: str, address: IPv4Address) -> None:
    """Sends one ARP Announcement (section 2.3), which updates the neighbours' caches. Raises OSError."""
    # Protocol 0 receives nothing: closing such a socket does not make the kernel wait out a grace period.
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, 0) as packet_socket:
        packet = _packet(bytes.fromhex(mac.replace(":", "")), address, address)
        packet_socket.sendto(packet, (interface, ETH_P_ARP, 0, 0, BROADCAST_MAC))


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
