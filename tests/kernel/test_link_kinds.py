"""Kinds of links that need a kernel with ipvlan, VLANs, bonding and bridges that filter VLANs: judged at the server."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from ipaddress import IPv4Address, IPv6Address, IPv6Interface
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.kernel.ways import FILTERING, IPVLAN, TAGGED, VLAN, WAYS, Way
from tests.lab.command import run, wait_until
from tests.lab.dhcp import DhcpServer, Ipv6Options, ServerLease, ServerLease6, ServerOptions
from tests.lab.kea import Kea, KeaLease, KeaOptions
from tests.lab.kea6 import Kea6, Kea6Lease
from tests.lab.network import LAN, LAN6
from tests.netns.process import wire6
from tests.netns.process.fakeengine import INTERFACE, Container, network_request
from tests.netns.process.forgery import answers_of_strangers, claim, flood, mac_of, rogue_advertisements
from tests.netns.process.instances import Instances, terminate
from tests.netns.process.rig import Rig
from tests.netns.process.test_floods import cheap
from tests.netns.process.wire import EVERYONE, Kind


class Servers(NamedTuple):
    """What servers of both families have leased, and which DHCPv6 messages they have exchanged with a client."""

    leases4: Callable[[], Sequence[ServerLease | KeaLease]]
    leases6: Callable[[], Sequence[ServerLease6 | Kea6Lease]]
    kinds6: Callable[[str], list[str]]


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


@pytest.fixture(params=["dnsmasq", pytest.param("kea", marks=pytest.mark.long)])
def servers(request: pytest.FixtureRequest, rig: Rig, tmp_path: Path) -> Iterator[Servers]:
    """The LAN's servers of both families."""
    rig.machine.serve_ipv6()
    with ExitStack() as stack:
        if request.param == "kea":
            kea, kea6 = Kea(tmp_path, rig.machine.lan), Kea6(tmp_path, rig.machine.lan)
            stack.callback(kea.stop)
            stack.callback(kea6.stop)
            kea.start()
            kea6.start()
            yield Servers(kea.leases, kea6.leases, kea6.kinds)
        else:
            dnsmasq = DhcpServer(tmp_path, rig.machine.lan)
            stack.callback(dnsmasq.stop)
            dnsmasq.start(ServerOptions(ipv6=Ipv6Options()))
            yield Servers(dnsmasq.leases, dnsmasq.leases6, dnsmasq.kinds6)
        rig.clean()


def test_two_identities_with_one_mac(rig: Rig, servers: Servers) -> None:
    """Two containers on ipvlan have their card's MAC address and two identities, each the same in both families, so the
    servers lease two addresses of each family. A container that is started again with its `id` has the same ones. An
    IPv6 lease is renewed in the container, and all are given back."""
    with IPVLAN.on(rig.machine):
        network = rig.network(**IPVLAN.options, ipv6="true")
        one, other = rig.joined(network), rig.joined(network, {"id": "db"})
        macs, before = clients(servers)
        assert macs == {mac_at_server(rig, IPVLAN, one)}
        assert before.keys() == {(one.ip, one.ip6), (other.ip, other.ip6)}
        assert len(set(before.values())) == 2
        assert (one.inet, one.inet6) == ([one.address], [one.address6])

        duid, asked = before[one.ip, one.ip6], len(servers.kinds6(before[one.ip, one.ip6]))
        rig.restart_worker(one)
        wait_until(lambda: "REPLY" in servers.kinds6(duid)[asked:], "the answer to a renewal over IPv6")
        other.stop()
        again = rig.joined(network, {"id": "db"})

        assert (again.ip, again.ip6) == (other.ip, other.ip6)
        assert clients(servers) == (macs, before)
        rig.clean()
        wait_until(lambda: not (servers.leases4() or servers.leases6()), "a release of each lease")


def clients(servers: Servers) -> tuple[set[str], dict[tuple[IPv4Address, IPv6Address], str]]:
    """The MAC addresses that the servers see, and the DUID of each client with the addresses that it has leased.

    The client identifier of the IPv4 lease ends with the DUID of the IPv6 one (RFC 4361).
    """
    leases4, leases6 = servers.leases4(), servers.leases6()
    found = {
        (lease.address, lease6.address): lease6.duid
        for lease in leases4
        for lease6 in leases6
        if lease.client_id.startswith("ff:") and lease.client_id.endswith(lease6.duid)
    }
    assert len(found) == len(leases4) == len(leases6)
    return {lease.mac for lease in leases4}, found


