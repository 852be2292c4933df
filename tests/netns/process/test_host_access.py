"""The host's own way to the containers of a macvlan network: option `host_access`."""

import os
import re
import signal
import socket
from collections.abc import Iterator
from ipaddress import IPv4Interface

import pytest

from tests.lab.command import CommandFailed, run, wait_until
from tests.lab.dhcp import DhcpServer, ServerLease, ServerOptions
from tests.lab.network import BRIDGE, LAN, MACHINE, SERVER, inside
from tests.netns.process.fakeengine import Container
from tests.netns.process.instances import Instances, kill_supervisor, terminate
from tests.netns.process.rig import Rig

NAME = f"{socket.gethostname().partition('.')[0]}-docker"


def on_host(rig: Rig, words: str) -> str:
    """The output of `ip` on the machine."""
    return run("ip", "-n", rig.machine.host, *words.split())


def link_of(network: str) -> str:
    """The host's link on this network."""
    return f"dh-{network[:12]}"


def routes_over(rig: Rig, network: str) -> set[str]:
    """The destinations that the host reaches over its link."""
    return {line.split()[0] for line in routes(rig, network).splitlines()}


def routes(rig: Rig, network: str) -> str:
    """The host's routes over its link."""
    return on_host(rig, f"-4 route show dev {link_of(network)}")


def index_of(rig: Rig, network: str) -> str:
    """The kernel's number of the host's link."""
    return on_host(rig, f"-o link show dev {link_of(network)}").partition(":")[0]


def renew_host(rig: Rig, network: str) -> None:
    """The host's lease is renewed now: the successor of its worker begins with that."""
    pattern = rf"(confirmed by|address changed).* endpoint={network[:12]}"
    before = len(re.findall(pattern, rig.plugin.log))
    (pid,) = (e["worker_pid"] for e in rig.engine.get("/v1/endpoints")["endpoints"] if e["endpoint_id"] == network)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: len(re.findall(pattern, rig.plugin.log)) > before, "the renewal")


def settings(rig: Rig, network: str) -> str:
    """What the host has beside its link on this network: addresses, routes of both families, name servers."""
    shown = [on_host(rig, words) for words in ("-o addr", "-4 route show table all", "-6 route show table all")]
    lines = (line for text in shown for line in text.splitlines())
    return "\n".join(line for line in lines if link_of(network) not in line and "fe80" not in line)


def ping(rig: Rig, address: object) -> bool:
    """Does the host reach it?"""
    try:
        run(*inside(rig.machine.host, "busybox", "ping", "-c", "1", "-W", "1", str(address)))
    except CommandFailed:
        return False
    return True


def reaches(container: Container, address: object) -> bool:
    """Does the container reach it?"""
    try:
        container.inside("busybox", "ping", "-c", "1", "-W", "1", str(address))
    except CommandFailed:
        return False
    return True


def host_lease(server: DhcpServer) -> ServerLease:
    """The host's own, at the server."""
    (lease,) = (lease for lease in server.leases() if lease.hostname == NAME)
    return lease


def has_access(rig: Rig, network: str, *containers: Container) -> bool:
    """Are these the containers that the host has a way to?"""
    return routes_over(rig, network) == {str(container.ip) for container in containers}


def network_with_access(rig: Rig, only_card: str) -> str:
    """A network on which the host has its lease."""
    network = rig.network(parent=only_card, host_access="true")
    wait_until(lambda: link_of(network) in on_host(rig, "-4 -o addr"), "the host's address on its link")
    return network


@pytest.fixture
def only_card(rig: Rig, card: str) -> Iterator[str]:
    """The machine's own address is on the card, over which alone it is on the LAN."""
    host = rig.machine.host

    def move(address_to: str, address_from: str, uplink: str) -> None:
        run("ip", "-n", host, "link", "set", "uplink", uplink)
        run("ip", "-n", host, "addr", "del", f"{MACHINE}/{LAN.prefixlen}", "dev", address_from)
        run("ip", "-n", host, "addr", "add", f"{MACHINE}/{LAN.prefixlen}", "dev", address_to)
        run("ip", "-n", host, "route", "add", "default", "via", str(SERVER))

    move(card, BRIDGE, "down")
    yield card
    rig.clean()
    move(BRIDGE, card, "up")
    lan_port = ("bridge", "-n", rig.machine.lan, "link", "show", "dev", "port")
    wait_until(lambda: "state forwarding" in run(*lan_port), "the cable")


def test_without_it(rig: Rig, only_card: str, server: DhcpServer) -> None:
    """The control: over a macvlan alone host and container do not reach each other, while the LAN reaches both."""
    container = rig.joined(rig.network(parent=only_card))

    assert not ping(rig, container.ip)
    assert not reaches(container, MACHINE)
    assert reaches(container, SERVER)


