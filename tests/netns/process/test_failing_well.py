"""What goes wrong on the machine and on the LAN: said at once or after the budget, with the cause, and undone."""

from collections.abc import Iterator

import pytest

from tests.lab.command import SLACK_SECONDS, run
from tests.lab.dhcp import DhcpServer
from tests.lab.network import BRIDGE
from tests.netns.process.fakeengine import network_request
from tests.netns.process.rig import Rig
from tests.netns.process.scripted import Grant, refusal, scripted_server
from tests.netns.process.wire import Kind, Packet

OWN_BRIDGE = "br-own"
BUDGET = 3  # seconds
LEASE_TIMEOUT = f"{BUDGET}s"
FILTER = "bridge-nf-call-iptables"
ACCEPT = ("iptables", "-I", "FORWARD", "-i", BRIDGE, "-o", BRIDGE, "-j", "ACCEPT")


@pytest.fixture
def own_bridge(rig: Rig) -> Iterator[str]:
    """A bridge that is up and has no port; a test may remove it."""
    run("ip", "-n", rig.machine.host, "link", "add", OWN_BRIDGE, "type", "bridge", "stp_state", "0")
    run("ip", "-n", rig.machine.host, "link", "set", OWN_BRIDGE, "up")
    yield OWN_BRIDGE
    if OWN_BRIDGE in rig.machine.links():
        run("ip", "-n", rig.machine.host, "link", "delete", OWN_BRIDGE)


def change(rig: Rig, bridge: str, *words: str) -> None:
    """`ip link set` on the machine."""
    run("ip", "-n", rig.machine.host, "link", "set", bridge, *words)


def refused(rig: Rig, bridge: str = BRIDGE) -> str:
    """The error of a CreateEndpoint that takes its whole budget and leaves no link."""
    container = rig.container(rig.network(bridge=bridge, lease_timeout=LEASE_TIMEOUT))
    links = rig.machine.links()

    answer = container.create()

    assert answer.status == 500
    assert BUDGET - 1 < answer.seconds < BUDGET + SLACK_SECONDS
    assert rig.machine.links() == links
    assert rig.engine.get("/v1/endpoints") == {"endpoints": []}
    return answer.error


def test_no_server(rig: Rig) -> None:
    """The error names the bridge, counts the packets as the wire saw them, and finds no cause on this machine."""
    error = refused(rig)

    sent = len(rig.capture.frames(kind=Kind.DISCOVER))
    assert sent >= 2
    assert f"no DHCPOFFER on {BRIDGE} in {BUDGET} s ({sent} DISCOVER sent, 0 answers): no cause found" in error
    assert "is there a DHCP server on this LAN" in error


def test_server_that_refuses(rig: Rig) -> None:
    """Offers that are never kept are told from silence, with the server's words; the LAN is not flooded."""
    grant = Grant()

    def fickle(packet: Packet) -> list[bytes]:
        return grant.answer(packet) if packet.kind is Kind.DISCOVER else [refusal(packet).encode()]

    with scripted_server(rig.machine.lan, fickle):
        error = refused(rig)

    assert "refused by the server, last with 'wrong network'" in error
    assert len(rig.capture.frames()) < 2 * BUDGET + 4


def test_no_uplink(rig: Rig, own_bridge: str) -> None:
    """A bridge that no LAN is plugged into is the cause."""
    assert f"{own_bridge} has no ports besides the containers'" in refused(rig, own_bridge)


def test_bridge_is_down(rig: Rig, own_bridge: str) -> None:
    """The cause comes with the command that removes it."""
    change(rig, own_bridge, "down")
    assert f"`ip link set {own_bridge} up`" in refused(rig, own_bridge)


def test_spanning_tree(rig: Rig, own_bridge: str) -> None:
    """`network create` warns of STP's delay, and so does the error."""
    change(rig, own_bridge, "type", "bridge", "stp_state", "1", "forward_delay", "1500")

    error = refused(rig, own_bridge)

    assert f"STP is on for {own_bridge} with a forward delay of 15 s" in error
    assert "level=warning source=supervisor.driver.networks" in rig.plugin.log
    assert rig.plugin.log.count("STP is on for") == 2


@pytest.mark.usefixtures("alone")
def test_packet_filter(rig: Rig, server: DhcpServer) -> None:
    """FORWARD DROP with bridge-nf-call-iptables is the cause, and what the error says to do helps."""
    rig.machine.on_host("sysctl", "-q", f"net.bridge.{FILTER}=1")
    rig.machine.on_host("iptables", "-P", "FORWARD", "DROP")

    error = refused(rig)
    rig.machine.on_host(*ACCEPT)

    assert FILTER in error
    assert f"`{' '.join(ACCEPT)}`" in error
    assert rig.capture.frames() == []
    assert rig.container(rig.networks[0]).create().status == 200


def test_bridge_removed_meanwhile(rig: Rig, own_bridge: str) -> None:
    """A bridge that has gone since `network create` costs no budget; the error names it."""
    container = rig.container(rig.network(bridge=own_bridge))
    run("ip", "-n", rig.machine.host, "link", "delete", own_bridge)

    answer = container.create()

    assert (answer.status, answer.seconds < SLACK_SECONDS) == (500, True)
    assert own_bridge in answer.error


@pytest.mark.parametrize("bridge", ["absent", "lo", "uplink"])
def test_network_on_no_bridge(rig: Rig, bridge: str) -> None:
    """CreateNetwork names the option and what is wrong with its value; the network does not exist then."""
    answer = rig.engine.call("CreateNetwork", network_request("a" * 64, {"bridge": bridge}))

    assert answer.status == 400
    assert answer.error.startswith("option bridge: ")
    assert bridge in answer.error
    assert rig.engine.get("/healthz")["networks"] == 0


def test_second_network_on_the_bridge(rig: Rig) -> None:
    """It is refused unless conflicts are to be ignored; the first one repeated is not."""
    first = rig.network()
    options = {"bridge": BRIDGE}

    again = rig.engine.call("CreateNetwork", network_request(first, options))
    second = rig.engine.call("CreateNetwork", network_request("a" * 64, options))

    assert again.status == 200
    assert second.status == 409
    assert "ignore_conflicts=true" in second.error
    rig.network(ignore_conflicts="true")


def test_unknown_network(rig: Rig) -> None:
    """An endpoint on a network from before a restart gets the way out, not a traceback."""
    answer = rig.container("b" * 64).create()

    assert answer.status == 404
    assert "docker network create" in answer.error


def test_delete_while_the_lease_is_awaited(rig: Rig) -> None:
    """Delete ends a creation at once: both are answered, no link is left."""
    container = rig.container()
    links = rig.machine.links()
    creating = rig.engine.send("CreateEndpoint", container.request)
    rig.wait_for_frames(1)

    answer = container.delete()

    with creating:
        assert b"deleted while it was being made" in creating.recv(4096)
    assert (answer.status, answer.seconds < SLACK_SECONDS) == (200, True)
    assert rig.machine.links() == links


def test_leave_and_delete_of_the_unknown(rig: Rig) -> None:
    """Cleaning up never fails."""
    container = rig.container()

    assert container.leave().body == container.delete().body == container.leave().body == {}
    assert container.join().status == 404
    assert rig.engine.call("EndpointOperInfo", container.ids).status == 404
