"""Machines of the LAN that flood containers with what DHCP servers and routers say: they cost no lease, no start, next
to no processor time and few lines. Containers on a bridge and on a card.
"""

import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv6Address
from pathlib import Path

import psutil
import pytest

from tests.lab.command import wait_until
from tests.lab.dhcp import DhcpServer, Ipv6Options, ServerOptions
from tests.lab.network import LAN6
from tests.lab.radvd import Advertised, Radvd
from tests.netns.process import wire6
from tests.netns.process.fakeengine import Container
from tests.netns.process.forgery import answers_of_strangers, claim, flood, mac_of, rogue_advertisements
from tests.netns.process.hurried import with_constants
from tests.netns.process.rig import Rig, rig_in
from tests.netns.process.scripted import scripted_server, to_each_its_own
from tests.netns.process.shared import Shared, shared
from tests.netns.process.test_forged_claims import spent
from tests.netns.process.wire import Kind, Option

FLOOD_SECONDS = 4
CPU_SHARE = 0.05  # of a processor, for all workers
LINES = 10  # that a flood may cause for each container
IMPATIENT = {f"workers.dhcp{version}.machine.TAKEOVER_WAIT_SECONDS": 1.0 for version in (4, 6)}
T1, T2, LEASE_SECONDS = 2, 4, 120
SHORT: dict[int, bytes | None] = {Option.RENEWAL_TIME: T1.to_bytes(4), Option.REBINDING_TIME: T2.to_bytes(4)}


@contextmanager
def cheap(rig: Rig, *containers: Container) -> Iterator[None]:
    """What happens meanwhile costs the containers' workers together little time, and the log few lines."""
    workers = [psutil.Process(container.view["worker_pid"]) for container in containers]
    before, begun = sum(map(spent, workers)), time.monotonic()
    lines = rig.plugin.log.count("\n")
    yield
    time.sleep(max(0.0, begun + FLOOD_SECONDS - time.monotonic()))  # the flood's duration
    assert sum(map(spent, workers)) - before < (time.monotonic() - begun) * CPU_SHARE
    assert rig.plugin.log.count("\n") - lines < LINES * len(containers)


@pytest.fixture(name="rigs", scope="module")
def _rigs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared[Rig]]:
    """With workers that ask a silent server each second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.netns.process.plugin.PROGRAM", with_constants(IMPATIENT))
        with shared(lambda: rig_in(tmp_path_factory.mktemp("rig"))) as rigs:
            yield rigs


@pytest.fixture(name="networks")
def _networks(rig: Rig, card: str) -> tuple[dict[str, str], ...]:
    """A network's options, on each kind of parent."""
    return {}, {"parent": card}


def test_answers(rig: Rig, networks: tuple[dict[str, str], ...]) -> None:
    """Leases are renewed, and a container starts, amid the answers of strangers, after a time in which no server
    answered."""
    answer = to_each_its_own(LEASE_SECONDS, SHORT)
    with scripted_server(rig.machine.lan, answer) as server:
        made = [rig.network(client="native", ignore_conflicts="true", **options) for options in networks]
        containers = [rig.joined(network) for network in made]
        macs = [container.mac for container in containers]
        server.behaviour = lambda _: []
        before = len(rig.capture.frames())
        for container in containers:
            rig.restart_worker(container)
        with flood(rig.machine, answers_of_strangers(*macs)), cheap(rig, *containers):
            for container in containers:
                wait_until(lambda c=container: rig.asked_all(c), "a question to all", 60)  # type: ignore[misc]
            confirmed = [rig.confirmations(container) for container in containers]
            server.behaviour = answer
            for container, times in zip(containers, confirmed, strict=True):
                wait_until(lambda c=container, n=times: rig.confirmations(c) > n, "a renewal", 60)  # type: ignore[misc]
            assert {f.packet.kind for f in rig.capture.frames()[before:]} == {Kind.REQUEST}
            started = rig.container(made[0])
            started.start()
        assert [container.inet for container in containers] == [[container.address] for container in containers]
        rig.clean()


