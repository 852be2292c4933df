"""Leases brought onto a link in a container's namespace, beside what the engine and the user have put there."""

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

import pytest

from tests.lab.network import BRIDGE, SERVER
from tests.netns.lan import MAC, addresses, routes, run
from workers.contract.lease import Lease, Route
from workers.link.configure import configure
from workers.netlink.operations import NetlinkError
from workers.system.namespaces import Namespace

pytestmark = pytest.mark.netns

CONNECTED = "192.168.77.0/24 dev eth0 proto kernel scope link src 192.168.77.50"
USERS = "172.20.0.0/16 via 192.168.77.9 dev eth0"


def lease(address: str = "192.168.77.50/24", router: str | None = str(SERVER), *named: Route) -> Lease:
    routers = () if router is None else (IPv4Address(router),)
    return Lease(IPv4Interface(address), SERVER, 120, 0.0, routers=routers, static=named)


def as_the_engine_does() -> None:
    """What Join's answer makes dockerd put on the link; and one route of the user's."""
    run("ip addr add 192.168.77.50/24 dev eth0")
    run(f"ip route add default via {SERVER}")
    run("ip route add 172.20.0.0/16 via 192.168.77.9")


@pytest.fixture
def container(sandbox: Namespace) -> Iterator[None]:
    """The test is inside a container that the engine has set up."""
    with sandbox.visit():
        as_the_engine_does()
        yield


@contextmanager
def listening() -> Iterator[socket.socket]:
    """Receives all ARP that arrives at the bridge."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as wire:
        wire.bind((BRIDGE, 0x0806))
        wire.settimeout(2.0)
        yield wire


@pytest.mark.usefixtures("container")
def test_confirmed_lease_changes_nothing() -> None:
    """What the engine made of the first lease is what the lease says."""
    before = routes()

    assert configure("eth0", lease(), lease(), skip_routes=False) == ()
    assert routes() == before


@pytest.mark.usefixtures("container")
def test_default_route_follows_the_gateway() -> None:
    """The new one is there, the old one is not, the user's own is where it was; a second time nothing is left to do."""
    changed = lease(router="192.168.77.254")

    assert configure("eth0", lease(), changed, skip_routes=False) == (
        "default route via 192.168.77.254 added",
        f"default route via {SERVER} removed",
    )
    assert routes() == ["default via 192.168.77.254 dev eth0 proto dhcp", USERS, CONNECTED]
    assert configure("eth0", changed, changed, skip_routes=False) == ()


@pytest.mark.usefixtures("container")
def test_gateway_that_docker_does_not_know_leaves_it_room() -> None:
    """Beside it Docker can set a default route, of another network, and it is Docker's that counts."""
    changed = lease(router="192.168.77.254")
    configure("eth0", lease(), changed, skip_routes=False, joined=SERVER)
    assert "default via 192.168.77.254 dev eth0 proto dhcp metric 100" in routes()

    run("ip route add default via 192.168.77.9")
    assert run("ip route get 192.0.2.1").startswith("192.0.2.1 via 192.168.77.9 ")
    run("ip route del default via 192.168.77.9")

    configure("eth0", changed, lease(), skip_routes=False, joined=SERVER)
    assert f"default via {SERVER} dev eth0 proto dhcp" in routes()


@pytest.mark.usefixtures("container")
def test_gateway_that_is_withdrawn() -> None:
    """A lease without a router means no default route."""
    configure("eth0", lease(), lease(router=None), skip_routes=False)

    assert routes() == [USERS, CONNECTED]


@pytest.mark.usefixtures("container")
def test_another_address_of_the_subnet_spares_what_is_the_users() -> None:
    """Deleting a primary address takes neither the user's second one nor a route pinned to the old one along."""
    run("ip addr add 192.168.77.200/24 dev eth0")
    run("ip route add 172.21.0.0/16 via 192.168.77.9 src 192.168.77.50")
    run("ip route add 172.22.0.0/16 via 192.168.77.9 src 192.168.77.200 metric 7")
    changed = lease("192.168.77.60/24")

    said = configure("eth0", lease(), changed, skip_routes=False)

    assert said[:2] == ("address 192.168.77.60/24 added", "address 192.168.77.50/24 removed")
    assert set(addresses("eth0")) == {"192.168.77.60/24", "192.168.77.200/24"}
    assert {line.split(" proto")[0] for line in routes()} == {
        f"default via {SERVER} dev eth0",
        USERS,
        "172.21.0.0/16 via 192.168.77.9 dev eth0 src 192.168.77.60",
        "172.22.0.0/16 via 192.168.77.9 dev eth0 src 192.168.77.200 metric 7",
        "192.168.77.0/24 dev eth0",
    }
    assert configure("eth0", changed, changed, skip_routes=False) == ()


@pytest.mark.usefixtures("container")
def test_only_address_is_never_missing_on_the_way() -> None:
    """Without any other address the routes would be flushed with the last one: the new one comes first."""
    configure("eth0", lease(), lease("192.168.77.60/24"), skip_routes=False)

    assert addresses("eth0") == ["192.168.77.60/24"]
    assert routes() == [f"default via {SERVER} dev eth0", USERS, CONNECTED.replace(".50", ".60")]


