"""Asks the LAN, twice a second, for each container that has to be there: who has the addresses leased to it?

It asks by ARP, and by neighbour solicitations (RFC 4861 section 4.3) for IPv6.
"""

import json
import select
import socket
import time
from collections import defaultdict
from ipaddress import IPv4Address, IPv6Address
from threading import Event, Thread

from tests.lab.dhcp import DhcpServer, message6_of, message_of
from tests.lab.lab import Lab
from tests.lab.network import LAN_BRIDGE, SERVER, SERVER6
from tests.soak.diary import Diary
from tests.soak.gaps import PROBE_SECONDS, heard4, heard6
from tests.soak.records import Probe
from workers.acd.arp import ARP, BROADCAST_MAC, ETH_P_ARP, ETH_P_IP, REQUEST
from workers.acd.solicitation import ADVERTISEMENT, HOP_LIMIT, MESSAGE, SOLICITATION, TARGET, TYPE, solicited_node
from workers.system.ip_packet import ETH_P_IPV6, ipv6_packet, multicast_mac
from workers.system.namespaces import open_namespace

REPLY = 2
SOURCE_LINK_ADDRESS = b"\x01\x01"  # an option's type, and its length in eight octets
PACKET = 2048
Address = IPv4Address | IPv6Address


class Leases:
    """Which address of each family the server has leased to each MAC, by its log as it grows."""

    def __init__(self, dhcp: DhcpServer) -> None:
        self._log = dhcp.log_file.open(errors="replace")
        self._addresses: dict[tuple[str, bool], Address | None] = {}
        self._rest = ""

    def read(self) -> None:
        """What has been written since."""
        *lines, self._rest = (self._rest + self._log.read()).split("\n")
        six = heard6(filter(None, map(message6_of, lines)))
        for ipv6, messages in ((False, heard4(filter(None, map(message_of, lines)))), (True, six)):
            self._addresses |= {(m.mac, ipv6): m.address for m in messages if m.kind == "ACK"}

    def of(self, mac: str, *, ipv6: bool) -> Address | None:
        """The last one that was granted."""
        return self._addresses.get((mac, ipv6))

    def close(self) -> None:
        """The log file."""
        self._log.close()


class Prober:
    """A thread of its own, with two sockets on the LAN; what it hears goes into the diary."""

    def __init__(self, lab: Lab, diary: Diary) -> None:
        (link,) = json.loads(lab.network.on_lan("ip", "-json", "link", "show", LAN_BRIDGE))
        self._mac = bytes.fromhex(link["address"].replace(":", ""))
        self._arp, self._neighbours = _socket_on(lab, ETH_P_ARP), _socket_on(lab, ETH_P_IPV6)
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
        self._arp.close()
        self._neighbours.close()
        self._leases.close()

    def _run(self) -> None:
        while not self._done.is_set():
            self._leases.read()
            asked = time.time()
            open_now = list(self._diary.open.values())
            places = [(p.container, v, self._leases.of(p.mac, ipv6=v)) for p in open_now for v in (False, True)]
            for _, _, address in places:
                if address is not None:
                    self._ask(address)
            answers = self._hear(asked + PROBE_SECONDS)
            self._diary.probes += [
                Probe(asked, name, address, frozenset(answers[address] if address else ()), ipv6)
                for name, ipv6, address in places
            ]

    def _ask(self, address: Address) -> None:
        if isinstance(address, IPv6Address):
            group = solicited_node(address)
            message = MESSAGE.pack(SOLICITATION, 0, 0, 0, address.packed) + SOURCE_LINK_ADDRESS + self._mac
            packet = ipv6_packet(SERVER6, group, socket.IPPROTO_ICMPV6, message, checksum_at=2, hop_limit=HOP_LIMIT)
            self._neighbours.sendto(packet, (LAN_BRIDGE, ETH_P_IPV6, 0, 0, multicast_mac(group)))
            return
        ours = (self._mac, SERVER.packed)
        packet = ARP.pack(1, ETH_P_IP, 6, 4, REQUEST, *ours, bytes(6), address.packed)
        self._arp.sendto(packet, (LAN_BRIDGE, ETH_P_ARP, 0, 0, BROADCAST_MAC))

    def _hear(self, until: float) -> dict[Address, set[str]]:
        """Who has answered for each address."""
        answers: dict[Address, set[str]] = defaultdict(set)
        while (left := until - time.time()) > 0:
            for one in select.select((self._arp, self._neighbours), (), (), left)[0]:
                packet, source = one.recvfrom(PACKET)
                if one is self._neighbours:
                    if len(packet) >= TARGET + 16 and packet[TYPE] == ADVERTISEMENT:
                        answers[IPv6Address(packet[TARGET : TARGET + 16])].add(source[4].hex(":"))
                    continue
                *_, kind, mac, address, target, _ip = ARP.unpack(packet[: ARP.size])
                if kind == REPLY and target == self._mac:
                    answers[IPv4Address(address)].add(mac.hex(":"))
        return answers


def _socket_on(lab: Lab, protocol: int) -> socket.socket:
    """A packet socket on the LAN; it stays there."""
    with open_namespace(f"/run/netns/{lab.network.lan}") as namespace, namespace.visit():
        made = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(protocol))
        made.bind((LAN_BRIDGE, protocol))
        return made
