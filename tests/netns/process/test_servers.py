"""Servers of every kind, each before the real worker and the real udhcpc: one row for what one does differently.

Judged in the kernel's tables and in a capture.
"""

import os
import signal
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address

import psutil
import pytest

from tests.lab.command import run, wait_until
from tests.lab.network import BRIDGE, LAN, LAN_BRIDGE, SERVER
from tests.netns.process.fakeengine import Container
from tests.netns.process.rig import Rig, rig_in
from tests.netns.process.scripted import Grant, ScriptedServer, scripted_server, usual_way
from tests.netns.process.servers import BEYOND, CASES, OTHER, USUAL, USUAL_ADDRESS, Case, overtaken
from tests.netns.process.wire import ETH_P_IP, NOWHERE, Kind, Option
from workers.system.namespaces import open_namespace

MAC = "02:42:ac:11:00:42"
SHORT_SECONDS = 5
T1, T2 = 3, 6  # seconds, of a lease of minutes
EVERYWHERE = IPv4Address("255.255.255.255")


@pytest.fixture(name="shared", scope="module")
def _shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Rig, ScriptedServer]]:
    """One plugin for all rows; its leaks are looked for at the end."""
    with rig_in(tmp_path_factory.mktemp("servers")) as rig:
        lan = rig.machine.lan
        for address in (f"{OTHER}/{LAN.prefixlen}", f"{BEYOND}/32"):
            run("ip", "-n", lan, "addr", "add", address, "dev", LAN_BRIDGE)
        # A server that answers by unicast knows the client's address before it can ask for it.
        run("ip", "-n", lan, "neigh", "replace", str(USUAL.address), "lladdr", MAC, "dev", LAN_BRIDGE)
        with scripted_server(lan, lambda _: []) as server:
            yield rig, server


@pytest.mark.parametrize("client", ["udhcpc", "native"])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_server(shared: tuple[Rig, ScriptedServer], case: Case, client: str) -> None:
    """The container has what was granted, keeps it over a renewal, and gives it back; or fails and says why."""
    rig, server = shared
    server.behaviour, server.way = case.script(), case.way
    container = known(rig, lease_timeout="2s" if case.error else "6s", client=client)
    try:
        if case.error:
            assert case.error in container.create().error
        else:
            live(rig, container, case)
    finally:
        rig.clean()


def known(rig: Rig, **options: str) -> Container:
    """A container with the MAC that the LAN knows."""
    container = rig.container(rig.network(**options))
    container.mac = MAC
    return container


def bind(rig: Rig, container: Container) -> None:
    """Its udhcpc has confirmed the lease."""
    container.start()
    rig.wait_for_bound(container)


def live(rig: Rig, container: Container, case: Case) -> None:
    """From the start to the stop."""
    before = len(rig.capture.frames())
    bind(rig, container)
    rig.renew(container)

    assert container.inet == [case.address]
    assert container.default_route.split()[:3] == (["default", "via", case.gateway] if case.gateway else [])
    table = container.inside("ip", "-4", "route").splitlines()
    assert [line.strip().partition(" dev")[0] for line in table if line.startswith("10.2")] == [*case.routes]
    view = container.view
    assert (view["lease_seconds"], view["server"], view["lease_state"]) == (case.lease_seconds, case.server, "bound")
    container.stop()
    (release,) = [f for f in rig.capture.frames()[before:] if f.packet.kind is Kind.RELEASE]
    assert (str(release.source), str(release.destination)) == (container.address.partition("/")[0], case.server)


def test_short_lease(shared: tuple[Rig, ScriptedServer]) -> None:
    """A lease of 5 s, which udhcpc would take for a longer one, is renewed before its end, again and again."""
    rig, server = shared
    server.behaviour, server.way = Grant(lease_time=SHORT_SECONDS).answer, usual_way
    container = known(rig)
    try:
        bind(rig, container)
        before, frames = rig.confirmations(container), len(rig.capture.frames())
        wait_until(lambda: rig.confirmations(container) >= before + 3, "renewals")

        assert {f.packet.kind for f in rig.capture.frames()[frames:]} == {Kind.REQUEST}
        assert container.view["udhcpc_pid"] is None
        assert "expired: " not in rig.plugin.log
        assert container.inet == [container.address]
    finally:
        rig.clean()


