"""Kinds of links that need a kernel with ipvlan, VLANs, bonding and bridges that filter VLANs: judged at the server."""

from contextlib import ExitStack

import pytest

from tests.kernel.ways import FILTERING, IPVLAN, TAGGED, VLAN, WAYS, Way
from tests.lab.command import run, wait_until
from tests.lab.dhcp import DhcpServer
from tests.netns.process.fakeengine import INTERFACE, Container, network_request
from tests.netns.process.instances import Instances, terminate
from tests.netns.process.rig import Rig


def mac_at_server(rig: Rig, way: Way, container: Container) -> str:
    """The MAC address that the server sees: of an ipvlan the card's."""
    if container.mac:
        return container.mac
    return run("ip", "netns", "exec", rig.machine.host, "cat", f"/sys/class/net/{way.card}/address")


@pytest.mark.long
def test_whole_lives(rig: Rig, server: DhcpServer, instances: Instances) -> None:
    """On each kind of link: start, renewal, restart of the plugin, another renewal, stop. The server knows one client
    with one address, and hears one release."""
    with ExitStack() as stack:
        for way in WAYS:
            stack.enter_context(way.on(rig.machine))
        lives = {way: rig.joined(rig.network(**way.options)) for way in WAYS}
        for way, container in lives.items():
            assert way.link in container.inside("ip", "-d", "link", "show", INTERFACE), way
            assert container.inet == [container.address], way
            rig.renew(container)
        instances.again(terminate)
        for container in lives.values():
            rig.wait_for_bound(container, more_than=2)
        for way, container in lives.items():
            mac = mac_at_server(rig, way, container)
            container.stop()
            seen = [(m.kind, m.address) for m in server.messages(mac) if m.kind in ("ACK", "RELEASE")]
            assert set(seen) == {("ACK", container.ip), ("RELEASE", container.ip)}, way
            assert [kind for kind, _ in seen].count("RELEASE") == 1, way
        rig.clean()
        wait_until(lambda: f"{TAGGED.card}.{VLAN}" not in rig.machine.links(), "the end of the VLAN")


def test_two_identities_with_one_mac(rig: Rig, server: DhcpServer) -> None:
    """Two containers on ipvlan have their card's MAC address and different client identifiers, so the server leases two
    addresses; a container that is started again with its `id` has the same identity and address."""
    with IPVLAN.on(rig.machine):
        network = rig.network(**IPVLAN.options)
        one, other = rig.joined(network), rig.container(network)
        other.options = {"id": "db"}
        other.start()
        rig.wait_for_bound(other)
        leases = {lease.address: lease for lease in server.leases()}
        assert leases.keys() == {one.ip, other.ip}
        assert {lease.mac for lease in leases.values()} == {mac_at_server(rig, IPVLAN, one)}
        ids = {address: lease.client_id for address, lease in leases.items()}
        assert ids[one.ip] != ids[other.ip]
        assert all(client_id.startswith("ff:") for client_id in ids.values())

        other.stop()
        again = rig.container(network)
        again.options = {"id": "db"}
        again.start()
        rig.wait_for_bound(again)

        assert again.ip == other.ip
        assert {lease.client_id for lease in server.leases() if lease.address == again.ip} == {ids[other.ip]}
        rig.clean()


@pytest.mark.long
def test_macvlan_and_ipvlan_exclude_each_other(rig: Rig) -> None:
    """A card that carries an ipvlan is refused for macvlan, with the reason; a MAC address is refused for an ipvlan."""
    with IPVLAN.on(rig.machine):
        network = rig.network(**IPVLAN.options)
        container = rig.container(network)
        container.mac = "02:00:00:00:00:77"
        assert "cannot be given to a container on a network with mode=ipvlan" in container.create().error
        run("ip", "-n", rig.machine.host, "link", "add", "link", IPVLAN.card, "name", "user", "type", "ipvlan")

        options = {"parent": IPVLAN.card, "ignore_conflicts": "true"}
        refusal = rig.engine.call("CreateNetwork", network_request("f" * 64, options)).error

        assert f"{IPVLAN.card} is in use by ipvlan" in refusal
        rig.clean()


def test_vlan_that_is_made_when_it_is_needed(rig: Rig, server: DhcpServer) -> None:
    """The VLAN's interface is made for a container, made again after a boot, and goes with the last of its networks."""
    name = f"{TAGGED.card}.{VLAN}"
    with TAGGED.on(rig.machine):
        first = rig.network(**TAGGED.options)
        second = rig.network(**TAGGED.options, ignore_conflicts="true")
        assert name not in rig.machine.links()
        container = rig.joined(first)
        assert name in rig.machine.links()
        container.stop()
        run("ip", "-n", rig.machine.host, "link", "delete", name)  # as a boot does
        rig.joined(second).stop()
        rig.containers.clear()
        rig.engine.delete_network(first)
        assert name in rig.machine.links()

        rig.engine.delete_network(second)

        wait_until(lambda: name not in rig.machine.links(), "the end of the VLAN")
        rig.networks.clear()


@pytest.mark.long
def test_vlan_of_somebody_else(rig: Rig, server: DhcpServer) -> None:
    """A VLAN's interface that was there before is used, and stays; one that has another name is refused with it."""
    name = f"{TAGGED.card}.{VLAN}"
    with TAGGED.on(rig.machine):
        on_host = ("ip", "-n", rig.machine.host, "link")
        run(*on_host, "add", "link", TAGGED.card, "name", name, "type", "vlan", "id", str(VLAN))
        run(*on_host, "set", name, "up")
        rig.joined(rig.network(**TAGGED.options))
        rig.clean()
        assert name in rig.machine.links()

        run(*on_host, "set", name, "down")
        run(*on_host, "set", name, "name", "office")
        refusal = rig.engine.call("CreateNetwork", network_request("f" * 64, TAGGED.options)).error
        assert f"{TAGGED.card} has VLAN {VLAN} already, under another name" in refusal


@pytest.mark.long
def test_filtering_bridge_that_is_made_anew(rig: Rig, server: DhcpServer) -> None:
    """The container's port is in its VLAN again, and in no other one: it renews its lease over the new bridge."""
    with FILTERING.on(rig.machine):
        container = rig.joined(rig.network(**FILTERING.options))
        rig.machine.unplug(FILTERING.options["bridge"])
        FILTERING.prepare(rig.machine, FILTERING.card)
        port = f"dh-{container.endpoint_id[:12]}"
        show = ("bridge", "-n", rig.machine.host, "vlan", "show", "dev", port)
        wait_until(lambda: f"{VLAN} PVID Egress Untagged" in run(*show), "the port's VLAN", 60)

        rig.renew(container)

        assert len(run(*show).splitlines()) == 2  # a headline, and that VLAN
        rig.clean()


@pytest.mark.long
def test_bridge_that_does_not_filter(rig: Rig) -> None:
    """`vlan=` is refused on a bridge that does not filter VLANs, with the command that makes it do so."""
    options = {"bridge": "br-lan", "vlan": str(VLAN)}
    refusal = rig.engine.call("CreateNetwork", network_request("f" * 64, options)).error

    assert "`ip link set br-lan type bridge vlan_filtering 1`" in refusal
