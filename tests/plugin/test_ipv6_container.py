"""A dual-stack container in a real engine: Docker, the kernel and the DHCPv6 server agree on its address."""

import re
from collections.abc import Iterator
from ipaddress import IPv6Address

import pytest

from tests.lab.command import run as on_machine
from tests.lab.command import wait_until
from tests.lab.containers import Container
from tests.lab.dhcp import DhcpServer, ServerOptions
from tests.lab.images import BUSYBOX
from tests.lab.lab import Lab
from tests.lab.network import LAN_BRIDGE
from tests.lab.plugin import Plugin
from tests.plugin.conftest import create_network
from tests.plugin.sandbox import Sandbox

pytestmark = pytest.mark.plugin

DUAL = "dual"
ROUTER = "fd00:77::1"
RESTARTS = 20
STATEFUL = ("--enable-ra", "--dhcp-range=fd00:77::1000,fd00:77::1fff,64,120")


@pytest.fixture
def router(lab: Lab, dhcp: DhcpServer) -> Iterator[None]:
    """The LAN's machine is an IPv6 router as well, and leases addresses of both families."""
    lab.network.on_lan("sh", "-c", "echo 1 > /proc/sys/net/ipv6/conf/all/forwarding")
    on_machine("ip", "-n", lab.network.lan, "addr", "add", f"{ROUTER}/64", "dev", LAN_BRIDGE, "nodad")
    dhcp.restart(ServerOptions(extra=STATEFUL))
    yield
    on_machine("ip", "-n", lab.network.lan, "addr", "del", f"{ROUTER}/64", "dev", LAN_BRIDGE)


@pytest.fixture
def container(plugin: Plugin, router: None, no_leaks: None) -> Iterator[Container]:
    """On a network with IPv6."""
    create_network(plugin, DUAL, "--opt", "ipv6=true")
    container = Container(plugin.docker, "six")
    Container.run(plugin.docker, container.name, f"--network={DUAL}", "--hostname=six", image=BUSYBOX)
    yield container
    container.remove()
    plugin.docker("network", "rm", DUAL)


def address_of(container: Container) -> str:
    """As `docker inspect` shows it."""
    return str(container.inspect()["NetworkSettings"]["Networks"][DUAL]["GlobalIPv6Address"])


def inet6(container: Container) -> list[str]:
    """The container's addresses, except the link-local one."""
    text = Sandbox.of(container).run("ip", "-6", "-o", "addr", "show", "dev", "eth0", "scope", "global")
    return re.findall(r"inet6 ([0-9a-f:]+)/", text)


def test_container(container: Container, lab: Lab) -> None:
    """It has the leased address and no other one, reaches the router by it, and the server knows its name."""
    address = address_of(container)
    assert inet6(container) == [address]
    wait_until(lambda: "default via fe80:" in container.exec("ip", "-6", "route"), "the router's advertisement")
    container.exec("ping", "-6", "-c", "1", "-w", "5", ROUTER)
    mac = container.attachment(DUAL).mac
    assert re.search(rf"DHCPREPLY\(\S+\) {address} 00:03:00:01:{mac} six", lab.dhcp.log())


def test_restarts(container: Container, lab: Lab) -> None:
    """Twenty restarts: always the same two addresses, one release of each at each stop, and no other lease."""
    mac, ipv4, ipv6 = container.attachment(DUAL).mac, container.attachment(DUAL).address, address_of(container)
    for _ in range(RESTARTS):
        container.restart()
        assert (container.attachment(DUAL).address, address_of(container), inet6(container)) == (ipv4, ipv6, [ipv6])
    container.remove()
    log = lab.dhcp.log()
    given = {IPv6Address(a) for a in re.findall(rf"DHCPREPLY\(\S+\) ([0-9a-f:]+) 00:03:00:01:{mac}", log)}
    assert given == {IPv6Address(ipv6)}
    assert len(re.findall(rf"DHCPRELEASE\(\S+\) (?:\S+ )?00:03:00:01:{mac}", log)) == RESTARTS + 1
    assert len(lab.dhcp.messages(mac, "RELEASE")) == RESTARTS + 1