@pytest.mark.long
def test_servers_that_answer_to_the_card(rig: Rig, tmp_path: Path) -> None:
    """Kea sends its broadcast answers in frames to the card. A container on ipvlan hears them when it asks for a lease,
    for another server after T2, for another address after a refusal, and for its address when it starts again. The rule
    on the card that brings this about goes with the network."""
    kea = Kea(tmp_path, rig.machine.lan)
    kea.start()
    with ExitStack() as stack:
        stack.callback(kea.stop)
        stack.enter_context(IPVLAN.on(rig.machine))
        network = rig.network(**IPVLAN.options, release="keep")
        container = rig.joined(network, {"id": "db"})
        mac = mac_at_server(rig, IPVLAN, container)
        kea.stop()
        wait_until(lambda: asked_all(rig, container), "a question to all servers", 60)
        confirmed = rig.confirmations(container)
        kea.start()
        wait_until(lambda: rig.confirmations(container) > confirmed, "the answer", 60)

        kea.restart(KeaOptions(reservations={mac: LAN[120]}))
        rig.renew(container)
        assert container.inet == [f"{LAN[120]}/24"]
        assert "NAK" in kea.kinds(mac)

        container.stop()
        known = len(kea.kinds(mac))
        again = rig.joined(network, {"id": "db"})
        assert kea.kinds(mac)[known:][:2] == ["REQUEST", "ACK"]
        assert (again.ip, again.inet) == (LAN[120], [f"{LAN[120]}/24"])

        ruleset = ("ip", "netns", "exec", rig.machine.host, "nft", "list", "ruleset")
        assert f'hook ingress device "{IPVLAN.card}"' in run(*ruleset)
        rig.clean()
        wait_until(lambda: not run(*ruleset), "the end of the rule")


def asked_all(rig: Rig, container: Container) -> bool:
    """Whether a renewal of this container's lease went to all servers."""
    renewals = [f for f in rig.capture.frames(kind=Kind.REQUEST) if f.packet.ciaddr == container.ip]
    return any(frame.destination == EVERYONE for frame in renewals)


@pytest.mark.long
def test_floods_on_an_ipvlan(rig: Rig, server: DhcpServer) -> None:
    """Floods of what servers, routers and neighbours may say cost a container on ipvlan no address and next to no
    processor time. Its leases are renewed and another container starts amid them."""
    rig.machine.serve_ipv6()
    server.restart(ServerOptions(ipv6=Ipv6Options()))
    with IPVLAN.on(rig.machine):
        network = rig.network(**IPVLAN.options, ipv6="true", client="native")
        container = rig.joined(network)
        frames = answers_of_strangers(mac_at_server(rig, IPVLAN, container))
        frames += rogue_advertisements(IPv6Address("fe80::1"), wire6.prefix(LAN6, 0xC0, 0, 0))
        for number in range(100):
            frames.append(claim(container.ip, mac_of(number)))
            frames.append(wire6.neighbour_advertisement(container.ip6, mac_of(number)))

        with flood(rig.machine, frames):
            with cheap(rig, container):
                pass
            rig.renew(container)
            started = rig.joined(network)

        for one in (container, started):
            assert one.inet == [one.address]
            assert one.address6 in one.inet6
        assert {lease.address for lease in server.leases()} == {container.ip, started.ip}
        rig.clean()


@pytest.mark.long
def test_slaac_with_one_mac(rig: Rig, server: DhcpServer) -> None:
    """Containers on ipvlan make different addresses of one advertised prefix: those that Docker was told of, of which
    the kernel's agree. A container that is started again with its `id` has the same one."""
    rig.machine.serve_ipv6()
    server.restart(ServerOptions(ipv6=Ipv6Options(mode="ra-only")))
    with IPVLAN.on(rig.machine):
        network = rig.network(**IPVLAN.options, ipv6="slaac")
        one, other = rig.joined(network), rig.joined(network, {"id": "db"})
        assert one.ip6 != other.ip6
        assert addresses_by_router(one) == [one.ip6]
        assert addresses_by_router(other) == [other.ip6]

        other.stop()
        again = rig.joined(network, {"id": "db"})

        assert (again.ip6, again.ip6 in LAN6) == (other.ip6, True)
        rig.clean()


def addresses_by_router(container: Container) -> list[IPv6Address]:
    """Those on the link after the kernel has heard the router."""
    wait_until(lambda: "proto ra" in container.default_route6, "the router's advertisement")
    return [IPv6Interface(address).ip for address in container.inet6]


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
