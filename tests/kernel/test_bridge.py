"""A container's whole life on an ordinary bridge: what the other kinds of links are measured against."""

from tests.lab.dhcp import DhcpServer
from tests.netns.process.instances import Instances, terminate
from tests.netns.process.rig import Rig


def test_life_on_a_bridge(rig: Rig, server: DhcpServer, instances: Instances) -> None:
    """Start, renewal, restart of the plugin, stop: the server knows one client with one address, and one release."""
    container = rig.joined()
    rig.renew(container)
    instances.again(terminate)
    rig.wait_for_bound(container, more_than=2)

    container.stop()

    assert server.leases() == []
    addresses = [(m.kind, m.address) for m in server.messages(container.mac) if m.kind in ("ACK", "RELEASE")]
    assert set(addresses) == {("ACK", container.ip), ("RELEASE", container.ip)}
    assert [kind for kind, _ in addresses].count("RELEASE") == 1
