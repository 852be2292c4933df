"""What a renewal changes in a running container: in which order, and how soon after the server's packet."""

import re
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from tests.lab.command import run, wait_until
from tests.lab.network import LAN, LAN_BRIDGE, SERVER, inside
from tests.lab.process import spawn
from tests.netns.process.fakeengine import INTERFACE, Container
from tests.netns.process.rig import Rig, rig_in
from tests.netns.process.scripted import Grant, ScriptedServer, scripted_server
from tests.netns.process.wire import Kind, Option, Packet
from workers.system.namespaces import open_namespace

SECONDS = 2.0
USER_ADDRESS = f"{LAN[200]}/24"
USER_ROUTE = f"10.99.0.0/16 via {LAN[9]}"
ELSEWHERE, ROUTER = IPv4Address("10.66.0.5"), IPv4Address("10.66.0.1")
CLASSLESS = bytes.fromhex("10 0a14 c0a84d04  00 c0a84d05")  # 10.20.0.0/16 via .4, the default route via .5 (RFC 3442)
CLASSFUL = bytes.fromhex("0a1e0001 c0a84d04")  # 10.30.0.1 via .4
ETH_P_ALL = 0x0003
SO_TIMESTAMPNS = 35
TIMESPEC = struct.Struct("qq")


@dataclass(frozen=True, slots=True)
class Change:
    """What the server grants from now on, and what `ip` says then."""

    grant: Grant
    address: str = f"{LAN[60]}/24"
    routes: tuple[str, ...] = (f"default via {SERVER} ",)
    mtu: int = 1500


CHANGES = {
    "address": Change(Grant(LAN[61]), f"{LAN[61]}/24"),
    "subnet": Change(
        Grant(ELSEWHERE, ROUTER, more={Option.SUBNET_MASK: b"\xff\xff\0\0"}),
        f"{ELSEWHERE}/16",
        (f"default via {ROUTER} ", f"10.66.0.0/16 dev {INTERFACE}"),
    ),
    "gateway": Change(Grant(router=LAN[3]), routes=(f"default via {LAN[3]} ",)),
    "option 121": Change(
        Grant(more={Option.CLASSLESS_ROUTES: CLASSLESS}),
        routes=(f"default via {LAN[5]} ", f"10.20.0.0/16 via {LAN[4]} "),
    ),
    "option 249": Change(
        Grant(more={Option.MICROSOFT_ROUTES: CLASSLESS}),
        routes=(f"default via {LAN[5]} ", f"10.20.0.0/16 via {LAN[4]} "),
    ),
    "option 33": Change(
        Grant(more={Option.STATIC_ROUTES: CLASSFUL}), routes=(f"default via {SERVER} ", f"10.30.0.1 via {LAN[4]} ")
    ),
    "MTU": Change(Grant(more={Option.MTU: b"\x05\x14"}), mtu=1300),
}


@pytest.fixture(name="shared", scope="module")
def _shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Rig, ScriptedServer]]:
    with rig_in(tmp_path_factory.mktemp("changes")) as rig, scripted_server(rig.machine.lan, lambda _: []) as server:
        run("ip", "-n", rig.machine.lan, "addr", "add", f"{ROUTER}/16", "dev", LAN_BRIDGE)  # the way back to the server
        yield rig, server


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_change(shared: tuple[Rig, ScriptedServer], change: Change, tmp_path: Path) -> None:
    """All is in the kernel soon after the ACK, the user's own stays, and the link has an address all the time."""
    rig, server = shared
    server.behaviour = Grant().answer
    try:
        container = rig.joined()
        container.inside("ip", "addr", "add", USER_ADDRESS, "dev", INTERFACE)
        container.inside("ip", "route", "add", *USER_ROUTE.split())
        with Monitor(container, tmp_path) as monitor, LanTap(rig) as tap:
            server.behaviour = lambda packet: [change.grant.reply(packet, Kind.ACK).encode()]
            rig.renew(container)

            assert sorted(container.inet) == sorted([change.address, USER_ADDRESS])
            table = container.inside("ip", "-4", "route")
            assert all(route in table for route in (*change.routes, USER_ROUTE)), table
            assert f" mtu {change.mtu} " in container.inside("ip", "link", "show", "dev", INTERFACE)
            late = max(monitor.events())[0] - tap.last_ack()
            print(f"the kernel's last change came {late * 1000:.0f} ms after the ACK")
            assert 0 < late < SECONDS
            if change.address != container.address:
                assert_moved(rig, container, change, monitor, tap)
    finally:
        rig.clean()


