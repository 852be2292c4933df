"""What happens on the host to the interfaces that containers are on: bridges that go and come back, cables."""

import json
import time

import pytest

from tests.lab.command import CommandFailed, run, wait_until
from tests.lab.dhcp import DhcpServer
from tests.lab.network import BRIDGE, SERVER
from tests.netns.process.fakeengine import INTERFACE, Container
from tests.netns.process.instances import Instances, history
from tests.netns.process.rig import Rig
from tests.netns.process.scripted import Grant, scripted_server
from tests.netns.process.wire import Kind, Option, Packet

T1, T2, LEASE_SECONDS = 2, 200, 400  # after a renewal without an answer the next one follows in 70 s or more


def reaches_lan(container: Container) -> bool:
    """Does the LAN answer it?"""
    try:
        container.inside("busybox", "ping", "-c", "1", "-W", "1", str(SERVER))
    except CommandFailed:
        return False
    return True


def wait_for_lan(container: Container) -> None:
    """Until the LAN answers it; prints what that took."""
    begun = time.monotonic()
    wait_until(lambda: reaches_lan(container), "an answer from the LAN")
    print(f"on the LAN again after {time.monotonic() - begun:.2f} s")


def mtu_of(text: str) -> int:
    """From the output of `ip -json link show dev`."""
    (link,) = json.loads(text)
    return int(link["mtu"])


def problems(rig: Rig) -> list[str]:
    """Of `/healthz`."""
    return list(rig.engine.get("/healthz")["problems"])


def wait_for_problem(rig: Rig, *words: str) -> None:
    """Until `/healthz` tells of it."""
    wait_until(lambda: any(all(w in problem for w in words) for problem in problems(rig)), f"{words}")


def wait_for_health(rig: Rig) -> None:
    """Until nothing is wrong."""
    wait_until(lambda: not problems(rig), "a healthy plugin")


def port_of(container: Container) -> str:
    """The name of its port on the bridge."""
    return f"dh-{container.endpoint_id[:12]}"


def test_bridge_that_is_made_anew(rig: Rig, server: DhcpServer) -> None:
    """Its containers are on the LAN again by themselves, with what the new bridge's MTU allows; log, `/healthz` and
    history tell of it, and the lease is renewed over it."""
    container = rig.joined()
    rig.machine.unplug(BRIDGE)
    wait_for_problem(rig, BRIDGE, "has gone")
    assert not reaches_lan(container)

    rig.machine.make_bridge("mtu", "1400")
    wait_for_lan(container)
    wait_for_health(rig)
    wait_until(
        lambda: mtu_of(container.inside("ip", "-json", "link", "show", "dev", INTERFACE)) == 1400,
        "the bridge's MTU in the container",
    )
    rig.renew(container)

    rig.machine.unplug(BRIDGE)
    rig.machine.make_bridge()
    wait_for_lan(container)
    wait_until(lambda: history(rig.directory, container).count("reconnected") == 2, "the history")
    assert mtu_of(rig.machine.on_host("ip", "-json", "link", "show", "dev", BRIDGE)) == 1500
    for words in (f"the interface has gone; containers on it: {container.endpoint_id[:12]}", "the interface is there"):
        assert words in rig.plugin.log, words


def test_port_that_is_taken_from_the_bridge(rig: Rig, server: DhcpServer) -> None:
    """As a tool does it that removes every port it does not know: the port is back at once. One that somebody has given
    to another bridge stays there."""
    container, other = rig.joined(), rig.joined(rig.network(ignore_conflicts="true"))
    rig.machine.on_host("ip", "link", "add", "br-other", "type", "bridge")
    rig.machine.on_host("ip", "link", "set", port_of(other), "master", "br-other")

    rig.machine.on_host("ip", "link", "set", port_of(container), "nomaster")

    wait_for_lan(container)
    wait_until(lambda: "reconnected" in history(rig.directory, container), "the history")
    assert "br-other" in rig.machine.on_host("ip", "link", "show", "dev", port_of(other))
    rig.machine.on_host("ip", "link", "delete", "br-other")
    wait_for_lan(other)


def test_bridge_that_is_set_down(rig: Rig, server: DhcpServer) -> None:
    """`/healthz` says so, and what to do; after that it is healthy."""
    rig.joined()
    rig.machine.on_host("ip", "link", "set", BRIDGE, "down")
    wait_for_problem(rig, f"`ip link set {BRIDGE} up`")

    rig.machine.on_host("ip", "link", "set", BRIDGE, "up")
    rig.machine.on_host("ip", "route", "add", "default", "via", str(SERVER))

    wait_for_health(rig)


def test_made_anew_while_the_plugin_is_away(instances: Instances, rig: Rig, server: DhcpServer) -> None:
    """The next instance puts its containers on the LAN again at its start, and one whose bridge comes later, then."""
    container = rig.joined()
    instances.end()
    rig.machine.unplug(BRIDGE)
    rig.machine.make_bridge()
    instances.start()
    wait_for_lan(container)

    instances.end()
    rig.machine.unplug(BRIDGE)
    instances.start()
    wait_for_problem(rig, BRIDGE, "has gone")
    rig.machine.make_bridge()
    wait_for_lan(container)
    wait_for_health(rig)


@pytest.mark.parametrize("kind", ["bridge", "macvlan"])
def test_cable_that_is_plugged_in_again(rig: Rig, card: str, kind: str) -> None:
    """A renewal that waits for an answer is sent at once when there is a carrier again, not at its next try."""
    times = {int(Option.RENEWAL_TIME): T1, int(Option.REBINDING_TIME): T2}
    grant = Grant(lease_time=LEASE_SECONDS, more={option: at.to_bytes(4, "big") for option, at in times.items()})
    silent = False

    def answer(packet: Packet) -> list[bytes]:
        return [] if silent else grant.answer(packet)

    parent, port = ({"parent": card}, f"{card}-port") if kind == "macvlan" else ({}, "port")
    with scripted_server(rig.machine.lan, answer):
        container = rig.joined(rig.network(client="native", **parent))
        silent, before = True, len(rig.capture.frames(container.mac, Kind.REQUEST))
        wait_until(lambda: len(rig.capture.frames(container.mac, Kind.REQUEST)) > before, "a renewal")
        run("ip", "-n", rig.machine.lan, "link", "set", port, "down")
        wait_until(lambda: "has no carrier" in rig.plugin.log, "the plugin's notice")
        wait_for_problem(rig, card if kind == "macvlan" else f"no uplink of {BRIDGE}", "carrier")
        silent, confirmed = False, rig.confirmations(container)
        run("ip", "-n", rig.machine.lan, "link", "set", port, "up")

        rig.wait_for_bound(container, more_than=confirmed)
        wait_for_health(rig)
        rig.clean()
