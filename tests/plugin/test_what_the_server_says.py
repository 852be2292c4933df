"""What the server says reaches the container: addresses, gateways and routes, at the start and at each renewal."""

import os
import signal
from collections.abc import Iterator
from ipaddress import IPv4Address

import pytest

from tests.lab.command import wait_until
from tests.lab.containers import Container
from tests.lab.dhcp import DhcpServer, ServerOptions
from tests.lab.engine import Docker
from tests.lab.images import BUSYBOX
from tests.lab.lab import Lab
from tests.lab.network import BRIDGE, LAN, SERVER
from tests.lab.plugin import Plugin
from tests.plugin.conftest import NETWORK, Run, create_network
from tests.plugin.judge import assert_leased, assert_released, await_client, renew
from tests.plugin.sandbox import Sandbox

pytestmark = pytest.mark.plugin

ON_LINK: dict[str, str | None] = {str(LAN): None}
CLASSLESS = "--dhcp-option=121,10.20.0.0/16,192.168.77.4,0.0.0.0/0,192.168.77.5"
CLASSFUL = "--dhcp-option=33,10.30.0.1,192.168.77.4"


def test_gateway_that_changes(run: Run, plugin: Plugin, lab: Lab, network: str, dhcp: DhcpServer) -> None:
    """The default route follows at the next renewal, also away and back; a route of the user's own stays."""
    container = run()
    attachment = assert_leased(container, network, dhcp)
    sandbox = Sandbox.of(container)
    sandbox.run("ip", "route", "add", "10.50.0.0/16", "via", str(LAN[9]))
    assert sandbox.gateway() == str(SERVER)

    for router in (LAN[3], None, LAN[4]):
        dhcp.restart(ServerOptions(router=router))
        renew(plugin, lab, attachment)

        assert sandbox.gateway() == (str(router) if router else None)
        assert sandbox.routes() == {**ON_LINK, "10.50.0.0/16": str(LAN[9])}
        assert assert_leased(container, network, dhcp) == attachment


@pytest.fixture
def elsewhere(docker: Docker, network: str) -> Iterator[Container]:
    """A container whose default route is another network's: of two, the engine takes the alphabetically first."""
    docker("network", "create", "another")
    container = Container(docker, "elsewhere")
    docker("create", "--name", container.name, "--network=another", BUSYBOX)
    docker("network", "connect", network, container.name)
    container.start()
    yield container
    container.remove()
    docker("network", "rm", "another")


def test_default_route_of_another_network(
    elsewhere: Container, plugin: Plugin, lab: Lab, network: str, dhcp: DhcpServer
) -> None:
    """A gateway that changes on our network is no reason to take the default route from the network that has it."""
    attachment, gateway = assert_leased(elsewhere, network, dhcp), elsewhere.attachment("another").gateway
    sandbox = Sandbox.of(elsewhere)
    assert sandbox.gateway() == gateway

    dhcp.restart(ServerOptions(router=LAN[3]))
    renew(plugin, lab, attachment)

    assert sandbox.gateway() == gateway
    assert sandbox.addresses(attachment.mac) == [attachment.address]


@pytest.fixture
def third(docker: Docker, no_leaks: None) -> Iterator[str]:
    """A network that has the default route of each container that is connected to it."""
    docker("network", "create", "a-third")
    yield "a-third"
    docker("network", "rm", "a-third")


def test_gateway_that_docker_has_forgotten(third: str, run: Run, plugin: Plugin, lab: Lab, dhcp: DhcpServer) -> None:
    """Docker remembers the first gateway for ever: another network can take the default route over after a change
    nevertheless, and when it goes, the first gateway does not come back for longer than till the next renewal."""
    container = run()
    attachment, sandbox = assert_leased(container, NETWORK, dhcp), Sandbox.of(container)
    dhcp.restart(ServerOptions(router=LAN[3]))
    renew(plugin, lab, attachment)
    assert sandbox.gateway() == str(LAN[3])

    lab.engine.docker("network", "connect", third, container.name)
    renew(plugin, lab, attachment)
    assert sandbox.gateway() == container.attachment(third).gateway

    lab.engine.docker("network", "disconnect", third, container.name)
    renew(plugin, lab, attachment)
    assert sandbox.gateway() == str(LAN[3])


