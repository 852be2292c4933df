"""IPv6 beside IPv4: a container's life with a DHCPv6 server, with a router only, and while a server is away."""

import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv6Address, IPv6Interface
from pathlib import Path

import pytest

from tests.lab.command import run, wait_until
from tests.lab.dhcp import DhcpServer, ServerOptions
from tests.lab.network import LAN_BRIDGE
from tests.netns.process.fakeengine import INTERFACE, Container
from tests.netns.process.rig import Rig

ROUTER, POOL = IPv6Interface("fd00:77::1/64"), "fd00:77::1000,fd00:77::1fff,64"
LEASE_SECONDS = 120
STATEFUL = ("--enable-ra", f"--dhcp-range={POOL},{LEASE_SECONDS}")
SLAAC = ("--enable-ra", "--dhcp-range=fd00:77::,ra-only,64,1800")
Dual = Callable[..., DhcpServer]


@contextmanager
def router(rig: Rig, address: IPv6Interface = ROUTER) -> Iterator[None]:
    """The LAN's machine is a router with this address: its kernel learns the neighbours that solicit it."""
    lan = rig.machine.lan
    rig.machine.on_lan("sh", "-c", "echo 1 > /proc/sys/net/ipv6/conf/all/forwarding")
    run("ip", "-n", lan, "addr", "add", str(address), "dev", LAN_BRIDGE, "nodad")
    yield
    run("ip", "-n", lan, "addr", "del", str(address), "dev", LAN_BRIDGE)


@pytest.fixture
def serve(rig: Rig, tmp_path: Path) -> Iterator[Callable[..., DhcpServer]]:
    """Starts dnsmasq with these further arguments; at the end all containers go before it."""
    server = DhcpServer(tmp_path / "dhcp", rig.machine.lan)

    def start(*extra: str) -> DhcpServer:
        server.restart(ServerOptions(extra=extra))
        return server

    with router(rig):
        yield start
        rig.clean()
        server.stop()


def duid(container: Container) -> str:
    """As dnsmasq's log names it."""
    return f"00:03:00:01:{container.mac}"


def talk6(server: DhcpServer, container: Container) -> list[str]:
    """The kinds of the DHCPv6 messages of this client, in order."""
    return re.findall(rf"DHCP([A-Z]+)\(\S+\) (?:\S+ )?{duid(container)}", server.log())


def seen6(container: Container) -> str | None:
    """The address in the plugin's view of the endpoint."""
    view: dict[str, str] | None = container.view["ipv6"]
    return None if view is None else view["address"]


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
    wait_until(lambda: container.view["phase"] == "joined", "the worker in the sandbox", 10)
    return container


def restart_worker(rig: Rig, container: Container) -> None:
    """Kills the worker; its successor is in the sandbox at the end."""
    pid = container.view["worker_pid"]
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: container.view["worker_pid"] not in (None, pid), "the next worker", 10)
    before = rig.plugin.log.count("attached")
    wait_until(lambda: rig.plugin.log.count("attached") > before - 1, "its attachment", 10)


def test_whole_life(rig: Rig, serve: Dual) -> None:
    """One identity from the first packet to the release; address, lifetimes and router are the LAN's.

    The host has the same addresses and routes as before.
    """
    server = serve(*STATEFUL)
    host = ("ip", "-6", "-br", "addr"), ("ip", "-6", "route", "show", "default")
    wait_until(lambda: "ra" in rig.machine.on_host(*host[1]), "the host's own router", 10)
    before = [timeless(rig.machine.on_host(*command)) for command in host]

    container = started(rig, ipv6="true")

    address = IPv6Interface(container.address6)
    assert address.network.prefixlen == 128
    assert address.ip in ROUTER.network
    assert container.inet6 == [container.address6]  # no address of SLAAC beside it
    valid = re.search(r"(\d+)sec preferred_lft (\d+)sec", lifetimes(container, container.address6))
    assert valid is not None
    assert all(LEASE_SECONDS - 10 < int(seconds) <= LEASE_SECONDS for seconds in valid.groups())
    wait_until(lambda: "proto ra" in container.default_route6, "the router's advertisement", 10)
    assert str(address.ip) in container.inside("ip", "-6", "route", "get", "2001:db8::1")  # as the source
    assert seen6(container) == container.address6
    assert [timeless(rig.machine.on_host(*command)) for command in host] == before
    container.leave()
    assert "RELEASE" in talk6(server, container)
    container.delete()
    kinds = talk6(server, container)
    assert (kinds.count("SOLICIT"), kinds.count("RELEASE")) == (1, 1)


