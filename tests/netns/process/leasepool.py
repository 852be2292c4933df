"""A DHCP server that remembers what it has leased out, and stops at the message that a test waits for."""

import threading
from collections.abc import Callable, Iterable
from ipaddress import IPv4Address

from tests.lab.network import LAN
from tests.netns.process.scripted import Grant
from tests.netns.process.wire import Kind, Packet

FIRST_HOST, HOSTS = 10, 200


class LeasePool:
    """A behaviour of a ScriptedServer: one address a client, leased from its ACK to its RELEASE.

    A `silent` one answers nothing, but hears.
    """

    def __init__(self) -> None:
        self.silent = False
        self.leases: dict[str, IPv4Address] = {}
        self._addresses: dict[str, IPv4Address] = {}
        self._traps: dict[Kind, threading.Event] = {}
        self._held: set[Kind] = set()
        self._before_answer: Callable[[], None] | None = None

    def trap(
        self, kind: Kind, *, hold: bool = False, before_answer: Callable[[], None] | None = None
    ) -> threading.Event:
        """Set by the next message of that kind, after `before_answer` was called. With `hold` none such is answered."""
        self._before_answer = before_answer
        self._traps[kind] = reached = threading.Event()
        if hold:
            self._held.add(kind)
        return reached

    def resume(self) -> None:
        """Answers again what was held."""
        self._held.clear()

    def __call__(self, packet: Packet) -> Iterable[bytes]:
        """The server's part."""
        kind, mac = packet.kind, packet.chaddr
        trap = self._traps.pop(kind, None)
        if trap is not None and self._before_answer is not None:
            self._before_answer()
        answers = self._answer(packet)
        if kind in (Kind.RELEASE, Kind.DECLINE):
            self.leases.pop(mac, None)
        if trap is not None:
            trap.set()
        return answers

    def _answer(self, packet: Packet) -> list[bytes]:
        if self.silent or packet.kind in self._held:
            return []
        mac = packet.chaddr
        address = self._addresses.setdefault(mac, LAN[FIRST_HOST + len(self._addresses) % HOSTS])
        answers = Grant(address).answer(packet)
        if packet.kind is Kind.REQUEST and Packet.decode(answers[0]).kind is Kind.ACK:
            self.leases[mac] = address
        return answers
