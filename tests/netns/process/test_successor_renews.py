"""A dead worker's successor renews what is held: on the wire, in the kernel, over the whole life of a lease."""

import os
import signal

from tests.lab.command import SLACK_SECONDS, wait_until
from tests.lab.network import LAN, SERVER
from tests.netns.process.fakeengine import INTERFACE, Container
from tests.netns.process.rig import Rig
from tests.netns.process.scripted import Behaviour, Grant, ScriptedServer, scripted_server
from tests.netns.process.wire import NOWHERE, Frame, Kind

EVERYONE = "255.255.255.255"
LEASE_SECONDS = 16
GRANT = Grant(lease_time=LEASE_SECONDS)


def taken_over(rig: Rig, server: ScriptedServer, behaviour: Behaviour) -> tuple[Container, int]:
    """A container whose lease another worker has taken over, asking a server that now behaves so; frames before it."""
    container = rig.joined()
    frames = len(rig.capture.frames())
    server.behaviour = behaviour
    os.kill(container.view["worker_pid"], signal.SIGKILL)
    rig.wait_for_frames(frames + 1)
    return container, frames


def confirm(rig: Rig, container: Container, before: int = 1) -> None:
    """Waits until the successor's question was answered."""
    wait_until(lambda: rig.confirmations(container) > before, "a confirmed lease")


def has_udhcpc(container: Container) -> bool:
    """Whether it is udhcpc that keeps the lease."""
    return container.view["udhcpc_pid"] is not None


def kinds_since(rig: Rig, before: int) -> list[Kind]:
    """What was sent after so many frames."""
    return [f.packet.kind for f in rig.capture.frames()[before:]]


def kind_and_way(frame: Frame) -> tuple[Kind, str, str]:
    """What was sent, from where, to where."""
    return frame.packet.kind, str(frame.source), str(frame.destination)


def test_whole_life(rig: Rig) -> None:
    """T1 by unicast, T2 by broadcast, after expiry a DISCOVER; no packet before its time, none lost."""
    with scripted_server(rig.machine.lan, GRANT.answer) as server:
        container, before = taken_over(rig, server, GRANT.answer)
        confirm(rig, container)
        assert len(rig.capture.frames()) == before + 1
        server.behaviour = lambda _: []

        rig.wait_for_frames(before + 2, LEASE_SECONDS * 0.5 + SLACK_SECONDS)  # before T2
        renewed = container.view["renewed"]
        wait_until(lambda: Kind.DISCOVER in kinds_since(rig, before), "a DISCOVER")

        frames = rig.capture.frames()[before:]
        unicast, broadcast, anew = (
            (Kind.REQUEST, str(GRANT.address), str(SERVER)),
            (Kind.REQUEST, str(GRANT.address), EVERYONE),
            (Kind.DISCOVER, str(NOWHERE), EVERYONE),
        )
        order = [unicast, broadcast, anew]
        ways = [kind_and_way(f) for f in frames]
        assert sorted(ways, key=order.index) == ways
        assert set(ways) == set(order)
        assert container.view["renewed"] == renewed
        assert container.view["lease_state"] == "expired"
        assert container.inet == [container.address]  # kept, as the network's options say nothing else
        assert rig.plugin.log.count("no answer: ") == 1

        server.behaviour = GRANT.answer
        confirm(rig, container, 2)
        assert container.view["lease_state"] == "bound"
        assert not has_udhcpc(container)  # the lease is too short for it
        rig.clean()


def test_refused(rig: Rig) -> None:
    """A NAK to the successor's REQUEST brings a udhcpc, and with it another lease in place of the old one."""
    other = Grant(address=LAN[61])
    with scripted_server(rig.machine.lan, Grant().answer) as server:
        container, before = taken_over(rig, server, other.answer)
        confirm(rig, container)
        assert kinds_since(rig, before) == [Kind.REQUEST, Kind.DISCOVER, Kind.REQUEST]
        assert container.inet == [f"{other.address}/24"]
        assert has_udhcpc(container)
        assert "nak: the server refused 192.168.77.60" in rig.plugin.log
        rig.clean()
    assert rig.capture.frames(kind=Kind.RELEASE)[-1].source == other.address


def test_new_values(rig: Rig) -> None:
    """Another address and another router in the answer to the successor are brought onto the link."""
    other = Grant(address=LAN[61], router=LAN[3])
    with scripted_server(rig.machine.lan, Grant().answer) as server:
        container, _ = taken_over(rig, server, lambda packet: [other.reply(packet, Kind.ACK).encode()])
        confirm(rig, container)
        assert container.inet == [f"{other.address}/24"]
        assert f"default via {LAN[3]}" in container.inside("ip", "-4", "route")
        assert container.view["address"] == f"{other.address}/24"
        rig.clean()


def test_infinite_lease(rig: Rig) -> None:
    """A lease without end is confirmed once; the endpoint is bound and has no expiry."""
    for_ever = Grant(lease_time=0xFFFFFFFF)
    with scripted_server(rig.machine.lan, for_ever.answer) as server:
        container, before = taken_over(rig, server, for_ever.answer)
        confirm(rig, container)
        assert (container.view["lease_state"], container.view["expires"]) == ("bound", None)
        assert len(rig.capture.frames()) == before + 1
        rig.clean()


def test_renamed_interface(rig: Rig) -> None:
    """A container that renames its interface keeps its lease: the successor asks over the new name."""
    with scripted_server(rig.machine.lan, Grant().answer) as server:
        container, before = taken_over(rig, server, Grant().answer)
        confirm(rig, container)
        for words in (f"{INTERFACE} down", f"{INTERFACE} name lan7", "lan7 up"):
            container.inside("ip", "link", "set", *words.split())
        confirm(rig, container, 2)
        assert container.view["interface"] == "lan7"
        assert set(kinds_since(rig, before)) == {Kind.REQUEST}
        container.inside("ip", "link", "set", "lan7", "down")
        container.inside("ip", "link", "set", "lan7", "name", INTERFACE)
        container.inside("ip", "link", "set", INTERFACE, "up")
        confirm(rig, container, 3)
        rig.clean()
