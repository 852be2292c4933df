"""Parents that go and come back: ipvlan, the VLANs that the plugin makes and those of others, bonds."""

from ipaddress import IPv6Interface

import pytest

from tests.kernel.test_link_kinds import mac_at_server
from tests.kernel.ways import BOND, IPVLAN, TAGGED, VLAN, Way
from tests.lab.command import run, wait_until
from tests.lab.dhcp import DhcpServer, Ipv6Options, ServerOptions
from tests.netns.process.fakeengine import Container
from tests.netns.process.instances import history
from tests.netns.process.rig import Rig
from tests.netns.process.test_parents import wait_for_health, wait_for_lan, wait_for_problem
from tests.netns.process.test_returning_cards import has_link, state


@pytest.mark.parametrize("way", [IPVLAN, TAGGED, BOND], ids=["ipvlan", "VLAN", "bond"])
def test_parent_that_comes_back(rig: Rig, server: DhcpServer, way: Way) -> None:
    """Two containers of one parent have their links again, with their addresses and routes, and the leases go on; each
    is given back once. The parent may have another MAC address then, which an ipvlan has, too."""
    with way.on(rig.machine):
        network = rig.network(**way.options)
        containers = [rig.joined(network), rig.joined(network, {"id": "db"})]
        before = [without_mac(container) for container in containers]
        macs, leased = {mac_at_server(rig, way, c) for c in containers}, {lease.address for lease in server.leases()}
        way.remove(rig.machine)
        for container in containers:
            wait_for_problem(rig, container.endpoint_id[:12], "it is made again as soon as")
            assert not has_link(container)

        way.make(rig.machine)

        for container, was in zip(containers, before, strict=True):
            wait_until(lambda at=container: "reconnected" in history(rig.directory, at), "the link")  # type: ignore[misc]
            wait_for_lan(container)
            assert without_mac(container) == was
        wait_for_health(rig)
        now = {mac_at_server(rig, way, container) for container in containers}
        assert macs.isdisjoint(now) == (way is IPVLAN)
        assert {lease.address for lease in server.leases()} == leased == {c.ip for c in containers}
        assert not [mac for mac in macs | now if "RELEASE" in server.kinds(mac)]
        if way is IPVLAN:
            rules = run("ip", "netns", "exec", rig.machine.host, "nft", "list", "ruleset")
            assert f'hook ingress device "{way.card}"' in rules
        for container in containers:
            rig.renew(container)
        rig.clean()
        wait_until(lambda: not server.leases(), "a release of each lease")


def without_mac(container: Container) -> tuple[object, ...]:
    """Its link's state, but the MAC address, which may be another one."""
    kind, mode, _, *rest = state(container)
    return kind, mode, *rest


@pytest.mark.long
def test_ipv6_of_an_ipvlan(rig: Rig, server: DhcpServer) -> None:
    """The kernel makes the same address of the advertised prefix, whatever MAC address the next card has."""
    rig.machine.serve_ipv6()
    server.restart(ServerOptions(ipv6=Ipv6Options(mode="ra-only")))
    with IPVLAN.on(rig.machine):
        container = rig.joined(rig.network(**IPVLAN.options, ipv6="slaac"))
        wait_until(lambda: "proto ra" in container.default_route6, "the router's advertisement")
        IPVLAN.remove(rig.machine)
        wait_for_problem(rig, "it is made again as soon as")

        IPVLAN.make(rig.machine)

        wait_for_lan(container)
        wait_for_health(rig)
        wait_until(lambda: "proto ra" in container.default_route6, "the router's advertisement")
        assert {IPv6Interface(address).ip for address in container.inet6} == {container.ip6}
        rig.clean()


def test_vlan_that_somebody_removes(rig: Rig, server: DhcpServer) -> None:
    """The plugin makes its own VLAN again at once, and waits for one that somebody else has made."""
    name = f"{TAGGED.card}.{VLAN}"
    with TAGGED.on(rig.machine):
        on_host = ("ip", "-n", rig.machine.host, "link")
        network = rig.network(**TAGGED.options)
        container = rig.joined(network)
        run(*on_host, "delete", name)
        wait_until(lambda: "reconnected" in history(rig.directory, container), "the link")
        wait_for_lan(container)
        rig.clean()
        wait_until(lambda: name not in rig.machine.links(), "the end of the VLAN")

        vlan = ("link", TAGGED.card, "name", name, "type", "vlan", "id", str(VLAN))
        run(*on_host, "add", *vlan)
        run(*on_host, "set", name, "up")
        container = rig.joined(rig.network(**TAGGED.options))
        run(*on_host, "delete", name)
        wait_for_problem(rig, f"it is made again as soon as {name} is up and has a carrier")
        assert name not in rig.machine.links()
        run(*on_host, "add", *vlan)
        run(*on_host, "set", name, "up")
        wait_until(lambda: "reconnected" in history(rig.directory, container), "the link")
        wait_for_lan(container)
        rig.clean()
        assert name in rig.machine.links()
