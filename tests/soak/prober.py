"""Asks the LAN by ARP, twice a second, for each container that has to be there: who has the address leased to it?"""

import json
import socket
import time
from collections import defaultdict
from ipaddress import IPv4Address
from threading import Event, Thread

from tests.lab.dhcp import DhcpServer, message_of
from tests.lab.lab import Lab
from tests.lab.network import LAN_BRIDGE, SERVER
from tests.soak.diary import Diary
from tests.soak.gaps import PROBE_SECONDS
from tests.soak.records import Probe
from workers.acd.arp import ARP, BROADCAST_MAC, ETH_P_ARP, ETH_P_IP, REQUEST
from workers.system.namespaces import open_namespace

REPLY = 2


class Leases:
    """Which address the server has leased to each MAC, by its log as it grows."""

    def __init__(self, dhcp: DhcpServer) -> None:
        self._log = dhcp.log_file.open(errors="replace")
        self._addresses: dict[str, IPv4Address | None] = {}
        self._rest = ""

    def read(self) -> None:
        """What has been written since."""
        *lines, self._rest = (self._rest + self._log.read()).split("\n")
        for message in filter(None, map(message_of, lines)):
            if message.kind == "ACK":
                self._addresses[message.mac] = message.address

    def of(self, mac: str) -> IPv4Address | None:
        """The last one that was granted."""
        return self._addresses.get(mac)

    def close(self) -> None:
        """The log file."""
        self._log.close()


class Prober:
    """A thread of its own, with a socket on the LAN; what it hears goes into the diary."""

    def __init__(self, lab: Lab, diary: Diary) -> None:
        (link,) = json.loads(lab.network.on_lan("ip", "-json", "link", "show", LAN_BRIDGE))
        self._mac = bytes.fromhex(link["address"].replace(":", ""))
        self._socket = _socket_on(lab)
        self._leases = Leases(lab.dhcp)
        self._diary = diary
        self._done = Event()
        self._thread = Thread(target=self._run, name="prober", daemon=True)

    def __enter__(self) -> "Prober":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        self._socket.close()
        self._leases.close()

    def _run(self) -> None:
        while not self._done.is_set():
            self._leases.read()
            asked = time.time()
            places = {p.container: self._leases.of(p.mac) for p in list(self._diary.open.values())}
            for address in filter(None, places.values()):
                self._ask(address)
            answers = self._hear(asked + PROBE_SECONDS)
            self._diary.probes += [
                Probe(asked, name, address, frozenset(answers[address] if address else ()))
                for name, address in places.items()
            ]

    def _ask(self, address: IPv4Address) -> None:
        ours = (self._mac, SERVER.packed)
        packet = ARP.pack(1, ETH_P_IP, 6, 4, REQUEST, *ours, bytes(6), address.packed)
        self._socket.sendto(packet, (LAN_BRIDGE, ETH_P_ARP, 0, 0, BROADCAST_MAC))

    def _hear(self, until: float) -> dict[IPv4Address, set[str]]:
        """Who has answered for each address."""
        answers: dict[IPv4Address, set[str]] = defaultdict(set)
        while (left := until - time.time()) > 0:
            self._socket.settimeout(left)
            try:
                packet = self._socket.recv(ARP.size)
            except TimeoutError:
                break
            *_, kind, mac, address, target, _ip = ARP.unpack(packet)
            if kind == REPLY and target == self._mac:
                answers[IPv4Address(address)].add(mac.hex(":"))
        return answers


def _socket_on(lab: Lab) -> socket.socket:
    """A packet socket on the LAN; it stays there."""
    with open_namespace(f"/run/netns/{lab.network.lan}") as namespace, namespace.visit():
        made = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ARP))
        made.bind((LAN_BRIDGE, ETH_P_ARP))
        return made
