"""Forged ARP claims of a running container's address, which any neighbour can send: the address stays (RFC 5227)."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import psutil
import pytest

from tests.lab.dhcp import DhcpServer
from tests.lab.network import LAN_BRIDGE
from tests.netns.process.fakeengine import Container
from tests.netns.process.forgery import ARP, ETH_P_ARP, REPLY, REQUEST, claim, claims_in_each_way, mac_of
from tests.netns.process.instances import history
from tests.netns.process.rig import Rig
from tests.netns.process.wire import Kind
from workers.system.namespaces import open_namespace

RENEWALS, CROWD = 5, 200
PER_SECOND, FLOOD_SECONDS = 1000, 12  # longer than the ten seconds between two defences
DEFEND_SECONDS = 10
CPU_SHARE = 0.1


@dataclass
class Forger:
    """A neighbour that says what it likes, and hears what is announced; `discovers` were sent before it began."""

    socket: socket.socket
    victim: Container
    discovers: int
    begun: float = field(default_factory=time.monotonic)

    def claim(self, mac: bytes, kind: int) -> None:
        """One packet about the victim's address."""
        self.socket.send(claim(self.victim.ip, mac, kind))

    def claim_in_each_way(self, mac: bytes) -> None:
        """Those of the victim's address."""
        for frame in claims_in_each_way(self.victim.ip, mac):
            self.socket.send(frame)

    def announcements(self) -> int:
        """How often the victim has announced its address since the last call."""
        ours, address = bytes.fromhex(self.victim.mac.replace(":", "")), self.victim.ip.packed
        heard = 0
        while True:
            try:
                packet = self.socket.recv(2048)
            except BlockingIOError:
                return heard
            *_, sender, claimed, _, target = ARP.unpack_from(packet)
            heard += (sender, claimed, target) == (ours, address, address)


@pytest.fixture(name="forger")
def _forger(rig: Rig, server: DhcpServer) -> Iterator[Forger]:
    with forging(rig, rig.joined()) as forger:
        yield forger


@contextmanager
def forging(rig: Rig, container: Container) -> Iterator[Forger]:
    """A forger for this victim."""
    with open_namespace(f"/run/netns/{rig.machine.lan}") as lan, lan.visit():
        packets = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    with packets:
        packets.bind((LAN_BRIDGE, ETH_P_ARP))
        packets.setblocking(False)
        yield Forger(packets, container, len(rig.capture.frames(kind=Kind.DISCOVER)))


def assert_kept(rig: Rig, forger: Forger) -> None:
    """The container has its address, the server was told nothing, and what was seen is one line."""
    container = forger.victim
    allowed = 1 + (time.monotonic() - forger.begun) / DEFEND_SECONDS
    assert container.inet == [container.address]
    assert not rig.capture.frames(kind=Kind.DECLINE)
    assert len(rig.capture.frames(kind=Kind.DISCOVER)) == forger.discovers
    assert rig.plugin.log.count("conflict: ") - rig.plugin.log.count("this ends the trouble: conflict: ") == 1
    assert history(rig.directory, container).count("conflict") == 1
    assert 1 <= forger.announcements() <= allowed


@pytest.mark.parametrize("crowd", [1, CROWD], ids=["one MAC", "many MACs"])
def test_claims_after_each_renewal(rig: Rig, forger: Forger, crowd: int) -> None:
    """Whoever claims the address right after a renewal does not get it, and is reported once."""
    for renewal in range(RENEWALS):
        rig.renew(forger.victim)
        for number in range(crowd):
            forger.claim_in_each_way(mac_of(renewal * crowd + number))
    rig.renew(forger.victim)

    assert_kept(rig, forger)


def test_claims_on_a_card(rig: Rig, server: DhcpServer, card: str) -> None:
    """The same holds for a container on a card."""
    with forging(rig, rig.joined(rig.network(parent=card))) as forger:
        rig.renew(forger.victim)
        for number in range(CROWD):
            forger.claim_in_each_way(mac_of(number))
        rig.renew(forger.victim)
        assert_kept(rig, forger)


@pytest.mark.parametrize("crowd", [1, CROWD], ids=["one MAC", "many MACs"])
def test_flood(rig: Rig, forger: Forger, crowd: int) -> None:
    """A thousand claims a second cost neither the address nor the processor."""
    worker = psutil.Process(forger.victim.view["worker_pid"])
    before, sent = spent(worker), 0
    while (elapsed := time.monotonic() - forger.begun) < FLOOD_SECONDS:
        while sent < elapsed * PER_SECOND:
            forger.claim(mac_of(sent % crowd), kind=REPLY if sent % 2 else REQUEST)
            sent += 1
        time.sleep(0.005)  # the pace is what is tested
    rig.renew(forger.victim)

    assert spent(worker) - before < FLOOD_SECONDS * CPU_SHARE
    assert_kept(rig, forger)


def spent(worker: psutil.Process) -> float:
    """The seconds of a processor that it has taken, with its children that have ended and those that have not.

    What a child has taken moves to the worker when it ends, so it is looked at until none ends meanwhile.
    """
    while True:
        before = worker.cpu_times()
        with suppress(psutil.NoSuchProcess):
            children = [child.cpu_times() for child in worker.children(recursive=True)]
            times = worker.cpu_times()
            ended = times.children_user + times.children_system
            if ended == before.children_user + before.children_system:
                return sum(t.user + t.system for t in (times, *children)) + ended
