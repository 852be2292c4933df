"""A DHCP server that does what a test says: a function from each client's message to datagrams.

Owns the socket and the way back to the client. Runs in a thread whose socket is in the LAN's namespace.
"""

import os
import select
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address

from tests.lab.network import LAN, LAN_BRIDGE, SERVER
from tests.netns.process.wire import NOWHERE, Kind, Option, Packet
from workers.netns import open_namespace

CLIENT_PORT, SERVER_PORT = 68, 67
Behaviour = Callable[[Packet], Iterable[bytes]]


@dataclass(frozen=True, slots=True)
class Grant:
    """What a server has to give. `lease_time` is in seconds; `more` are further options, by their codes."""

    address: IPv4Address = LAN[60]
    router: IPv4Address = SERVER
    lease_time: int = 120
    more: dict[int, bytes] = field(default_factory=dict)

    def answer(self, packet: Packet) -> list[bytes]:
        """As a well-behaved server would: OFFER to DISCOVER, ACK to REQUEST, NAK to one for another address."""
        match packet.kind:
            case Kind.DISCOVER:
                return [self.reply(packet, Kind.OFFER).encode()]
            case Kind.REQUEST if requested_address(packet) == self.address:
                return [self.reply(packet, Kind.ACK).encode()]
            case Kind.REQUEST:
                return [refusal(packet).encode()]
            case _:
                return []

    def reply(self, packet: Packet, kind: Kind) -> Packet:
        """An OFFER or an ACK."""
        options: dict[int, bytes] = {
            Option.LEASE_TIME: self.lease_time.to_bytes(4, "big"),
            Option.SUBNET_MASK: LAN.netmask.packed,
            Option.ROUTER: self.router.packed,
        }
        return _reply(packet, kind, self.address, options | self.more)


def requested_address(packet: Packet) -> IPv4Address:
    """Of a REQUEST: option 50 while selecting, ciaddr while renewing (RFC 2131 section 4.3.2)."""
    requested = packet.options.get(Option.REQUESTED_ADDRESS)
    return packet.ciaddr if requested is None else IPv4Address(requested)


def refusal(packet: Packet) -> Packet:
    """A NAK."""
    return _reply(packet, Kind.NAK, NOWHERE, {Option.MESSAGE: b"wrong network"})


def _reply(packet: Packet, kind: Kind, address: IPv4Address, options: dict[int, bytes]) -> Packet:
    common: dict[int, bytes] = {Option.MESSAGE_TYPE: bytes((kind,)), Option.SERVER_ID: SERVER.packed}
    ciaddr = NOWHERE if kind is Kind.NAK else packet.ciaddr
    return Packet(2, packet.xid, packet.chaddr, packet.flags, ciaddr, address, common | options)


class ScriptedServer:
    """Answers each message by `behaviour`, which a test may exchange at any time."""

    def __init__(self, namespace: str, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        with open_namespace(f"/run/netns/{namespace}") as lan, lan.visit():
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, LAN_BRIDGE.encode())
        self._socket.bind(("", SERVER_PORT))
        self._stop = os.eventfd(0)
        self._thread = threading.Thread(target=self._serve, name="scripted-dhcp")
        self._thread.start()

    def _serve(self) -> None:
        sources: list[socket.socket | int] = [self._socket, self._stop]
        while self._stop not in select.select(sources, [], [])[0]:
            packet = Packet.decode(self._socket.recv(65535))
            back = str(packet.ciaddr) if packet.ciaddr != NOWHERE else "255.255.255.255"
            for datagram in self.behaviour(packet):
                self._socket.sendto(datagram, (back, CLIENT_PORT))

    def close(self) -> None:
        """Returns when the server is gone."""
        os.eventfd_write(self._stop, 1)
        self._thread.join()
        self._socket.close()
        os.close(self._stop)


@contextmanager
def scripted_server(namespace: str, behaviour: Behaviour) -> Iterator[ScriptedServer]:
    """A server on the LAN of that namespace."""
    server = ScriptedServer(namespace, behaviour)
    try:
        yield server
    finally:
        server.close()
