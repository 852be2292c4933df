"""What the engine or an earlier instance has left behind goes by itself, and nothing else does."""

import time
from pathlib import Path

import pytest

from tests.lab.command import run, wait_until
from tests.lab.dhcp import DhcpServer
from tests.netns.process.answeringengine import Told
from tests.netns.process.fakeengine import Container, FakeEngine
from tests.netns.process.instances import Instances
from tests.netns.process.plugin import started_plugin
from tests.netns.process.rig import Rig
from tests.netns.process.wire import Kind

OBSERVED_SECONDS, BUSY_LIMIT = 1.0, 0.3  # its ticks are five a second here


def pair_in(rig: Rig, name: str, *more: str) -> set[str]:
    """A veth pair on the machine, named as the plugin would."""
    ends = f"dh-{name}", f"dc-{name}"
    run("ip", "-n", rig.machine.host, "link", "add", ends[0], *more, "type", "veth", "peer", "name", ends[1])
    return set(ends)


def test_links_of_a_state_that_was_wiped(rig: Rig, server: DhcpServer, instances: Instances, tmp_path: Path) -> None:
    """The next instance removes what was made and not joined; a running container's link and all foreign ones stay."""
    links = rig.machine.links()
    network = rig.network()
    running = rig.joined(network)
    waiting = rig.container(network)
    waiting.create()
    foreign = pair_in(rig, "0" * 12) | pair_in(rig, "1" * 12, "group", "77")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "docker.sock").hardlink_to(tmp_path / "docker.sock")
    with started_plugin(rig.machine, tmp_path / "other") as plugin:
        other = FakeEngine(plugin.socket)
        theirs = Container(other, rig.machine, other.create_network(ignore_conflicts="true"))
        theirs.create()
        instances.end()
        for path in instances.state.iterdir():
            path.unlink()

        instances.start()

        host_ends = {f"dh-{c.endpoint_id[:12]}" for c in (running, theirs)}
        assert rig.machine.links() - links == host_ends | {f"dc-{theirs.endpoint_id[:12]}"} | foreign
        assert "a link that no endpoint has is removed" in rig.plugin.log
        instances.again()
        assert rig.machine.links() - links == host_ends | {f"dc-{theirs.endpoint_id[:12]}"} | foreign
        theirs.delete()
        other.delete_network(theirs.network_id)
    run("ip", "-n", rig.machine.host, "link", "delete", f"dh-{running.endpoint_id[:12]}")
    for name in ("0" * 12, "1" * 12):
        run("ip", "-n", rig.machine.host, "link", "delete", f"dh-{name}")
    server.stop()
    server.lease_file.unlink()
    server.start()


@pytest.mark.usefixtures("hurried")
def test_link_that_is_never_moved(rig: Rig, server: DhcpServer) -> None:
    """An engine that joins and then breaks off: after the deadline lease and link are gone, released once."""
    links = rig.machine.links()
    container = rig.container(early_sandbox=True)
    container.create()
    assert container.join().status == 200
    assert rig.machine.links() != links

    wait_until(lambda: rig.machine.links() == links, "the end of the link")

    wait_until(lambda: not server.leases(), "the release")
    assert len(rig.capture.frames(kind=Kind.RELEASE)) == 1
    wait_until(lambda: rig.engine.get("/healthz")["endpoints"] == 0, "the end of the endpoint")


@pytest.mark.usefixtures("hurried")
def test_sandbox_that_went_before_it_was_entered(rig: Rig, server: DhcpServer) -> None:
    """A link that went with its sandbox, with no word from the engine: the lease is released all the same."""
    container = rig.container(early_sandbox=True)
    container.create()
    joined = container.join()
    container.move(joined)
    container.remove_sandbox()

    wait_until(lambda: not server.leases(), "the release")
    wait_until(lambda: rig.engine.get("/healthz")["endpoints"] == 0, "the end of the endpoint")
    assert len(rig.capture.frames(kind=Kind.RELEASE)) == 1


def test_start_does_not_wait_for_a_link_that_was_not_moved(rig: Rig, server: DhcpServer, instances: Instances) -> None:
    """An endpoint that waits for the engine keeps the first request of the next instance waiting no longer than any."""
    container = rig.container()
    container.create()
    joined = container.join()

    instances.again()

    (found,) = [line for line in rig.plugin.log.splitlines() if "1 endpoints found again in" in line]
    print(found)
    assert "0 are still looked for" in found  # else the time ran out
    container.attach(joined)
    rig.wait_for_bound(container)


@pytest.mark.usefixtures("hurried")
def test_sandbox_that_ends_without_a_word(rig: Rig, server: DhcpServer) -> None:
    """Its worker alone would keep it alive: when another dockerd comes, lease and link go, once, and nothing spins."""
    network = rig.network()
    gone, neighbour = rig.joined(network), rig.joined(network)
    gone.remove_sandbox()
    rig.daemon.stop()
    rig.daemon.start()

    wait_until(lambda: [lease.mac for lease in server.leases()] == [neighbour.mac], "the release")
    wait_until(lambda: rig.engine.get("/healthz")["endpoints"] == 1, "the end of one endpoint")

    (release,) = rig.capture.frames(kind=Kind.RELEASE)
    assert release.packet.chaddr == gone.mac
    assert f"dh-{gone.endpoint_id[:12]}" not in rig.machine.links()
    assert neighbour.view["phase"] == "joined"
    assert busy(rig) < BUSY_LIMIT


def busy(rig: Rig) -> float:
    """The share of a processor that all processes of the plugin take together."""
    before = [process.cpu_times() for process in rig.plugin.tree()]
    time.sleep(OBSERVED_SECONDS)  # what is measured
    after = [process.cpu_times() for process in rig.plugin.tree()]
    return (sum(t.user + t.system for t in after) - sum(t.user + t.system for t in before)) / OBSERVED_SECONDS


@pytest.mark.usefixtures("hurried")
def test_networks_that_the_engine_does_not_have(rig: Rig, server: DhcpServer, tmp_path: Path) -> None:
    """A network of which a connected engine knows nothing is forgotten in time; one it has, and one in use, stay."""
    known, used = (rig.engine.create_network(ignore_conflicts="true") for _ in range(2))
    rig.networks += [known, used]
    container = rig.joined(used)
    told = Told()
    told.network(known)
    told.serve(rig.daemon, tmp_path / "told.json")
    wait_until(lambda: rig.engine.get("/healthz")["engine_connected"], "the watcher")
    phantom = rig.engine.create_network(ignore_conflicts="true")

    wait_until(lambda: rig.engine.get("/healthz")["networks"] == 2, "the end of one network")

    assert "the engine has no such network" in rig.plugin.log
    assert rig.engine.call("CreateEndpoint", {**container.request, "NetworkID": phantom}).error
    assert rig.container(known).create().status == 200
    assert container.view["phase"] == "joined"
    rig.daemon.stop()
    rig.daemon.start()  # to the connections of before