def assert_moved(rig: Rig, container: Container, change: Change, monitor: "Monitor", tap: "LanTap") -> None:
    """The new address was there before the old one went, and was announced; the log says what docker does not know."""
    texts = [text for _, text in monitor.events()]
    added = next(i for i, text in enumerate(texts) if f"inet {change.address} " in text)
    removed = next(i for i, text in enumerate(texts) if text.startswith("Deleted") and container.address in text)
    assert added < removed
    assert (container.mac, change.address.partition("/")[0]) in tap.announcements()
    assert f"address changed from {container.address} to {change.address}; docker inspect shows" in rig.plugin.log


class Monitor:
    """What the kernel says of a container's addresses, routes and links, and when, in Unix seconds."""

    def __init__(self, container: Container, directory: Path) -> None:
        self._container = container
        self._file = directory / "monitor"

    def __enter__(self) -> "Monitor":
        command = ["ip", "-ts", "-o", "-4", "monitor", "address", "route", "link"]
        self._process = spawn(inside(self._container.sandbox, *command), self._file)
        # It does not say when it listens.
        wait_until(self._listens, "the kernel's word")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stop()

    def events(self) -> list[tuple[float, str]]:
        """In their order, but for those of the loopback."""
        found = re.findall(r"^\[(\S+)\] ?(.*)$", self._file.read_text(), re.MULTILINE)
        return [(datetime.fromisoformat(stamp).timestamp(), text) for stamp, text in found if "lo" not in text.split()]

    def _listens(self) -> bool:
        for verb in ("add", "del"):
            self._container.inside("ip", "addr", verb, "127.0.0.9/32", "dev", "lo")
        return "127.0.0.9" in self._file.read_text()


class LanTap:
    """All frames on the LAN's side, with the kernel's own stamps."""

    def __init__(self, rig: Rig) -> None:
        with open_namespace(f"/run/netns/{rig.machine.lan}") as lan, lan.visit():
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self._socket.bind((LAN_BRIDGE, ETH_P_ALL))
        self._socket.setblocking(False)
        self._frames: list[tuple[float, bytes]] = []

    def __enter__(self) -> "LanTap":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def last_ack(self) -> float:
        """When the server sent the one that counts: BusyBox misses an answer that comes too early. In Unix seconds."""
        return max(at for at, frame in self._read() if is_ack(frame))

    def announcements(self) -> set[tuple[str, str]]:
        """MAC and address of each ARP packet with which somebody announced itself (RFC 5227 section 3)."""
        arp = [frame for _, frame in self._read() if frame[12:14] == b"\x08\x06"]
        return {(f[22:28].hex(":"), str(IPv4Address(f[28:32]))) for f in arp if f[28:32] == f[38:42]}

    def _read(self) -> list[tuple[float, bytes]]:
        while True:
            try:
                frame, (control, *_), _, _ = self._socket.recvmsg(65535, 64)
            except BlockingIOError:
                return self._frames
            seconds, nanoseconds = TIMESPEC.unpack(control[2])
            self._frames.append((seconds + nanoseconds / 1e9, frame))


def is_ack(frame: bytes) -> bool:
    """An IP packet without options from a server's port, with an ACK in it."""
    from_server = frame[12:14] == b"\x08\x00" and frame[23] == socket.IPPROTO_UDP and frame[34:36] == b"\0\x43"
    return from_server and Packet.decode(frame[42:]).kind is Kind.ACK
