"""IPv6 among other machines of the LAN: routers that come, renumber and resign, squatters, forged advertisements."""

import socket
import time
from collections.abc import Iterator
from ipaddress import IPv6Address, IPv6Interface, IPv6Network
from pathlib import Path

import pytest

from tests.lab.command import run, wait_until
from tests.lab.dhcp import DhcpServer, Ipv6Options, ServerOptions
from tests.lab.network import LAN6, LAN_BRIDGE, inside
from tests.lab.radvd import Advertised, Radvd
from tests.netns.process.conftest import Squat
from tests.netns.process.fakeengine import INTERFACE, Container
from tests.netns.process.instances import history
from tests.netns.process.rig import Rig
from tests.netns.process.wire6 import neighbour_advertisement
from workers.endpoint.lease_manager6 import ENGINE_SECONDS
from workers.system.namespaces import open_namespace

MAC = "02:42:ac:11:00:77"
OTHER = IPv6Network("fd00:88::/64")
ADVERTISING_SECONDS = ENGINE_SECONDS / 2  # a look may take as long again on a busy machine
FORGER = bytes.fromhex("02bad0000001")


@pytest.fixture
def server(rig: Rig, tmp_path: Path) -> Iterator[DhcpServer]:
    """dnsmasq for both families; at the end it has each lease back."""
    rig.machine.serve_ipv6()
    server = DhcpServer(tmp_path / "dhcp", rig.machine.lan)
    server.start(ServerOptions(ipv6=Ipv6Options()))
    yield server
    rig.clean()
    wait_until(lambda: not (server.leases() or server.leases6()), "releases")
    server.stop()


@pytest.fixture
def radvd(rig: Rig, tmp_path: Path) -> Iterator[Radvd]:
    """The LAN's router, not started yet."""
    rig.machine.serve_ipv6()
    radvd = Radvd(tmp_path / "radvd", rig.machine.lan)
    yield radvd
    rig.clean()
    radvd.stop()


@pytest.fixture
def second(neighbour: str, tmp_path: Path) -> Iterator[Radvd]:
    """Another router, not started yet."""
    run(*inside(neighbour, "sysctl", "-qw", "net.ipv6.conf.all.forwarding=1"))
    radvd = Radvd(tmp_path / "second", neighbour, "eth0")
    yield radvd
    radvd.stop()


def started(rig: Rig, mac: str = "", **options: str) -> Container:
    """A container whose worker is in the sandbox."""
    container = rig.container(rig.network(**options))
    container.mac = mac
    container.start()
    wait_until(lambda: container.view["phase"] == "joined", "the worker in the sandbox")
    return container


def ip6_of(container: Container) -> set[IPv6Address]:
    """The addresses on its interface, but the link-local one."""
    return {IPv6Interface(one).ip for one in container.inet6}


def ip6_in_view(container: Container) -> IPv6Address:
    """The address that operators see."""
    return IPv6Interface(container.view6["address"]).ip


def routers(container: Container) -> set[str]:
    """Those of its default routes that the kernel has heard itself."""
    words = [line.split() for line in container.inside("ip", "-6", "route", "show", "default").splitlines()]
    return {word for line in words if "ra" in line for word in line if word.startswith("fe80:")}


def source_of(container: Container) -> IPv6Address:
    """The address that a connection into the world begins with."""
    words = container.inside("ip", "-6", "route", "get", "2001:db8::1").split()
    return IPv6Address(words[words.index("src") + 1])


def test_renumbered_by_the_router(rig: Rig, radvd: Radvd) -> None:
    """An advertisement deprecates the prefix and brings another: new connections begin with the new address, the view
    and the history say so, and the old address goes at its end."""
    radvd.start(Advertised(((str(LAN6), 9, 7),)))
    container = started(rig, ipv6="slaac")
    wait_until(lambda: routers(container), "the router")
    assert container.ip6 in LAN6
    radvd.kill()

    radvd.start(Advertised(((str(LAN6), 1, 0), (str(OTHER), 1800, 900))))
    wait_until(lambda: ip6_in_view(container) in OTHER, "another prefix in the view")

    wait_until(lambda: source_of(container) == ip6_in_view(container), "the end of the kernel's search for it")
    assert history(rig.directory, container)[-1] == "changed"
    wait_until(lambda: container.ip6 not in ip6_of(container), "the old address's end")
    assert ip6_of(container) == {ip6_in_view(container)}


@pytest.mark.parametrize("expired", ["keep", "drop"])
def test_router_that_dies(rig: Rig, radvd: Radvd, expired: str) -> None:
    """An address whose router is silent stays with `keep` and goes with `drop`. Another prefix takes its place."""
    radvd.start(Advertised(((str(LAN6), 8, 6),)))
    container = started(rig, ipv6="slaac", expired=expired)
    wait_until(lambda: ip6_of(container) == {container.ip6}, "the kernel's address")
    radvd.kill()

    wait_until(lambda: container.view6["lease_state"] == "expired", "the lease's end")
    wait_until(lambda: bool(ip6_of(container)) == (expired == "keep"), "what shall follow")
    radvd.start(Advertised(((str(OTHER), 1800, 900),)))
    wait_until(lambda: ip6_in_view(container) in OTHER, "another prefix in the view")
    wait_until(lambda: ip6_of(container) == {ip6_in_view(container)}, "no other address")


