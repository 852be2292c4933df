"""A card that goes and comes back: its containers have their links again, as the engine had made them."""

import json
import os
import re
import signal
from pathlib import Path

import pytest

from tests.lab.command import run, wait_until
from tests.lab.dhcp import DhcpServer, Ipv6Options, ServerOptions
from tests.lab.network import LAN, LAN_BRIDGE, MACHINE
from tests.netns.process.answeringengine import Told
from tests.netns.process.fakeengine import INTERFACE, Container
from tests.netns.process.instances import Instances, history, kill_all
from tests.netns.process.rig import Rig, hang
from tests.netns.process.scripted import Grant, scripted_server
from tests.netns.process.test_host_access import network_with_access, only_card, ping
from tests.netns.process.test_parents import wait_for_health, wait_for_lan, wait_for_problem
from tests.netns.process.wire import Kind, Packet

__all__ = ["only_card"]

MTU = 1400
SHORT_LEASE_SECONDS = 4


def has_link(container: Container) -> bool:
    """Is there anything but the loopback in it?"""
    return len(json.loads(container.inside("ip", "-json", "link"))) > 1


def pull_out(rig: Rig, card: str, *containers: Container) -> None:
    """Returns when `/healthz` says which container waits for what."""
    rig.machine.unplug(card)
    for container in containers:
        wait_for_problem(rig, container.endpoint_id[:12], f"as soon as {card} is up and has a carrier")
        assert not has_link(container)


def wait_for_link(rig: Rig, container: Container) -> None:
    """Until it has its link and a server has confirmed the lease again."""
    wait_for_lan(container)
    wait_until(lambda: "reconnected" in history(rig.directory, container), "the history")
    wait_for_health(rig)


def state(container: Container) -> tuple[object, ...]:
    """Of its link: what the engine, the lease and we have set, without who set it."""
    (link,) = json.loads(container.inside("ip", "-json", "-details", "link", "show", "dev", INTERFACE))
    routes = container.inside("ip", "-4", "route", "show", "dev", INTERFACE).splitlines()
    kind, mode = link["linkinfo"]["info_kind"], link["linkinfo"]["info_data"]["mode"]
    without = "/proc/sys/net/ipv6/conf/eth0/disable_ipv6"
    stated = {" ".join(re.sub(r" (proto|metric) \S+", "", route).split()) for route in routes}
    return kind, mode, link["address"], link["mtu"], container.inet, stated, container.inside("cat", without)


def frames(rig: Rig, container: Container) -> list[Kind]:
    """The kinds of what its client has sent."""
    return [frame.packet.kind for frame in rig.capture.frames(container.mac)]


@pytest.mark.parametrize("client", ["udhcpc", "native"])
def test_card_that_comes_back(rig: Rig, card: str, server: DhcpServer, client: str) -> None:
    """All its containers have name, MAC, address, routes and MTU again on another card of that name, and one lease over
    all that: it is confirmed, never asked for anew, and given back once. `/healthz` tells what is awaited."""
    server.restart(ServerOptions(extra=(f"--dhcp-option=26,{MTU}",)))
    run("ip", "-n", rig.machine.host, "route", "add", "10.99.0.0/16", "dev", card, "scope", "link")
    network = rig.network(parent=card, client=client)
    containers = [rig.joined(network) for _ in range(3)]
    before = [state(container) for container in containers]
    assert "10.99.0.0/16 scope link" in str(before)
    pull_out(rig, card, *containers)
    sent = [len(frames(rig, container)) for container in containers]

    rig.machine.plug_in(card)

    for container, was, known in zip(containers, before, sent, strict=True):
        wait_for_link(rig, container)
        assert state(container) == was
        assert set(frames(rig, container)[known:]) == {Kind.REQUEST}
        assert "RELEASE" not in server.kinds(container.mac)
    assert rig.machine.links().isdisjoint(container.link for container in containers)
    rig.renew(containers[0])
    pull_out(rig, card, *containers)
    rig.machine.plug_in(card)
    for container in containers:
        wait_until(lambda at=container: history(rig.directory, at).count("reconnected") == 2, "the link")  # type: ignore[misc]
        container.stop()
        assert server.kinds(container.mac).count("RELEASE") == 1
    assert server.leases() == []


