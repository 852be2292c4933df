"""A container's life on a macvlan: first lease, renewals, release, and what the parent does meanwhile."""

import os
import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.lab.command import run, wait_until
from tests.lab.dhcp import DhcpServer, Ipv6Options, ServerOptions
from tests.lab.network import BRIDGE, LAN_BRIDGE
from tests.netns.process.fakeengine import INTERFACE, Answer, Container, network_request
from tests.netns.process.instances import Instances
from tests.netns.process.rig import Rig
from tests.netns.process.wire import Kind

MAC = "02:00:5e:10:00:07"
RESTARTS = 20


def set_link(rig: Rig, link: str, *words: str) -> None:
    """Of the machine."""
    run("ip", "-n", rig.machine.host, "link", "set", link, *words)


def test_life(rig: Rig, card: str, server: DhcpServer) -> None:
    """The link is a macvlan of the card and the host has no end of it; a lease, a renewal from inside, one RELEASE, all
    with the container's MAC."""
    container = rig.joined(rig.network(parent=card))
    view = container.view
    assert (view["mode"], view["parent"], view["host_link"]) == ("macvlan", card, None)
    assert "macvlan mode bridge" in container.inside("ip", "-d", "link", "show", INTERFACE)
    assert container.inet == [container.address]
    assert [lease.mac for lease in server.leases()] == [container.mac]
    assert not {name for name in rig.machine.links() if name.startswith(("dc-", "dh-"))}

    rig.renew(container)
    container.stop()
    rig.containers.clear()

    kinds = server.kinds(container.mac)
    assert (kinds.count("RELEASE"), kinds[-1]) == (1, "RELEASE")
    assert {frame.mac for frame in rig.capture.frames()} == {container.mac}
    assert server.leases() == []


def test_restarts_with_a_fixed_mac(rig: Rig, card: str, server: DhcpServer) -> None:
    """Each start follows the last stop at once, as `docker restart` does: the former link is never in the way."""
    network = rig.network(parent=card)
    addresses = set()
    for _ in range(RESTARTS):
        container = rig.container(network)
        container.mac = MAC
        container.start()
        addresses.add(container.address)
        wait_until(lambda: rig.containers[-1].view["phase"] == "joined", "the worker in its sandbox")
        container.stop()
        rig.containers.remove(container)

    assert len(addresses) == 1
    assert server.kinds(MAC).count("RELEASE") == RESTARTS


def test_release_without_a_sandbox(rig: Rig, card: str, server: DhcpServer) -> None:
    """A container that never started gives its lease back over a macvlan on the host."""
    container = rig.container(rig.network(parent=card))
    assert container.create().status == 200

    container.delete()
    rig.containers.clear()

    assert server.kinds(container.mac)[-1] == "RELEASE"
    assert container.link not in rig.machine.links()


def joined_but_not_moved(rig: Rig, container: Container) -> Answer:
    """Join's answer; returns when the worker has taken the link down, which the engine does not move yet."""
    assert container.create().status == 200
    joined = container.join()
    show = ("ip", "-n", rig.machine.host, "-oneline", "link", "show", "dev", container.link)
    wait_until(lambda: "UP" not in re.split("[<,>]", run(*show)), "the link to go down")
    return joined


def test_link_that_waits_for_the_engine(rig: Rig, card: str, server: DhcpServer) -> None:
    """It goes down, because the engine then moves it sooner. The container has its lease as ever."""
    container = rig.container(rig.network(parent=card))
    joined = joined_but_not_moved(rig, container)

    container.attach(joined)
    rig.wait_for_bound(container)

    assert container.inet == [container.address]