def test_native_client(shared: tuple[Rig, ScriptedServer]) -> None:
    """One DISCOVER, no further process, and the server's T1 and T2: unicast from T1 on, broadcast from T2 on."""
    rig, server = shared
    times: dict[int, bytes | None] = {58: bytes((0, 0, 0, T1)), 59: bytes((0, 0, 0, T2))}
    server.behaviour, server.way = Grant(more=times).answer, usual_way
    container, before, begun = known(rig, client="native"), len(rig.capture.frames()), time.monotonic()
    try:
        bind(rig, container)
        worker = psutil.Process(container.view["worker_pid"])
        wait_until(lambda: not worker.children(), "a worker that sleeps alone")
        assert container.view["udhcpc_pid"] is None
        rig.wait_for_frames(before + 3)
        assert time.monotonic() - begun > T1
        wait_until(lambda: rig.confirmations(container) == 2, "the answer to the renewal")

        server.behaviour = lambda _: []
        wait_until(lambda: rig.capture.frames()[-1].destination == EVERYWHERE, "the REQUEST to everyone")
        first, *others = rig.capture.frames()[before:]
        assert first.packet.kind is Kind.DISCOVER
        assert {frame.packet.kind for frame in others} == {Kind.REQUEST}
        assert [f.destination for f in others[1:3]] == [SERVER, SERVER]
    finally:
        rig.clean()


def test_renewal_with_what_is_no_lease(shared: tuple[Rig, ScriptedServer]) -> None:
    """An ACK that grants nothing leaves the container its address, and the server is asked again within seconds."""
    rig, server = shared
    server.behaviour, server.way = USUAL.answer, usual_way
    container = known(rig)
    try:
        bind(rig, container)
        before = rig.confirmations(container)
        server.behaviour = lambda packet: [replace(USUAL.reply(packet, Kind.ACK), yiaddr=NOWHERE).encode()]
        os.kill(container.view["udhcpc_pid"], signal.SIGUSR1)
        wait_until(lambda: "unusable answer: " in rig.plugin.log, "the complaint")
        assert container.inet == [USUAL_ADDRESS]

        server.behaviour = USUAL.answer
        wait_until(lambda: rig.confirmations(container) > before, "a lease")
        assert container.inet == [USUAL_ADDRESS]
    finally:
        rig.clean()


def test_server_that_overtakes(shared: tuple[Rig, ScriptedServer]) -> None:
    """Another server's answer to udhcpc changes nothing: its lease goes back, and the one Docker knows is renewed."""
    rig, server = shared
    server.behaviour, server.way = overtaken(), usual_way
    container, before = known(rig), len(rig.capture.frames())
    try:
        bind(rig, container)
        assert (container.inet, container.view["server"]) == ([USUAL_ADDRESS], str(SERVER))
        *_, release, renewal = rig.capture.frames()[before:]
        assert (release.packet.kind, release.packet.ciaddr) == (Kind.RELEASE, LAN[70])
        assert release.packet.options[Option.SERVER_ID] == OTHER.packed
        assert (renewal.packet.kind, renewal.source, renewal.destination) == (Kind.REQUEST, USUAL.address, SERVER)
    finally:
        rig.clean()


def test_unfinished_checksums(shared: tuple[Rig, ScriptedServer]) -> None:
    """A server on this host leaves its UDP checksums to a card that is not there: they are wrong, and do not count."""
    rig, server = shared
    server.behaviour, server.way = USUAL.answer, usual_way
    with open_namespace(f"/run/netns/{rig.machine.host}") as host, host.visit():
        wire = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
    with wire:
        wire.bind((BRIDGE, ETH_P_IP))
        container = known(rig)
        try:
            bind(rig, container)
            assert container.inet == [USUAL_ADDRESS]
        finally:
            rig.clean()
        wire.setblocking(False)
        from_server = [p for p in iter(lambda: received(wire), b"") if p[20:24] == bytes((0, 67, 0, 68))]
    assert from_server
    assert not any(checksum_holds(packet) for packet in from_server)


def received(wire: socket.socket) -> bytes:
    """The next IP packet, b"" when there is none."""
    try:
        return wire.recv(65535)
    except BlockingIOError:
        return b""


def checksum_holds(packet: bytes) -> bool:
    """Of an IP packet without options, with UDP in it (RFC 768)."""
    udp = packet[20:]
    data = packet[12:20] + bytes((0, 17)) + udp[4:6] + udp + bytes(len(udp) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    return int(total) % 0xFFFF == 0