def test_card_that_is_swapped_at_once(rig: Rig, card: str, server: DhcpServer) -> None:
    """A card that is there again before anybody has looked takes its links along nevertheless."""
    container = rig.joined(rig.network(parent=card))
    was = state(container)

    on_host = f"ip link delete {card}; ip link add {card} type veth peer name {card}-port netns {rig.machine.lan}"
    rig.machine.on_host("sh", "-ec", f"{on_host}; ip link set {card} up")
    run("ip", "-n", rig.machine.lan, "link", "set", f"{card}-port", "master", LAN_BRIDGE, "up")

    wait_for_link(rig, container)
    assert state(container) == was


def test_card_that_comes_back_in_steps(rig: Rig, card: str, server: DhcpServer) -> None:
    """A card that is down is waited for, until it is up; one that has gone again is waited for once more."""
    network = rig.network(parent=card)
    container = rig.joined(network)
    was = state(container)
    pull_out(rig, card, container)
    assert f"{card}: there is none of that name" in rig.container(network).create().error
    port = ("peer", "name", f"{card}-port", "netns", rig.machine.lan)
    run("ip", "-n", rig.machine.host, "link", "add", card, "type", "veth", *port)
    wait_for_problem(rig, f"`ip link set {card} up`")
    assert not has_link(container)
    pull_out(rig, card, container)
    assert "cannot be made" not in rig.plugin.log

    rig.machine.plug_in(card)

    wait_for_link(rig, container)
    assert state(container) == was


def test_ipv6(rig: Rig, card: str, server: DhcpServer) -> None:
    """Both leases go on, and the IPv6 default route is there again."""
    rig.machine.serve_ipv6()
    server.restart(ServerOptions(ipv6=Ipv6Options()))
    container = rig.joined(rig.network(parent=card, ipv6="true"))
    assert container.inet6 == [container.address6]
    kinds, asked = server.kinds6(container.duid), len(server.kinds6(container.duid))
    assert "RELEASE" not in kinds
    pull_out(rig, card, container)

    rig.machine.plug_in(card)

    wait_for_link(rig, container)
    wait_until(lambda: "REPLY" in server.kinds6(container.duid)[asked:], "the answer over IPv6")
    wait_until(lambda: container.default_route6, "the router's advertisement")
    assert (container.inet, container.inet6) == ([container.address], [container.address6])
    container.stop()
    assert (server.kinds(container.mac).count("RELEASE"), server.kinds6(container.duid).count("RELEASE")) == (1, 1)


@pytest.mark.parametrize("expired", ["keep", "drop"])
def test_lease_that_has_run_out_meanwhile(rig: Rig, card: str, expired: str) -> None:
    """With expired=keep the container has its address again even then, with drop as soon as a server grants it."""
    grant, silent = Grant(lease_time=SHORT_LEASE_SECONDS), False

    def answer(packet: Packet) -> list[bytes]:
        return [] if silent else grant.answer(packet)

    with scripted_server(rig.machine.lan, answer):
        container = rig.joined(rig.network(parent=card, expired=expired, client="native"))
        pull_out(rig, card, container)
        wait_until(lambda: container.view["lease_state"] == "expired", "the end of the lease")
        silent, sent = True, len(frames(rig, container))

        rig.machine.plug_in(card)

        wait_until(lambda: len(frames(rig, container)) > sent, "the client's question")
        assert container.inet == ([container.address] if expired == "keep" else [])
        silent, confirmed = False, rig.confirmations(container)
        rig.wait_for_bound(container, more_than=confirmed)
        assert container.inet == [container.address]
        rig.clean()


def test_link_of_the_users_own(rig: Rig, card: str, server: DhcpServer) -> None:
    """An interface that somebody has made under that name stays, and is named; without it the link is back."""
    container = rig.joined(rig.network(parent=card))
    was = state(container)
    pull_out(rig, card, container)
    container.inside("ip", "link", "add", INTERFACE, "type", "bridge")
    rig.machine.plug_in(card)

    wait_for_problem(rig, f"there is another {INTERFACE}; remove that")
    assert len(json.loads(container.inside("ip", "-json", "link"))) == 2  # nothing of ours is left in there
    assert rig.plugin.log.count("cannot be made again yet") == 1
    container.inside("ip", "link", "delete", INTERFACE)

    wait_for_link(rig, container)
    assert state(container) == was


def test_link_that_its_container_removes(instances: Instances, card: str, server: DhcpServer, tmp_path: Path) -> None:
    """That is the container's own doing, and stays so."""
    rig, told = instances.rig, Told()
    container = rig.joined(rig.network(parent=card))
    told.network(container.network_id)
    told.container(container, "web")
    told.serve(rig.daemon, tmp_path / "told.json")
    wait_until(lambda: container.view["container"] == "web", "the watcher")

    container.inside("ip", "link", "delete", INTERFACE)

    wait_for_problem(rig, f"its link on {card} has gone: restart the container")
    assert not has_link(container)