def test_whole_life_on_a_card(rig: Rig, card: str, serve: Dual) -> None:
    """The same over a macvlan: the address and router of the LAN, nothing beside it, and one RELEASE of each family."""
    server = serve(*STATEFUL)

    container = started(rig, parent=card, ipv6="true")

    assert IPv6Interface(container.address6).ip in ROUTER.network
    assert container.inet6 == [container.address6]
    wait_until(lambda: "proto ra" in container.default_route6, "the router's advertisement", 10)
    container.leave()
    assert talk6(server, container).count("RELEASE") == 1
    assert server.kinds(container.mac).count("RELEASE") == 1
    container.delete()


def test_successor_renews(rig: Rig, serve: Dual) -> None:
    """A worker that takes over renews the lease at once, under the same identity, and solicits nothing."""
    server = serve(*STATEFUL)
    container = started(rig, ipv6="only")
    assert container.address == ""
    restart_worker(rig, container)
    wait_until(lambda: "RENEW" in talk6(server, container), "a RENEW", 20)
    assert talk6(server, container).count("SOLICIT") == 1
    assert container.inet6 == [container.address6]


def test_server_that_comes_later(rig: Rig, serve: Dual) -> None:
    """The container starts with IPv4 while nobody speaks IPv6, and gets its IPv6 address when a server is there."""
    server = serve()
    container = rig.container(rig.network(ipv6="true"))
    answer = container.create()
    assert (answer.status, container.address6) == (200, "")
    container.attach(container.join())
    wait_until(lambda: container.view["phase"] == "joined", "the worker in the sandbox", 10)
    assert not seen6(container)
    server.restart(ServerOptions(extra=STATEFUL))
    wait_until(lambda: container.inet6, "an IPv6 address", 40)
    wait_until(lambda: seen6(container) == container.inet6[0], "the address in the view", 5)


def test_ipv4_server_that_comes_later(rig: Rig, serve: Dual) -> None:
    """The container starts with IPv6 while no server speaks IPv4, and gets its IPv4 address when one is there."""
    server = serve(*STATEFUL, "--dhcp-ignore=tag:!dhcpv6")
    container = started(rig, ipv6="true")
    assert container.address == ""
    assert container.inet6 == [container.address6]
    server.restart(ServerOptions(extra=STATEFUL))
    wait_until(lambda: container.inet, "an IPv4 address", 40)
    wait_until(lambda: container.view["address"] == container.inet[0], "the address in the view", 5)


def test_slaac(rig: Rig, serve: Dual) -> None:
    """The address is made of the MAC and the advertised prefix; its lifetimes are the advertisement's."""
    server = serve(*SLAAC)
    container = started(rig, ipv6="slaac")
    eui64 = IPv6Address(container.address6.partition("/")[0])
    assert eui64 in ROUTER.network
    assert (int(eui64) >> 24) & 0xFFFF == 0xFFFE
    assert [IPv6Interface(one).ip for one in container.inet6] == [eui64]
    wait_until(lambda: "proto ra" in container.default_route6, "the router's advertisement", 10)
    assert "forever" not in lifetimes(container, str(eui64))
    assert "SOLICIT" not in talk6(server, container)


@pytest.mark.parametrize(("advertised", "asks"), [(STATEFUL, True), (SLAAC, False)], ids=["M flag", "no flag"])
def test_auto(rig: Rig, serve: Dual, advertised: tuple[str, ...], asks: bool) -> None:
    """The router's advertisement decides whether the address comes from the server."""
    server = serve(*advertised)
    container = started(rig, ipv6="auto")
    assert IPv6Interface(container.address6).ip in ROUTER.network
    assert ("SOLICIT" in talk6(server, container)) == asks