def test_claims(rig: Rig, server: DhcpServer, networks: tuple[dict[str, str], ...]) -> None:
    """Containers keep the addresses that a crowd claims."""
    bridge, card = (rig.network(**options) for options in networks)
    containers = [rig.joined(network) for network in (bridge, bridge, card)]
    frames = [claim(container.ip, mac_of(number)) for number in range(100) for container in containers]
    with flood(rig.machine, frames), cheap(rig, *containers):
        pass
    for container in containers:
        assert container.inet == [container.address]
    assert not rig.capture.frames(kind=Kind.DECLINE)
    assert len(server.leases()) == len(containers)


def test_advertisements(rig: Rig, networks: tuple[dict[str, str], ...], tmp_path: Path) -> None:
    """An address that was made of the router's prefix stays the container's, whatever others advertise."""
    rig.machine.serve_ipv6()
    radvd = Radvd(tmp_path / "radvd", rig.machine.lan)
    radvd.start(Advertised(((str(LAN6), 7200, 3600),)))
    with scripted_server(rig.machine.lan, to_each_its_own(600)):
        containers = [rig.joined(rig.network(ipv6="slaac", ignore_conflicts="true", **o)) for o in networks]
        for container in containers:
            wait_until(lambda c=container: c.default_route6, "the router")  # type: ignore[misc]
        (router,) = {IPv6Address(c.default_route6.split()[2]) for c in containers}
        with flood(rig.machine, rogue_advertisements(router)), cheap(rig, *containers):
            pass
        for container in containers:
            assert container.ip6 in {IPv6Address(one.partition("/")[0]) for one in container.inet6}
            assert container.view6["address"].partition("/")[0] == str(container.ip6)
        rig.clean()
    radvd.stop()


def test_ipv6_leases(rig: Rig, networks: tuple[dict[str, str], ...], tmp_path: Path) -> None:
    """A leased IPv6 address is kept, and renewed, amid forged advertisements of routers and neighbours and the answers
    of strangers, after a time in which no server answered."""
    rig.machine.serve_ipv6()
    server, options = DhcpServer(tmp_path / "dhcp", rig.machine.lan), ServerOptions(ipv6=Ipv6Options())
    server.start(options)
    containers = [rig.joined(rig.network(ipv6="true", client="native", **o)) for o in networks]
    frames = rogue_advertisements(IPv6Address("fe80::1"), wire6.prefix(LAN6, 0xC0, 0, 0))
    for number, container in itertools.product(range(100), containers):
        frames.append(wire6.neighbour_advertisement(container.ip6, mac_of(number)))
        ids = [(int(wire6.Option.CLIENT_ID), bytes.fromhex(container.duid.replace(":", "")))]
        ids.append((int(wire6.Option.SERVER_ID), b"\0\3\0\1stranger"))
        answer = wire6.Packet(wire6.Kind.REPLY, number, [*ids, wire6.status(wire6.Code.NOT_ON_LINK)])
        frames.append(wire6.answer_frame(answer, container.mac))
    server.stop()
    heard = {container.duid: len(server.kinds6(container.duid)) for container in containers}
    for container in containers:
        rig.restart_worker(container)
    with flood(rig.machine, frames), cheap(rig, *containers):
        server.start(options)
        for duid, known in heard.items():
            wait_until(lambda d=duid, n=known: "REPLY" in server.kinds6(d)[n:], "a renewal", 60)  # type: ignore[misc]
    for container in containers:
        assert container.address6 in container.inet6
        assert {"DECLINE", "RELEASE", "REQUEST"}.isdisjoint(server.kinds6(container.duid)[heard[container.duid] :])
    rig.clean()
    wait_until(lambda: not (server.leases() or server.leases6()), "releases")
    server.stop()