def test_lan_that_is_renumbered(run: Run, plugin: Plugin, network: str, dhcp: DhcpServer) -> None:
    """A refused renewal (DHCPNAK) ends in a new lease, which replaces the address in the running container."""
    container = run()
    attachment = assert_leased(container, network, dhcp)
    client = await_client(plugin, attachment)
    sandbox = Sandbox.of(container)

    dhcp.restart(ServerOptions(first=LAN[20], last=LAN[40]))
    os.kill(client, signal.SIGUSR1)

    wait_until(lambda: attachment.address not in sandbox.addresses(attachment.mac), "the former address's end")
    (address,) = wait_until(lambda: sandbox.addresses(attachment.mac), "the new address")
    assert LAN[20] <= address.ip <= LAN[40]
    assert dhcp.messages(attachment.mac, "NAK")
    assert sandbox.gateway() == str(SERVER)
    wait_until(lambda: f"changed from {attachment.address} to {address}" in "".join(plugin.log()), "the log line")
    container.remove()
    assert_released(dhcp, attachment.mac)


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        (CLASSLESS, (LAN[5], {"10.20.0.0/16": "192.168.77.4"})),  # RFC 3442: then the routers of option 3 do not count
        (CLASSFUL, (SERVER, {"10.30.0.1": "192.168.77.4"})),
    ],
)
@pytest.mark.usefixtures("dhcp")
def test_routes_from_the_server(
    run: Run, plugin: Plugin, lab: Lab, option: str, expected: tuple[IPv4Address, dict[str, str]]
) -> None:
    """Options 121 and 33 are in the container's table from the start, and go when the server takes them back."""
    gateway, routes = expected
    lab.dhcp.restart(ServerOptions(extra=(option,)))
    container = run()
    attachment, sandbox = assert_leased(container, NETWORK, lab.dhcp), Sandbox.of(container)
    assert sandbox.gateway() == str(gateway)
    assert sandbox.routes() == {**ON_LINK, **routes}

    lab.dhcp.restart()
    renew(plugin, lab, attachment)

    assert sandbox.gateway() == str(SERVER)
    assert sandbox.routes() == ON_LINK


def test_mtu_from_the_server(run: Run, plugin: Plugin, lab: Lab, dhcp: DhcpServer) -> None:
    """Option 26 is the interface's MTU from the start, and the bridge's comes back when the server takes it back."""
    dhcp.restart(ServerOptions(extra=("--dhcp-option=26,1400",)))
    container = run()
    attachment, sandbox = assert_leased(container, NETWORK, lab.dhcp), Sandbox.of(container)
    assert sandbox.mtu(attachment.mac) == 1400

    dhcp.restart()
    renew(plugin, lab, attachment)

    assert sandbox.mtu(attachment.mac) == 1500


@pytest.fixture
def static_route(lab: Lab) -> Iterator[dict[str, str]]:
    """One on the machine's bridge, as an administrator adds it."""
    lab.network.on_host("ip", "route", "add", "10.40.0.0/16", "via", str(LAN[9]), "dev", BRIDGE)
    yield {"10.40.0.0/16": str(LAN[9])}
    lab.network.on_host("ip", "route", "delete", "10.40.0.0/16")


def test_routes_of_the_bridge(static_route: dict[str, str], run: Run, plugin: Plugin, lab: Lab) -> None:
    """The machine's static routes over the bridge are the container's as well, and no renewal takes them away."""
    container = run()
    sandbox = Sandbox.of(container)
    assert sandbox.routes() == {**ON_LINK, **static_route}

    renew(plugin, lab, assert_leased(container, NETWORK, lab.dhcp))

    assert sandbox.routes() == {**ON_LINK, **static_route}


@pytest.fixture
def no_routes(plugin: Plugin, no_leaks: None) -> Iterator[str]:
    """A network with skip_routes."""
    create_network(plugin, NETWORK, "--opt=skip_routes=true")
    yield NETWORK
    plugin.docker("network", "rm", NETWORK)


@pytest.mark.usefixtures("static_route")
def test_routes_are_skipped(no_routes: str, lab: Lab, plugin: Plugin, dhcp: DhcpServer) -> None:
    """skip_routes=true: neither the bridge's nor the server's routes, but the gateway."""
    dhcp.restart(ServerOptions(extra=(CLASSFUL,)))
    container = Container.run(lab.engine.docker, "skips", f"--network={no_routes}")
    try:
        attachment, sandbox = assert_leased(container, no_routes, dhcp), Sandbox.of(container)
        assert (sandbox.gateway(), sandbox.routes()) == (str(SERVER), ON_LINK)
        renew(plugin, lab, attachment)
        assert (sandbox.gateway(), sandbox.routes()) == (str(SERVER), ON_LINK)
    finally:
        container.remove()


@pytest.mark.parametrize(("wanted", "given"), [(LAN[77], True), (LAN[7], False)])
def test_address_that_is_asked_for(run: Run, lab: Lab, plugin: Plugin, wanted: IPv4Address, given: bool) -> None:
    """`driver-opt=ip=…` goes to the server as option 50; where it gives another, the container has that, and a word
    is said about it."""
    container = run()
    plugin.docker("network", "disconnect", NETWORK, container.name)
    plugin.docker("network", "connect", f"--driver-opt=ip={wanted}", NETWORK, container.name)
    attachment = assert_leased(container, NETWORK, lab.dhcp)

    assert lab.dhcp.messages(attachment.mac, "DISCOVER")[0].address == wanted
    assert attachment.address is not None
    assert (attachment.address.ip == wanted) is given
    complaint = f"asked for {wanted}, the server gave {attachment.address.ip}"
    assert any(complaint in line for line in plugin.log()) is not given
