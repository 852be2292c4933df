"""An address that somebody else has: declined, and another one used (RFC 5227, RFC 2131 section 4.4.1)."""

import time
from datetime import datetime
from ipaddress import IPv4Address, IPv4Interface

import pytest

from tests.lab.command import wait_until
from tests.lab.dhcp import DhcpServer, ServerOptions
from tests.lab.network import LAN
from tests.netns.process.conftest import Squat
from tests.netns.process.fakeengine import Container
from tests.netns.process.rig import Rig, at_once
from tests.netns.process.wire import Kind

PROBED = 3.0  # seconds after which a claim is a newcomer's
MAC = "02:42:ac:11:00:77"
CROWD, SPARE = 40, 10


def ask(rig: Rig, **options: str) -> Container:
    """A container with the MAC for which the server picks the same address each time."""
    container = rig.container(rig.network(**options))
    container.mac = MAC
    return container


def _seconds(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()


def favourite(rig: Rig) -> IPv4Address:
    """What the server gives to that MAC while the address is free."""
    container = ask(rig)
    container.create()
    container.delete()
    rig.clean()
    return IPv4Interface(container.address).ip


@pytest.mark.parametrize("conflict", ["detect", "wait"])
def test_taken_address_is_declined(rig: Rig, server: DhcpServer, squat: Squat, conflict: str) -> None:
    """The server is told, and the container starts with another address of the pool."""
    taken = favourite(rig)
    squat(taken)
    container = ask(rig, conflict=conflict)

    answer = container.create()

    assert answer.status == 200
    assert IPv4Interface(container.address).ip != taken
    assert [m.address for m in server.messages(MAC, "DECLINE")] == [taken]


def test_off_asks_nobody(rig: Rig, server: DhcpServer, squat: Squat) -> None:
    """With conflict=off the server's word is taken."""
    taken = favourite(rig)
    squat(taken)
    container = ask(rig, conflict="off")

    container.create()

    assert IPv4Interface(container.address).ip == taken
    assert not rig.capture.frames(MAC, Kind.DECLINE)


def test_all_addresses_taken(rig: Rig, server: DhcpServer, squat: Squat) -> None:
    """Three in a row are enough: the error names them and who has them."""
    pool = [LAN[host] for host in range(100, 104)]
    server.restart(ServerOptions(first=pool[0], last=pool[-1]))
    for address in pool:
        squat(address)
    links = rig.machine.links()

    answer = ask(rig).create()

    declined = [m.address for m in server.messages(MAC, "DECLINE")]
    assert (answer.status, len(set(declined))) == (500, 3)
    assert "3 addresses in a row" in answer.error
    assert all(str(address) in answer.error for address in declined)
    assert rig.machine.links() == links


def test_crowd_in_a_small_pool(rig: Rig, server: DhcpServer) -> None:
    """A server without a ping offers one address to several who ask at once: each gets one of its own nonetheless."""
    server.restart(ServerOptions(first=LAN[100], last=LAN[100 + CROWD + SPARE]))
    network = rig.network()
    containers = [rig.container(network) for _ in range(CROWD)]

    at_once(*(c.start for c in containers))

    assert len({c.address for c in containers}) == CROWD


def test_claim_that_comes_late(rig: Rig, server: DhcpServer, squat: Squat) -> None:
    """An answer after ours is mended in the sandbox: the container gets another address, the server is told."""
    container = ask(rig)
    joined = container.create(), container.join()
    taken = IPv4Interface(container.address).ip
    squat(taken)
    container.attach(joined[1])

    wait_until(lambda: IPv4Interface(container.view["address"]).ip != taken, "another address")

    assert [m.address for m in server.messages(MAC, "DECLINE")] == [taken]
    assert str(taken) not in container.inside("ip", "-4", "addr")


def test_neighbour_that_is_heard_in_the_sandbox(rig: Rig, card: str, server: DhcpServer, squat: Squat) -> None:
    """A macvlan waits for the engine without hearing anything, so the container asks the neighbours once more."""
    container = ask(rig, parent=card)
    joined = container.create(), container.join()
    container.move(joined[1])
    taken = IPv4Interface(container.address).ip
    squat(taken)
    container.configure(joined[1])

    wait_until(lambda: IPv4Interface(container.view["address"]).ip != taken, "another address")

    assert [m.address for m in server.messages(MAC, "DECLINE")] == [taken]
    assert str(taken) not in container.inside("ip", "-4", "addr")


def test_claim_during_the_lease(rig: Rig, server: DhcpServer, squat: Squat) -> None:
    """A newcomer that takes the address of a container is reported; the container keeps it, and renews it."""
    container = rig.joined()
    wait_until(lambda: time.time() - _seconds(container.view["renewed"]) > PROBED, "a lease that is held")
    squat(container.ip)

    wait_until(lambda: "conflict" in (container.view["last_trouble"] or ""), "the report of a conflict")
    rig.renew(container)

    assert container.inet == [container.address]
    assert container.view["address"] == container.address
    assert not server.messages(container.mac, "DECLINE")
    assert [lease.address for lease in server.leases()] == [container.ip]