def test_routers(rig: Rig, radvd: Radvd, second: Radvd) -> None:
    """The default route follows the routers: a second one comes, the first one resigns, the second one stops."""
    radvd.start(Advertised(((str(LAN6), 1800, 900),)))
    container = started(rig, ipv6="slaac")
    wait_until(lambda: len(routers(container)) == 1, "a router")
    (first,) = routers(container)
    second.start(Advertised(preference="high"))
    wait_until(lambda: len(routers(container)) == 2, "another router")
    (other,) = routers(container) - {first}
    assert f"via {other}" in container.inside("ip", "-6", "route", "get", "2001:db8::1")

    radvd.restart(Advertised(((str(LAN6), 1800, 900),), lifetime=0))
    wait_until(lambda: routers(container) == {other}, "the end of the first router")
    radvd.restart(Advertised(((str(LAN6), 1800, 900),)))
    wait_until(lambda: first in routers(container), "its return")
    second.stop()
    wait_until(lambda: routers(container) == {first}, "the end of the second router")
    assert ip6_of(container) == {container.ip6}


def favourite(rig: Rig) -> IPv6Address:
    """What the server gives to `MAC` while the address is free."""
    container = rig.container(rig.network(ipv6="true"))
    container.mac = MAC
    assert container.create().status == 200
    container.delete()
    rig.clean()
    return container.ip6


@pytest.mark.parametrize("conflict", ["detect", "wait"])
def test_taken_address_is_declined(rig: Rig, server: DhcpServer, squat: Squat, conflict: str) -> None:
    """The server hears a DECLINE, and the container starts with another address of the pool."""
    taken = favourite(rig)
    squat(taken)
    container = started(rig, MAC, ipv6="true", conflict=conflict)

    assert container.ip6 != taken
    assert container.ip6 in LAN6
    assert server.kinds6(container.duid).count("DECLINE") == 1
    assert ip6_of(container) == {container.ip6}


def test_claim_that_comes_late(rig: Rig, server: DhcpServer, squat: Squat) -> None:
    """An answer after ours is mended in the sandbox: the container gets another address, the server is told. Docker 28,
    which advertises the address that it has set, finds it on the link."""
    container = rig.container(rig.network(ipv6="true"))
    assert container.create().status == 200
    joined = container.join()
    squat(container.ip6)
    begun = time.monotonic()
    container.attach(joined)
    while time.monotonic() < begun + ADVERTISING_SECONDS:
        assert container.ip6 in ip6_of(container)

    wait_until(lambda: container.view6.get("address") not in (None, container.address6), "another address")

    assert server.kinds6(container.duid).count("DECLINE") == 1
    assert ip6_of(container) == {ip6_in_view(container)}
    assert container.view["address"] == container.address  # the other family is not concerned


def test_neighbour_that_is_heard_in_the_sandbox(rig: Rig, card: str, server: DhcpServer, squat: Squat) -> None:
    """A macvlan waits for the engine without hearing anything, so the container asks the neighbours once more."""
    container = rig.container(rig.network(parent=card, ipv6="true"))
    assert container.create().status == 200
    joined = container.join()
    container.move(joined)
    squat(container.ip6)
    container.configure(joined)

    wait_until(lambda: container.view6.get("address") not in (None, container.address6), "another address")

    assert server.kinds6(container.duid).count("DECLINE") == 1
    assert container.view["address"] == container.address  # the other family is not concerned


def test_forged_advertisements(rig: Rig, server: DhcpServer) -> None:
    """Nobody takes an address that is in use away by saying that it has it."""
    container = started(rig, ipv6="true")
    with open_namespace(f"/run/netns/{rig.machine.lan}") as lan, lan.visit():
        packets = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    with packets:
        packets.bind((LAN_BRIDGE, 0))
        for _ in range(100):
            packets.send(neighbour_advertisement(container.ip6, FORGER))
    rig.restart_worker(container)
    wait_until(lambda: "RENEW" in server.kinds6(container.duid), "a renewal")

    wait_until(lambda: server.kinds6(container.duid)[-1] == "REPLY", "its answer")
    assert ip6_of(container) == {container.ip6}
    assert container.inside("ip", "-6", "addr", "show", "dadfailed") == ""
    assert {"DECLINE", "RELEASE"}.isdisjoint(server.kinds6(container.duid))
    assert server.kinds6(container.duid).count("SOLICIT") == 1


def test_link_down_and_up(rig: Rig, server: DhcpServer) -> None:
    """The kernel takes the addresses off a link that goes down: the leased one comes back, and a server confirms it."""
    container = started(rig, ipv6="true")
    wait_until(lambda: server.kinds(container.mac).count("ACK") == 2, "udhcpc, which starts when all else is done")
    container.inside("ip", "link", "set", INTERFACE, "down")
    assert not ip6_of(container)
    container.inside("ip", "link", "set", INTERFACE, "up")
    wait_until(lambda: ip6_of(container) == {container.ip6}, "the address")
    wait_until(lambda: "CONFIRM" in server.kinds6(container.duid), "a CONFIRM")
    wait_until(lambda: routers(container), "the router")
