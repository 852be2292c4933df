"""IPv6 beside IPv4: a container's life with a DHCPv6 server, with a router only, and while a server is away."""

import re
from collections.abc import Iterator
from ipaddress import IPv6Address, IPv6Interface
from pathlib import Path

import pytest

from tests.lab.command import wait_until
from tests.lab.dhcp import DhcpServer, Ipv6Options, ServerOptions
from tests.lab.network import LAN6
from tests.netns.process.fakeengine import INTERFACE, Container
from tests.netns.process.rig import Rig

LEASE_SECONDS = 120
STATEFUL, SLAAC = ServerOptions(ipv6=Ipv6Options()), ServerOptions(ipv6=Ipv6Options(mode="ra-only"))
ONLY_IPV6 = ServerOptions(ipv6=Ipv6Options(), ipv4=False)


@pytest.fixture
def server(rig: Rig, tmp_path: Path) -> Iterator[DhcpServer]:
    """Not started yet; at the end all containers go before it."""
    rig.machine.serve_ipv6()
    server = DhcpServer(tmp_path / "dhcp", rig.machine.lan)
    yield server
    rig.clean()
    server.stop()


def lifetimes(container: Container, address: str) -> str:
    """Of an address on the container's interface, as `ip` writes it."""
    text = container.inside("ip", "-6", "addr", "show", "dev", INTERFACE, "to", address)
    return text.partition("valid_lft")[2]


def timeless(text: str) -> list[str]:
    """The lines without what is counted down."""
    return re.sub(r"expires \S+", "", text).splitlines()


def started(rig: Rig, **options: str) -> Container:
    """A container whose clients are in the sandbox."""
    container = rig.container(rig.network(**options))
    container.start()
    wait_until(lambda: container.view["phase"] == "joined", "the worker in the sandbox")
    return container


def test_whole_life(rig: Rig, server: DhcpServer) -> None:
    """One identity from the first packet to the release; address, lifetimes and router are the LAN's.

    The host has the same addresses and routes as before.
    """
    server.start(STATEFUL)
    host = ("ip", "-6", "-br", "addr"), ("ip", "-6", "route", "show", "default")
    wait_until(lambda: "ra" in rig.machine.on_host(*host[1]), "the host's own router")
    before = [timeless(rig.machine.on_host(*command)) for command in host]

    container = started(rig, ipv6="true")

    address = IPv6Interface(container.address6)
    assert address.network.prefixlen == 128
    assert address.ip in LAN6
    assert container.inet6 == [container.address6]  # no address of SLAAC beside it
    pattern = r"(\d+)sec preferred_lft (\d+)sec"  # the engine's address has none until the worker has seen it
    (both,) = wait_until(lambda: re.findall(pattern, lifetimes(container, container.address6)), "the lease's lifetimes")
    assert all(LEASE_SECONDS - 10 < int(seconds) <= LEASE_SECONDS for seconds in both)
    wait_until(lambda: "proto ra" in container.default_route6, "the router's advertisement")
    assert str(address.ip) in container.inside("ip", "-6", "route", "get", "2001:db8::1")  # as the source
    assert container.view6["address"] == container.address6
    assert [timeless(rig.machine.on_host(*command)) for command in host] == before
    container.leave()
    assert "RELEASE" in server.kinds6(container.duid)
    container.delete()
    kinds = server.kinds6(container.duid)
    assert (kinds.count("SOLICIT"), kinds.count("RELEASE")) == (1, 1)


def test_whole_life_on_a_card(rig: Rig, server: DhcpServer, card: str) -> None:
    """The same over a macvlan: the address and router of the LAN, nothing beside it, and one RELEASE of each family."""
    server.start(STATEFUL)

    container = started(rig, parent=card, ipv6="true")

    assert IPv6Interface(container.address6).ip in LAN6
    assert container.inet6 == [container.address6]
    wait_until(lambda: "proto ra" in container.default_route6, "the router's advertisement")
    container.leave()
    assert server.kinds6(container.duid).count("RELEASE") == 1
    assert server.kinds(container.mac).count("RELEASE") == 1
    container.delete()


def test_successor_renews(rig: Rig, server: DhcpServer) -> None:
    """A worker that takes over renews the lease at once, under the same identity, and solicits nothing."""
    server.start(STATEFUL)
    container = started(rig, ipv6="only")
    assert container.address == ""
    rig.restart_worker(container)
    wait_until(lambda: "RENEW" in server.kinds6(container.duid), "a RENEW")
    assert server.kinds6(container.duid).count("SOLICIT") == 1
    assert container.inet6 == [container.address6]


def test_server_that_comes_later(rig: Rig, server: DhcpServer) -> None:
    """The container starts with IPv4 while nobody speaks IPv6, and gets its IPv6 address when a server is there."""
    server.start()
    container = rig.container(rig.network(ipv6="true"))
    answer = container.create()
    assert (answer.status, container.address6) == (200, "")
    container.attach(container.join())
    wait_until(lambda: container.view["phase"] == "joined", "the worker in the sandbox")
    assert not container.view6
    server.restart(STATEFUL)
    wait_until(lambda: container.inet6, "an IPv6 address", 40)
    wait_until(lambda: container.view6.get("address") == container.inet6[0], "the address in the view")


def test_ipv4_server_that_comes_later(rig: Rig, server: DhcpServer) -> None:
    """The container starts with IPv6 while no server speaks IPv4, and gets its IPv4 address when one is there."""
    server.start(ONLY_IPV6)
    container = started(rig, ipv6="true")
    assert container.address == ""
    assert container.inet6 == [container.address6]
    server.restart(STATEFUL)
    wait_until(lambda: container.inet, "an IPv4 address", 40)
    wait_until(lambda: container.view["address"] == container.inet[0], "the address in the view")


def test_slaac(rig: Rig, server: DhcpServer) -> None:
    """The address is made of the MAC and the advertised prefix; its lifetimes are the advertisement's."""
    server.start(SLAAC)
    container = started(rig, ipv6="slaac")
    eui64 = IPv6Address(container.address6.partition("/")[0])
    assert eui64 in LAN6
    assert (int(eui64) >> 24) & 0xFFFF == 0xFFFE
    assert [IPv6Interface(one).ip for one in container.inet6] == [eui64]
    wait_until(lambda: "proto ra" in container.default_route6, "the router's advertisement")
    assert "forever" not in lifetimes(container, str(eui64))
    assert "SOLICIT" not in server.kinds6(container.duid)


@pytest.mark.parametrize(("advertised", "asks"), [(STATEFUL, True), (SLAAC, False)], ids=["M flag", "no flag"])
def test_auto(rig: Rig, server: DhcpServer, advertised: ServerOptions, asks: bool) -> None:
    """The router's advertisement decides whether the address comes from the server."""
    server.start(advertised)
    container = started(rig, ipv6="auto")
    assert IPv6Interface(container.address6).ip in LAN6
    assert ("SOLICIT" in server.kinds6(container.duid)) == asks
