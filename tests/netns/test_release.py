"""Leases of a real server, given back."""

import time
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path

import pytest

from tests.lab.command import SLACK_SECONDS, wait_until
from tests.lab.dhcp import DhcpServer
from tests.lab.network import BRIDGE, SERVER
from tests.netns.lan import CONTAINER_LINK, HOST_LINK, MAC, addresses, create_pair, obtain_lease, run
from workers.contract.client_identity import ClientIdentity
from workers.contract.errors import ReleaseError
from workers.contract.lease import Lease
from workers.dhcp4.release import release, release_by_broadcast, release_detached
from workers.netlink.operations import Netlink
from workers.system.namespaces import Namespace

IDENTITY = ClientIdentity.of_mac(MAC)
pytestmark = pytest.mark.netns


def inode() -> int:
    return Path("/proc/self/ns/net").stat().st_ino


def granted_by(server: IPv4Address) -> Lease:
    return Lease(IPv4Interface("192.168.77.50/24"), server, 120, 0.0, routers=(SERVER,))


def assert_given_back(server: DhcpServer, lease: Lease) -> None:
    """The server has one RELEASE, of just that lease, and no lease any more."""
    wait_until(lambda: server.messages(MAC, "RELEASE"), "the RELEASE")
    assert [message.address for message in server.messages(MAC, "RELEASE")] == [lease.address.ip]
    assert not server.leases()


def exists(name: str) -> bool:
    with Netlink() as netlink:
        return netlink.link(name) is not None


def test_release_from_the_container(server: DhcpServer, tmp_path: Path, sandbox: Namespace) -> None:
    """The server has the address back although link and namespace vanish right after the call."""
    with sandbox.visit():
        lease = obtain_lease("eth0", tmp_path)
        run(f"ip addr add {lease.address} dev eth0")
        assert [granted.mac for granted in server.leases()] == [MAC]
        release("eth0", lease, MAC, IDENTITY)
        run("ip link del eth0")

    assert_given_back(server, lease)


def test_forgone(server: DhcpServer, tmp_path: Path, sandbox: Namespace) -> None:
    """A lease whose address never came onto the link goes back by broadcast, which the server takes as well."""
    with sandbox.visit():
        lease = obtain_lease("eth0", tmp_path)
        release_by_broadcast("eth0", lease, MAC, IDENTITY)

    assert_given_back(server, lease)


def test_detached_release(server: DhcpServer, tmp_path: Path) -> None:
    """From a link without an address; the process stays at home, the link is gone with both its ends."""
    create_pair()
    lease, home = obtain_lease(CONTAINER_LINK, tmp_path), inode()

    release_detached(CONTAINER_LINK, lease, MAC, IDENTITY)

    assert_given_back(server, lease)
    assert inode() == home
    assert not exists(CONTAINER_LINK)
    assert not exists(HOST_LINK)


def test_detached_release_puts_nothing_on_the_host(server: DhcpServer, tmp_path: Path) -> None:
    """An address on the host would make it answer for the container: no address notification may be seen there."""
    create_pair()
    lease = obtain_lease(CONTAINER_LINK, tmp_path)
    host = Path("/proc/self/net/fib_trie")
    seen_before = host.read_text()

    release_detached(CONTAINER_LINK, lease, MAC, IDENTITY)

    assert_given_back(server, lease)
    assert addresses(BRIDGE) == [f"{SERVER}/24"]
    assert host.read_text() == seen_before


@pytest.mark.usefixtures("machine")
def test_detached_release_through_a_router() -> None:
    """A server in another subnet (a relay granted the lease) is reached by the lease's gateway."""
    create_pair()
    far = IPv4Address("10.66.0.1")
    run(f"ip addr add {far}/32 dev {BRIDGE}")
    lease = granted_by(far)

    release_detached(CONTAINER_LINK, lease, MAC, IDENTITY)

    neighbours = run(f"ip neigh show dev {BRIDGE}")
    assert f"{lease.address.ip} lladdr {MAC}" in neighbours
    assert not exists(HOST_LINK)


@pytest.mark.usefixtures("machine")
def test_server_that_is_gone() -> None:
    """Nobody answers ARP: an error within the time given, that says so; the link is removed all the same."""
    create_pair()
    home, begun = inode(), time.monotonic()

    with pytest.raises(
        ReleaseError, match=r"to 192\.168\.77\.200 over .*: the next hop did not answer ARP within 0\.3 s"
    ):
        release_detached(CONTAINER_LINK, granted_by(IPv4Address("192.168.77.200")), MAC, IDENTITY, timeout=0.3)

    assert 0.3 <= time.monotonic() - begun < 0.3 + SLACK_SECONDS
    assert inode() == home
    assert not exists(CONTAINER_LINK)


@pytest.mark.usefixtures("machine")
def test_lease_without_a_server() -> None:
    """Without a server identifier there is nobody to tell."""
    with pytest.raises(ReleaseError, match="names no server"):
        release(CONTAINER_LINK, replace(granted_by(SERVER), server=None), MAC, IDENTITY)


@pytest.mark.usefixtures("machine")
def test_address_that_is_not_on_the_link() -> None:
    """The packet has to come from the leased address: without it none goes out."""
    create_pair()

    with pytest.raises(ReleaseError, match="Cannot assign requested address"):
        release(CONTAINER_LINK, granted_by(SERVER), MAC, IDENTITY)


@pytest.mark.usefixtures("machine")
def test_link_that_is_gone() -> None:
    """Nothing to release over; the process is at home."""
    home = inode()

    with pytest.raises(ReleaseError, match=f"{CONTAINER_LINK}: there is none"):
        release_detached(CONTAINER_LINK, granted_by(SERVER), MAC, IDENTITY)

    assert inode() == home
