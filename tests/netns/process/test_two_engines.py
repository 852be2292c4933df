"""Two engines on one host: two instances of the plugin, each with a state of its own, on one bridge."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.command import wait_until
from tests.lab.dhcp import DhcpServer
from tests.lab.network import BRIDGE
from tests.netns.process.fakeengine import INTERFACE, Container, FakeEngine
from tests.netns.process.instances import Instances, kill_all
from tests.netns.process.plugin import started_plugin
from tests.netns.process.rig import Rig, at_once
from tests.netns.process.test_parents import wait_for_lan

EACH = 4  # containers, of either engine


@pytest.fixture
def other(rig: Rig, server: DhcpServer, tmp_path: Path) -> Iterator[FakeEngine]:
    """The second engine, in whose instance nothing is left at the end."""
    directory = tmp_path / "other"
    directory.mkdir()
    (directory / "docker.sock").hardlink_to(rig.directory / "docker.sock")
    with started_plugin(rig.machine, directory) as plugin:
        engine = FakeEngine(plugin.socket)
        yield engine
        assert engine.get("/v1/endpoints")["endpoints"] == []
        assert "Traceback" not in plugin.log_file.read_text()


def who(container: Container) -> tuple[object, ...]:
    """What must not change for it."""
    view = container.view
    address = container.inside("cat", f"/sys/class/net/{INTERFACE}/address")
    return view["worker_pid"], view["host_link"], view["mac"], address, tuple(container.inet)


def test_one_bridge(rig: Rig, server: DhcpServer, other: FakeEngine, instances: Instances) -> None:
    """Containers of both start at once: no two have a link's name, a MAC or an address in common. When all processes of
    one instance are killed and the next one starts, the other's containers do not notice. When the bridge is made anew
    the containers of both are on the LAN again; and whoever leaves takes nothing of the other's along."""
    theirs_on = other.create_network()
    ours = [rig.container(network) for network in [rig.network()] for _ in range(EACH)]
    theirs = [Container(other, rig.machine, theirs_on) for _ in range(EACH)]
    everyone = [*ours, *theirs]
    at_once(*(container.start for container in everyone))
    wait_until(lambda: all(c.view["phase"] == "joined" and c.view["udhcpc_pid"] for c in everyone), "all of them")
    assert len({c.mac for c in everyone}) == len({c.view["host_link"] for c in everyone}) == len(everyone)
    assert {c.ip for c in everyone} == {lease.address for lease in server.leases()}
    assert len(server.leases()) == len(everyone)

    before = [who(container) for container in theirs]
    instances.again(kill_all)
    for container in ours:
        rig.wait_for_bound(container)
    assert [who(container) for container in theirs] == before
    assert {c.view["mac"] for c in ours} == {c.mac for c in ours}

    rig.machine.unplug(BRIDGE)
    rig.machine.make_bridge()
    for container in everyone:
        wait_for_lan(container)

    rig.clean()
    assert {lease.address for lease in server.leases()} == {c.ip for c in theirs}
    assert [who(container) for container in theirs] == before
    for container in theirs:
        container.stop()
    other.delete_network(theirs_on)
