"""A DHCP server that does what a test says: a function from each client's message to datagrams.

Owns the socket and the way back to the client. Runs in a thread whose socket is in the LAN's namespace.
"""

import os
import select
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address

from tests.lab.network import LAN, LAN_BRIDGE, SERVER
from tests.netns.process.wire import NOWHERE, Kind, Option, Packet
from workers.system.namespaces import open_namespace

CLIENT_PORT, SERVER_PORT = 68, 67
EVERYONE = "255.255.255.255"
RENEWAL_SECONDS = 0.02  # udhcpc begins to listen only after it has asked, and misses what comes within a millisecond
Behaviour = Callable[[Packet], Iterable[bytes]]


@dataclass(frozen=True, slots=True)
class Grant:
    """What a server has to give. `lease_time` is in seconds; `more` are other options by their codes, None for without.

    `relay` is what stands in giaddr.
    """

    address: IPv4Address = LAN[60]
    router: IPv4Address = SERVER
    lease_time: int = 120
    more: Mapping[int, bytes | None] = field(default_factory=dict)
    relay: IPv4Address = NOWHERE

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
        usual: dict[int, bytes] = {
            Option.LEASE_TIME: self.lease_time.to_bytes(4, "big"),
            Option.SUBNET_MASK: LAN.netmask.packed,
            Option.ROUTER: self.router.packed,
        }
        answer = _reply(packet, kind, self.address, usual)
        options = {code: value for code, value in ({**answer.options, **self.more}).items() if value is not None}
        return replace(answer, options=options, giaddr=self.relay)


def to_each_its_own(seconds: int, more: Mapping[int, bytes | None] | None = None) -> Behaviour:
    """Each client has an address of its own for so long."""
    grants: dict[str, Grant] = {}

    def answer(packet: Packet) -> list[bytes]:
        spare = Grant(LAN[60 + len(grants)], lease_time=seconds, more=more or {})
        return grants.setdefault(packet.chaddr, spare).answer(packet)

    return answer


def requested_address(packet: Packet) -> IPv4Address:
    """Of a REQUEST: option 50 while selecting, ciaddr while renewing (RFC 2131 section 4.3.2)."""
    requested = packet.options.get(Option.REQUESTED_ADDRESS)
    return packet.ciaddr if requested is None else IPv4Address(requested)


def refusal(packet: Packet, server: IPv4Address = SERVER) -> Packet:
    """A NAK."""
    return _reply(packet, Kind.NAK, NOWHERE, {Option.MESSAGE: b"wrong network", Option.SERVER_ID: server.packed})


def _reply(packet: Packet, kind: Kind, address: IPv4Address, options: dict[int, bytes]) -> Packet:
    common: dict[int, bytes] = {Option.MESSAGE_TYPE: bytes((kind,)), Option.SERVER_ID: SERVER.packed}
    ciaddr = NOWHERE if kind is Kind.NAK else packet.ciaddr
    return Packet(2, packet.xid, packet.chaddr, packet.flags, ciaddr, address, options=common | options)


def usual_way(packet: Packet) -> str:
    """To the client's address where it has one, else to everyone."""
    return str(packet.ciaddr) if packet.ciaddr != NOWHERE else EVERYONE


class ScriptedServer:
    """Answers each message by `behaviour`, to the address that `way` gives; a test may exchange both at any time."""

    def __init__(self, namespace: str, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.way: Callable[[Packet], str] = usual_way
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
            for datagram in self.behaviour(packet):
                if packet.ciaddr != NOWHERE:
                    time.sleep(RENEWAL_SECONDS)  # this server's own slowness, as real ones have it
                self._socket.sendto(datagram, (self.way(packet), CLIENT_PORT))

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