def test_release_over_a_link_that_waited(rig: Rig, card: str, server: DhcpServer) -> None:
    """A container that breaks off while its link waits gives back the leases of both families, once each."""
    rig.machine.serve_ipv6()
    server.restart(ServerOptions(ipv6=Ipv6Options()))
    container = rig.container(rig.network(parent=card, ipv6="true"))
    joined_but_not_moved(rig, container)

    container.stop()
    rig.containers.clear()

    assert (server.kinds(container.mac).count("RELEASE"), server.kinds6(container.duid).count("RELEASE")) == (1, 1)
    wait_until(lambda: container.link not in rig.machine.links(), "the removal of the link")


def test_worker_that_dies(rig: Rig, card: str, server: DhcpServer) -> None:
    """Its successor finds the macvlan in the sandbox and renews the lease there, without a DISCOVER."""
    container = rig.joined(rig.network(parent=card))
    before, confirmed = len(rig.capture.frames()), rig.confirmations(container)

    os.kill(container.view["worker_pid"], signal.SIGKILL)
    rig.wait_for_bound(container, more_than=confirmed)

    assert {frame.packet.kind for frame in rig.capture.frames()[before:]} == {Kind.REQUEST}


def test_parent_that_is_down_at_the_start(rig: Rig, card: str, server: DhcpServer) -> None:
    """The start waits for it within its time; after that the error says what is wrong and what to do."""
    network = rig.network(parent=card, lease_timeout="4s")
    set_link(rig, card, "down")
    late, never = rig.container(network), rig.container(network)

    failed = never.create()
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(late.create)
        time.sleep(1.0)  # longer than the first DISCOVER
        set_link(rig, card, "up")
        assert answer.result().status == 200

    assert f"{card} is down: raise it with `ip link set {card} up`" in failed.error
    assert late.address


def test_parent_that_goes_down_and_up(rig: Rig, card: str, server: DhcpServer) -> None:
    """A cable that was out costs nothing: the container keeps address and routes, and is renewed afterwards."""
    container = rig.joined(rig.network(parent=card))
    route = container.default_route
    for words in (("down",), ("up",)):
        set_link(rig, card, *words)
    run("ip", "-n", rig.machine.lan, "neigh", "flush", "dev", LAN_BRIDGE)

    wait_until(lambda: "state forwarding" in run("bridge", "-n", rig.machine.lan, "link", "show"), "the cable")
    rig.renew(container)

    assert (container.inet, container.default_route) == ([container.address], route)
    assert rig.engine.get("/healthz")["healthy"]


def test_plugin_that_dies(instances: Instances, rig: Rig, card: str, server: DhcpServer) -> None:
    """The next instance goes on in the sandbox, keeps the link that waits for its container, and removes no other."""
    network = rig.network(parent=card)
    joined, created = rig.joined(network), rig.container(network)
    created.create()
    run("ip", "-n", rig.machine.host, "link", "add", "dc-stranger", "link", card, "type", "macvlan")
    before, confirmed = len(rig.capture.frames()), rig.confirmations(joined)

    instances.again()
    rig.wait_for_bound(joined, more_than=confirmed)

    assert {frame.packet.kind for frame in rig.capture.frames()[before:]} == {Kind.REQUEST}
    assert {created.link, "dc-stranger"} <= rig.machine.links()
    run("ip", "-n", rig.machine.host, "link", "delete", "dc-stranger")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"parent": BRIDGE}, f"option parent: {BRIDGE} cannot be the parent: it is a bridge; use -o bridge={BRIDGE}"),
        ({"parent": "uplink"}, f"option parent: uplink cannot be the parent: it is a port of the bridge {BRIDGE}"),
        ({"parent": "absent"}, "option parent: using the link absent: there is none of that name"),
        ({"parent": "lo", "bridge": BRIDGE}, "options bridge and parent exclude each other"),
    ],
)
def test_refused(rig: Rig, options: dict[str, str], words: str) -> None:
    """`network create` says why it cannot be, and nothing is left of it."""
    answer = rig.engine.call("CreateNetwork", network_request("a" * 64, options))

    assert answer.status == 400
    assert answer.error.startswith(words)