@pytest.mark.usefixtures("container")
def test_another_subnet() -> None:
    """Address, connected route and gateway move; the old ones are gone, what the user added is not."""
    run("ip addr add 10.5.5.5/32 dev eth0")
    changed = lease("10.1.0.5/16", "10.1.0.1")

    configure("eth0", lease(), changed, skip_routes=False)

    assert set(addresses("eth0")) == {"10.1.0.5/16", "10.5.5.5/32"}
    assert routes() == [
        "default via 10.1.0.1 dev eth0 proto dhcp",
        "10.1.0.0/16 dev eth0 proto kernel scope link src 10.1.0.5",
        USERS,
    ]
    assert configure("eth0", changed, changed, skip_routes=False) == ()


@pytest.mark.usefixtures("container")
def test_gateway_off_the_link() -> None:
    """A /32 lease works by a host route to its gateway, and back again without it."""
    single = lease("192.168.77.60/32", "192.168.78.1")

    configure("eth0", lease(), single, skip_routes=False)
    assert "default via 192.168.78.1 dev eth0 proto dhcp" in routes()
    assert "192.168.78.1 dev eth0 proto dhcp scope link" in routes()

    configure("eth0", single, lease(), skip_routes=False)
    assert routes() == [f"default via {SERVER} dev eth0 proto dhcp", USERS, CONNECTED]


@pytest.mark.usefixtures("container")
def test_connected_route_comes_back() -> None:
    """As the kernel makes it, so that it goes with its address."""
    run("ip route del 192.168.77.0/24")

    assert configure("eth0", lease(), lease(), skip_routes=False) == ("route to 192.168.77.0/24 on the link added",)
    assert CONNECTED in routes()


@pytest.mark.usefixtures("container")
def test_routes_of_the_lease_come_and_go() -> None:
    """Those that the server names are added, and removed when it names them no longer."""
    named = lease(
        "192.168.77.50/24",
        str(SERVER),
        Route(IPv4Network("10.9.0.0/16"), IPv4Address("10.8.0.1")),
        Route(IPv4Network("10.8.0.0/16")),
    )
    before = routes()

    configure("eth0", lease(), named, skip_routes=False)
    assert set(routes()) - set(before) == {
        "10.8.0.0/16 dev eth0 proto dhcp scope link",
        "10.9.0.0/16 via 10.8.0.1 dev eth0 proto dhcp",
    }
    configure("eth0", named, lease(), skip_routes=False)
    assert routes() == before


@pytest.mark.usefixtures("container")
def test_skip_routes() -> None:
    """The network's owner does not want them, whatever the server says."""
    named = lease("192.168.77.50/24", str(SERVER), Route(IPv4Network("10.8.0.0/16")))

    assert configure("eth0", lease(), named, skip_routes=True) == ()


@pytest.mark.usefixtures("container")
def test_default_route_of_another_network_is_never_stolen() -> None:
    """A container with two networks keeps the gateway that the engine chose, renewal or not."""
    run("ip link add net1 type bridge")
    run("ip addr add 10.200.0.5/24 dev net1")
    run("ip link set net1 up")
    run("ip route replace default via 10.200.0.1")

    configure("eth0", lease(), lease(router="192.168.77.254"), skip_routes=False)

    assert [line.split(" dev net1")[0] for line in routes() if line.startswith("default")] == ["default via 10.200.0.1"]


@pytest.mark.usefixtures("container")
def test_default_route_that_the_user_removed_stays_away() -> None:
    """An `ip route del default` in the container is not undone by the next renewal."""
    run("ip route del default")

    assert configure("eth0", lease(), lease(router="192.168.77.254"), skip_routes=False) == ()


@pytest.mark.usefixtures("container")
def test_refused_route_costs_no_more_than_itself() -> None:
    """A next hop that cannot be one is named; the gateway of the same lease is followed all the same."""
    broadcast = Route(IPv4Network("10.9.0.0/16"), IPv4Address("192.168.77.255"))

    said = configure("eth0", lease(), lease("192.168.77.50/24", "192.168.77.254", broadcast), skip_routes=False)

    assert said[0] == "adding the route to 10.9.0.0/16 via 192.168.77.255 over eth0: Invalid argument"
    assert "default via 192.168.77.254 dev eth0 proto dhcp" in routes()


def test_new_address_is_announced(sandbox: Namespace) -> None:
    """Every neighbour hears one ARP Announcement for the new address from the container's MAC (RFC 5227)."""
    with sandbox.visit():
        as_the_engine_does()
    with listening() as wire:
        with sandbox.visit():
            configure("eth0", lease(), lease("192.168.77.60/24"), skip_routes=False)
        frame = wire.recv(100)

    mac, address = bytes.fromhex(MAC.replace(":", "")), IPv4Address("192.168.77.60").packed
    assert frame[:14] == b"\xff" * 6 + mac + struct.pack("!H", 0x0806)
    assert frame[14:42] == bytes.fromhex("0001080006040001") + mac + address + bytes(6) + address


@pytest.mark.usefixtures("container")
def test_link_that_is_gone() -> None:
    """A lease for a link that has vanished is an error that names the link."""
    with pytest.raises(NetlinkError, match="eth9: there is none"):
        configure("eth9", None, lease(), skip_routes=False)
