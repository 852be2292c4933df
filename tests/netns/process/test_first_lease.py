"""The first lease: what the server sees, what the engine is told, what is asked twice."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Interface

import pytest

from tests.lab.dhcp import DhcpServer
from tests.lab.network import LAN, LAN_BRIDGE, MACHINE, SERVER
from tests.netns.process.rig import Rig, at_once
from tests.netns.process.scripted import Grant, scripted_server
from tests.netns.process.wire import BROADCAST_FLAG, Kind, Option, Packet

MAC = "02:42:ac:11:00:99"
LEASE_TIMEOUT = 10.0  # seconds, the usual one
PARAMETERS = bytes((1, 3, 6, 12, 15, 26, 28, 33, 42, 51, 54, 58, 59, 119, 121, 249))


@pytest.mark.parametrize("mac", ["", MAC], ids=["random", "the user's"])
def test_one_mac_in_every_packet(rig: Rig, server: DhcpServer, mac: str) -> None:
    """The frames' source and chaddr are one address from the first DISCOVER to the RELEASE, the user's if given."""
    container = rig.container()
    container.mac = mac

    answer = container.create()

    assert (answer.status, answer.seconds < LEASE_TIMEOUT) == (200, True)
    assert ("MacAddress" in answer.body["Interface"]) == (not mac)  # what the engine filled in is not echoed
    rig.clean()
    frames = rig.capture.frames()
    assert {f.mac for f in frames} == {f.packet.chaddr for f in frames} == {container.mac}
    assert [f.packet.kind for f in frames] == [Kind.DISCOVER, Kind.REQUEST, Kind.RELEASE]
    assert [m.kind for m in server.messages(container.mac)] == ["DISCOVER", "OFFER", "REQUEST", "ACK", "RELEASE"]


@pytest.mark.parametrize("kind", ["bridge", "macvlan"])
def test_does_not_answer_for_the_host(rig: Rig, card: str, kind: str) -> None:
    """While its link is still on the host, others that ask for the host's address are not told the container's MAC."""
    container = rig.container(rig.network(lease_timeout="2", **({} if kind == "bridge" else {"parent": card})))

    with ThreadPoolExecutor(1) as pool:
        pool.submit(container.create)
        rig.wait_for_frames(1)
        heard = rig.machine.on_lan("busybox", "arping", "-c", "2", "-I", LAN_BRIDGE, str(MACHINE))

    (asked,) = {frame.mac for frame in rig.capture.frames()}
    assert "Unicast reply" in heard
    assert asked not in heard


def test_discover_and_request(rig: Rig, server: DhcpServer) -> None:
    """Broadcast flag, parameter list and client identifier are explicit; there is no option 12 without a name."""
    container = rig.container()
    container.create()

    for frame in rig.capture.frames():
        assert frame.packet.flags == BROADCAST_FLAG
        assert sorted(frame.packet.options[Option.PARAMETERS]) == sorted(PARAMETERS)
        assert frame.packet.options[Option.CLIENT_ID].hex(":") == f"01:{container.mac}"
        assert frame.packet.hostname is None
    assert IPv4Interface(container.address) in [IPv4Interface((lease.address, 24)) for lease in server.leases()]


def test_requested_address(rig: Rig, server: DhcpServer) -> None:
    """The endpoint's option `ip` is what the server is asked for, and gives."""
    container = rig.container()
    container.options = {"ip": str(LAN[77])}

    answer = container.create()

    assert answer.body["Interface"]["Address"] == f"{LAN[77]}/24"
    assert [lease.address for lease in server.leases()] == [LAN[77]]


def test_same_call_twice_at_once(rig: Rig, server: DhcpServer) -> None:
    """Two concurrent CreateEndpoints and a late third get one answer, one link, one lease."""
    container = rig.container()
    before = rig.machine.links()

    first, second = at_once(container.create, container.create)
    third = container.create()

    assert first.status == 200
    assert first.body == second.body == third.body
    assert len(rig.machine.links() - before) == 2  # the two ends of one pair
    assert len(rig.capture.frames(kind=Kind.REQUEST)) == len(server.leases()) == 1


def test_endpoint_that_never_joins(rig: Rig, server: DhcpServer) -> None:
    """DeleteEndpoint without Join gives the lease back from the leased address, before it is answered."""
    container = rig.container()
    container.create()
    address = IPv4Interface(container.address).ip

    assert container.delete().body == {}

    (release,) = rig.capture.frames(kind=Kind.RELEASE)
    assert (release.source, release.packet.ciaddr, release.destination) == (address, address, SERVER)
    assert [m.kind for m in server.messages(container.mac)][-1] == "RELEASE"
    assert not server.leases()
    assert rig.engine.get("/v1/endpoints") == {"endpoints": []}


def test_first_discovers_are_lost(rig: Rig) -> None:
    """A server that misses two DISCOVERs still makes the container start within the budget."""
    grant = Grant()
    seen: list[Packet] = []

    def deaf_at_first(packet: Packet) -> Iterable[bytes]:
        seen.append(packet)
        return grant.answer(packet) if len(seen) > 2 else ()

    with scripted_server(rig.machine.lan, deaf_at_first):
        container = rig.container()
        answer = container.create()
        rig.clean()

    assert (answer.status, answer.seconds < LEASE_TIMEOUT) == (200, True)
    assert len(rig.capture.frames(container.mac, Kind.DISCOVER)) == 3
