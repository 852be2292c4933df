"""What does not die but hangs or goes elsewhere: a stopped worker, an engine that restarts, a link that is taken."""

from tests.api.unit import reaction
from tests.lab.command import SLACK_SECONDS, wait_until
from tests.lab.dhcp import DhcpServer
from tests.netns.process.fakeengine import INTERFACE
from tests.netns.process.rig import Rig, hang
from tests.netns.process.wire import Kind

LEAVE_SECONDS, DELETE_SECONDS = 4, 6  # the supervisor's patience with a worker


def test_worker_that_hangs_at_leave(rig: Rig, server: DhcpServer) -> None:
    """Leave and Delete are answered in time; a successor then releases the lease and removes the link."""
    container = rig.joined()
    links = rig.machine.links()
    hang(container.view["worker_pid"])

    left, deleted = container.leave(), container.delete()

    assert (left.status, deleted.status) == (200, 200)
    assert left.seconds < LEAVE_SECONDS + SLACK_SECONDS
    assert deleted.seconds < DELETE_SECONDS + SLACK_SECONDS
    wait_until(lambda: not server.leases(), "the release")
    wait_until(lambda: len(rig.machine.links() & links) == len(links) - 1, "the removal of the link")
    assert len(rig.capture.frames(kind=Kind.RELEASE)) == 1


def test_worker_that_hangs_at_create(rig: Rig) -> None:
    """The engine gets an error before its own patience ends, and the half-made link is removed."""
    container = rig.container(rig.network(lease_timeout="3s"))
    links = rig.machine.links()
    creating = rig.engine.send("CreateEndpoint", container.request)
    rig.wait_for_frames(1)

    hang(container.view["worker_pid"])

    with creating:
        answer = reaction(creating)
    assert "worker died" in answer.json["Err"]
    wait_until(lambda: rig.machine.links() == links, "the removal of the link")


def test_engine_restarts(rig: Rig, server: DhcpServer) -> None:
    """A container that starts before the plugin has noticed the new dockerd is entered once it has."""
    neighbour = rig.joined()
    rig.daemon.stop()
    container = rig.container(neighbour.network_id)
    container.start()

    rig.daemon.start()
    rig.wait_for_bound(container)

    assert neighbour.view["phase"] == "joined"
    assert len(server.leases()) == 2


def test_link_that_the_container_removes(rig: Rig, server: DhcpServer) -> None:
    """A container with CAP_NET_ADMIN may delete its link; the lease is given back all the same, once."""
    container = rig.joined()
    container.inside("ip", "link", "delete", INTERFACE)
    wait_until(lambda: "link gone" in str(container.view["last_trouble"]), "the worker's notice")

    container.stop()

    assert len(rig.capture.frames(kind=Kind.RELEASE)) == 1
    assert not server.leases()


def test_link_that_the_container_renames(rig: Rig, server: DhcpServer) -> None:
    """Renewals and the release go on under the new name; another link with its MAC is not mistaken for it."""
    container = rig.joined()
    confirmed = rig.confirmations(container)
    for words in (f"set {INTERFACE} down", f"set {INTERFACE} name lan7", "set lan7 up"):
        container.inside("ip", "link", *words.split())

    rig.wait_for_bound(container, more_than=confirmed)
    container.inside("ip", "link", "add", "br0", "address", container.mac, "up", "type", "bridge")
    rig.renew(container)

    assert container.view["interface"] == "lan7"
    answer = rig.engine.call("Leave", container.ids)
    assert answer.status == 200
    assert len(rig.capture.frames(kind=Kind.RELEASE)) == 1
    container.inside("ip", "link", "set", "lan7", "down", "name", INTERFACE)