def test_both_ways(rig: Rig, only_card: str, server: DhcpServer) -> None:
    """The host reaches the container, which reaches the host at the address that it leased under a name of its own;
    nothing else of the host's network changes, and at the end the lease is given back."""
    before = settings(rig, "")
    network = network_with_access(rig, only_card)
    container = rig.joined(network)
    wait_until(lambda: has_access(rig, network, container), "the route to the container")
    lease = host_lease(server)

    assert ping(rig, container.ip)
    assert reaches(container, lease.address)
    assert settings(rig, network) == before
    assert on_host(rig, f"-4 -o addr show dev {link_of(network)}").split()[3] == f"{lease.address}/32"
    assert on_host(rig, f"-6 -o addr show dev {link_of(network)}") == ""
    assert not reaches(container, MACHINE)  # the link does not answer for other addresses of the host
    assert f"via {SERVER} dev" in on_host(rig, "-4 route get 8.8.8.8")

    container.stop()
    rig.containers.clear()
    wait_until(lambda: has_access(rig, network), "the end of the route")
    rig.clean()
    wait_until(lambda: link_of(network) not in rig.machine.links(), "the end of the link")
    wait_until(lambda: server.kinds(lease.mac)[-1] == "RELEASE", "the release")
    assert server.kinds(lease.mac).count("RELEASE") == 1
    assert settings(rig, "") == before


def test_addresses_that_change(rig: Rig, only_card: str, server: DhcpServer) -> None:
    """A route follows its container to another address, and so do all routes when the host gets another one; strict
    reverse path filtering, which some distributions switch on, does not keep the host from renewing its lease."""
    run(*inside(rig.machine.host, "busybox", "sysctl", "-w", "net.ipv4.conf.all.rp_filter=1"))
    network = network_with_access(rig, only_card)
    container = rig.joined(network)
    wait_until(lambda: has_access(rig, network, container), "the route to the container")
    first = host_lease(server)
    renew_host(rig, network)
    assert server.kinds(first.mac)[-2:] == ["REQUEST", "ACK"]

    server.stop()
    server.lease_file.unlink()
    server.start(ServerOptions(first=LAN[10], last=LAN[40]))
    rig.renew(container)
    renew_host(rig, network)
    moved = wait_until(lambda: [a for a in container.inet if a != container.address], "the container's address")[0]
    there = str(IPv4Interface(moved).ip)

    second = host_lease(server)
    assert second.address != first.address
    wait_until(lambda: f"{there} proto static scope link src {second.address}" in routes(rig, network), "the route")
    assert routes_over(rig, network) == {there}
    assert ping(rig, there)
    assert reaches(container, second.address)
    assert len(on_host(rig, f"-4 -o addr show dev {link_of(network)}").splitlines()) == 1


def test_plugin_that_dies(instances: Instances, rig: Rig, only_card: str, server: DhcpServer) -> None:
    """Host and containers reach each other while the plugin is away. The next instance finds the link again, renews its
    lease, and takes away the route to a container that ended meanwhile."""
    network = network_with_access(rig, only_card)
    stays, ends = rig.joined(network), rig.joined(network)
    wait_until(lambda: has_access(rig, network, stays, ends), "the routes")
    lease, index = host_lease(server), index_of(rig, network)

    instances.end(kill_supervisor)
    assert ping(rig, stays.ip)
    assert reaches(stays, lease.address)
    ends.remove_sandbox()
    before = len(server.kinds(lease.mac))
    instances.start()

    wait_until(lambda: has_access(rig, network, stays), "the end of the route")
    wait_until(lambda: len(server.kinds(lease.mac)) > before + 1, "the renewal of the host's lease")
    assert index_of(rig, network) == index
    assert server.kinds(lease.mac)[before:] == ["REQUEST", "ACK"]
    assert host_lease(server).address == lease.address
    assert ping(rig, stays.ip)


def test_link_that_goes(instances: Instances, rig: Rig, only_card: str, server: DhcpServer) -> None:
    """A link that has gone while the plugin was away, as with a boot, or that goes while it runs, is made again, with
    its name, MAC address, lease and routes."""
    network = network_with_access(rig, only_card)
    lease = host_lease(server)

    instances.end(terminate)
    on_host(rig, f"link delete {link_of(network)}")
    instances.start()

    wait_until(lambda: f"{lease.address}/32" in on_host(rig, "-4 -o addr"), "the host's address")
    container = rig.joined(network)
    wait_until(lambda: has_access(rig, network, container), "the route to the container")
    assert host_lease(server).mac == lease.mac
    assert ping(rig, container.ip)

    index = index_of(rig, network)
    on_host(rig, f"link delete {link_of(network)}")
    wait_until(lambda: link_of(network) in rig.machine.links(), "the next link")
    wait_until(lambda: has_access(rig, network, container), "the route to the container")
    assert index_of(rig, network) != index
    assert (host_lease(server).mac, host_lease(server).address) == (lease.mac, lease.address)
    assert "RELEASE" not in server.kinds(lease.mac)
    assert ping(rig, container.ip)


def test_no_lease_for_the_host(rig: Rig, only_card: str, server: DhcpServer) -> None:
    """If the server gives the host no address, containers start all the same, and /healthz says why the host does not
    reach them."""
    server.restart(ServerOptions(extra=(f"--dhcp-host={NAME},ignore",)))
    network = rig.network(parent=only_card, host_access="true", lease_timeout="3s")

    container = rig.joined(network)

    assert reaches(container, SERVER)
    (problem,) = wait_until(lambda: rig.engine.get("/healthz")["problems"], "the problem")
    assert problem.startswith(f"the host does not reach the containers of network {network[:12]}: no DHCPOFFER on ")
    assert link_of(network) not in rig.machine.links()