@pytest.mark.parametrize("before_it", [True, False], ids=["without the card", "with it"])
def test_container_that_ends_meanwhile(rig: Rig, card: str, server: DhcpServer, before_it: bool) -> None:
    """It leaves no link behind. Its lease is given back, and without the card it waits for the container's return."""
    network = rig.network(parent=card)
    container, other = rig.joined(network), rig.joined(network)
    pull_out(rig, card, container, other)
    if before_it:
        container.stop()
        rig.machine.plug_in(card)
    else:
        rig.machine.plug_in(card)
        container.stop()
    rig.containers.remove(container)

    wait_for_link(rig, other)
    if before_it:
        again = rig.container(network)
        again.mac = container.mac
        again.start()
        rig.wait_for_bound(again)
        assert (again.address, server.kinds(again.mac).count("RELEASE")) == (container.address, 0)
        again.stop()
        rig.containers.remove(again)
    assert server.kinds(container.mac).count("RELEASE") == 1
    wait_until(lambda: container.link not in rig.machine.links(), "no link")


@pytest.mark.parametrize("while_away", ["gone", "replaced"])
def test_plugin_that_dies_meanwhile(
    instances: Instances, card: str, server: DhcpServer, tmp_path: Path, while_away: str
) -> None:
    """The next instance knows which links are missing, whether the card came back before its start or after it."""
    rig, told = instances.rig, Told()
    container = rig.joined(rig.network(parent=card))
    was, sent = state(container), len(frames(rig, container))
    told.network(container.network_id)
    told.container(container, "web")
    told.serve(rig.daemon, tmp_path / "told.json")
    if while_away == "gone":
        pull_out(rig, card)
        wait_for_problem(rig, "web", f"as soon as {card} is up")
    instances.end(kill_all)
    rig.machine.unplug(card)
    if while_away == "replaced":
        rig.machine.plug_in(card)

    instances.start()

    if while_away == "gone":
        wait_for_problem(rig, "web", f"as soon as {card} is up")
        rig.machine.plug_in(card)
    wait_for_link(rig, container)
    assert state(container) == was
    assert Kind.DISCOVER not in frames(rig, container)[sent:]
    assert "RELEASE" not in server.kinds(container.mac)


def test_worker_that_dies_meanwhile(rig: Rig, card: str, server: DhcpServer) -> None:
    """Its successor waits for the card, and so does that of one that hung when the card came."""
    container = rig.joined(rig.network(parent=card))
    was = state(container)
    pull_out(rig, card, container)
    before = container.view["worker_pid"]
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: container.view["worker_pid"] not in (None, before), "the next worker")
    stopped = hang(container.view["worker_pid"])
    rig.machine.plug_in(card)
    wait_until(lambda: not any("has gone, and" in p for p in rig.engine.get("/healthz")["problems"]), "the card")
    for process in stopped:
        process.kill()

    wait_for_link(rig, container)
    assert state(container) == was


def test_remains_of_a_worker(rig: Rig, card: str, server: DhcpServer) -> None:
    """What a worker has made of the link when it dies is not in its successor's way."""
    container = rig.joined(rig.network(parent=card))
    was = state(container)
    pull_out(rig, card, container)
    stopped = hang(container.view["worker_pid"])
    rig.machine.plug_in(card)
    made = f"link add {container.link} address {container.mac} link {card} type macvlan mode bridge"
    for words in (made, f"link set {container.link} netns {container.sandbox}"):
        run("ip", "-n", rig.machine.host, *words.split())
    for process in stopped:
        process.kill()

    wait_for_link(rig, container)
    assert state(container) == was


def test_host_access(rig: Rig, only_card: str, server: DhcpServer) -> None:
    """The host reaches its containers again, and does not wait for the next try."""
    container = rig.joined(network_with_access(rig, only_card))
    wait_until(lambda: ping(rig, container.ip), "the host's way")
    rig.machine.unplug(only_card)
    wait_for_problem(rig, "the host does not reach the containers")

    rig.machine.plug_in(only_card)
    run("ip", "-n", rig.machine.host, "addr", "add", f"{MACHINE}/{LAN.prefixlen}", "dev", only_card)

    wait_for_link(rig, container)
    wait_until(lambda: ping(rig, container.ip), "the host's way", timeout=10)
