"""A dual-stack container in a real engine: Docker, the kernel and the DHCPv6 server agree on its address and routes."""

import os
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import IPv6Address
from signal import SIGKILL

import docker
import pytest

from tests.lab.command import CommandFailed, wait_until
from tests.lab.containers import Container
from tests.lab.dhcp import DhcpServer, Ipv6Options, ServerOptions
from tests.lab.images import BUSYBOX
from tests.lab.lab import Lab
from tests.lab.network import SERVER, SERVER6
from tests.lab.plugin import Plugin
from tests.netns.process.forgery import flood, mac_of
from tests.netns.process.wire6 import neighbour_advertisement
from tests.plugin.conftest import create_network
from tests.plugin.judge import duid_of, endpoint, renew
from tests.plugin.sandbox import Sandbox

pytestmark = pytest.mark.plugin

DUAL = "dual"
RESTARTS = 20
RIVAL = "a-rival"  # before DUAL in the alphabet
RIVAL_SUBNET6 = "fd00:99::/64"
KNOWS_PRIORITIES = 28  # the engine from this version on
CLAIMED_STARTS, CLAIMS_PER_SECOND = 20, 20
ADVERTISES, ADVERTISING_SECONDS = 28, 2.5  # the engine from this version on; it tells of failures only
ELSEWHERE = "2001:db8::1"


@pytest.fixture
def router(lab: Lab, dhcp: DhcpServer) -> None:
    """The LAN's machine is an IPv6 router as well, and leases addresses of both families."""
    lab.network.serve_ipv6()
    dhcp.restart(ServerOptions(ipv6=Ipv6Options()))


@pytest.fixture
def networked(plugin: Plugin, router: None, no_leaks: None) -> Iterator[None]:
    """There is a network with IPv6, on which a test may make a container `six`."""
    create_network(plugin, DUAL, "--opt", "ipv6=true")
    yield
    Container(plugin.docker, "six").remove()
    plugin.docker("network", "rm", DUAL)


@pytest.fixture
def container(plugin: Plugin, networked: None) -> Container:
    """On the network."""
    return Container.run(plugin.docker, "six", f"--network={DUAL}", "--hostname=six", image=BUSYBOX)


@pytest.fixture
def rival(plugin: Plugin) -> Iterator[str]:
    """A network of Docker's own."""
    plugin.docker("network", "create", RIVAL)
    yield RIVAL
    plugin.docker("network", "rm", RIVAL)


@pytest.fixture
def rival6(plugin: Plugin) -> Iterator[str]:
    """The same with both families."""
    plugin.docker("network", "create", "--ipv6", f"--subnet={RIVAL_SUBNET6}", RIVAL)
    yield RIVAL
    plugin.docker("network", "rm", RIVAL)


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
    container.exec("ping", "-6", "-c", "1", "-w", "5", str(SERVER6))
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
    assert lab.dhcp.kinds6(duid_of(mac)).count("RELEASE") == RESTARTS + 1
    assert lab.dhcp.kinds(mac).count("RELEASE") == RESTARTS + 1


def test_claimed_while_it_starts(networked: None, plugin: Plugin, lab: Lab) -> None:
    """If a neighbour claims the address after the plugin's answer, the container starts, and the server is told. Docker
    28 advertises that address, and would end the start if it had gone; then another one takes its place."""

    def started(mac: str) -> tuple[Container, str]:
        container = Container.run(plugin.docker, "six", f"--network={DUAL}", f"--mac-address={mac}", image=BUSYBOX)
        return container, address_of(container)

    for number in range(CLAIMED_STARTS):
        mac = f"02:42:ac:11:1e:{number:02x}"  # the server gives it one address, until that is declined
        container, address = started(mac)
        container.remove()
        claim = neighbour_advertisement(IPv6Address(address), mac_of(number))
        with flood(lab.network, [claim], CLAIMS_PER_SECOND):
            container, told = started(mac)
        declined = "DECLINE" in lab.dhcp.kinds6(duid_of(mac))
        if told == address and declined:
            break
        container.remove()  # the claim came before the answer, or too late
    else:
        raise AssertionError("no claim came while a container started")
    if plugin.docker.release >= ADVERTISES:
        time.sleep(ADVERTISING_SECONDS)
    wait_until(lambda: address not in inet6(container), "another address")

    assert len(inet6(container)) == 1
    assert "Failed to send unsolicited NA" not in lab.engine.log.read_text()


def default_routes(container: Container) -> tuple[str | None, str | None]:
    """The IPv4 gateway, and the source by which an IPv6 address elsewhere is reached; None where there is no route."""
    sandbox, source = Sandbox.of(container), None
    with suppress(CommandFailed):
        words = sandbox.run("ip", "-6", "route", "get", ELSEWHERE).split()
        source = words[words.index("src") + 1]
    return sandbox.gateway(), source


def renew_both(container: Container, plugin: Plugin, lab: Lab) -> None:
    """A renewal of each family; the one of IPv6 is the first thing that a successor of its worker does."""
    attachment = container.attachment(DUAL)
    renew(plugin, lab, attachment)
    duid = duid_of(attachment.mac)
    before = len(lab.dhcp.messages6(duid, "RENEW"))
    os.kill(endpoint(plugin, attachment)["worker_pid"], SIGKILL)
    wait_until(lambda: len(lab.dhcp.messages6(duid, "RENEW")) > before, "a renewal over IPv6")


def test_default_routes_of_another_network(rival6: str, container: Container, plugin: Plugin, lab: Lab) -> None:
    """Docker gives both to the network that comes first in the alphabet. No renewal and no router takes them back, and
    when that network has gone they are the LAN's again."""
    ours = (str(SERVER), address_of(container))
    wait_until(lambda: default_routes(container) == ours, "the router's advertisement")
    plugin.docker("network", "connect", rival6, container.name)
    attachment = container.attachment(rival6)
    theirs = (attachment.gateway, str(attachment.address6))
    assert default_routes(container) == theirs

    renew_both(container, plugin, lab)
    lab.dhcp.restart(ServerOptions(ipv6=Ipv6Options()))
    wait_until(lambda: "RTR-ADVERT" in lab.dhcp.log().rpartition("started, version")[2], "the router's next words")
    assert default_routes(container) == theirs

    plugin.docker("network", "disconnect", rival6, container.name)
    wait_until(lambda: default_routes(container) == ours, "the routes of before")


def test_priority(rival: str, networked: None, plugin: Plugin, lab: Lab) -> None:
    """Docker 28 gives the IPv4 default route to the network of the highest priority, older engines give it to the first
    one in the alphabet; renewals leave it there."""
    container = Container(plugin.docker, "six")
    plugin.docker("create", "--name", container.name, f"--network={rival}", BUSYBOX)
    api = docker.APIClient(base_url=f"unix://{lab.engine.socket}", version="auto")
    wish = {"Container": container.name, "EndpointConfig": {"GwPriority": 1}}
    path = f"v{api.api_version}/networks/{DUAL}/connect"  # this version of the SDK does not know the wish
    api.post(f"http+docker://localhost/{path}", json=wish).raise_for_status()
    container.start()
    knows = plugin.docker.release >= KNOWS_PRIORITIES
    expected = (str(SERVER) if knows else container.attachment(rival).gateway, address_of(container))
    wait_until(lambda: default_routes(container) == expected, "the router's advertisement")

    renew_both(container, plugin, lab)
    assert default_routes(container) == expected
