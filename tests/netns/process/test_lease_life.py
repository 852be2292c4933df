"""From Join to Leave: the persistent client in the container's namespace, what renewals change, the release."""

import os
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from signal import SIGUSR1

import pytest

from tests.lab.command import SLACK_SECONDS, run, wait_until
from tests.lab.dhcp import DhcpServer, ServerOptions
from tests.lab.network import LAN, SERVER
from tests.netns.process.fakeengine import INTERFACE
from tests.netns.process.rig import Rig, hang
from tests.netns.process.scripted import Grant, scripted_server
from tests.netns.process.wire import Kind
from workers.system.libc import LIBC

PIDFD_GETFD, PEEKED_BYTES = 438, 1 << 16  # pidfd_getfd(2)
USER_ROUTE = "10.99.0.0/16"


@pytest.mark.parametrize("early", [False, True], ids=["sandbox after Join", "sandbox before"])
def test_client_moves_into_the_container(rig: Rig, server: DhcpServer, early: bool) -> None:
    """After Join a udhcpc in the container's namespace confirms the same address with the same MAC."""
    container = rig.joined(early_sandbox=early)
    view = container.view

    assert (view["phase"], view["interface"], view["lease_state"]) == ("joined", INTERFACE, "bound")
    assert view["address"] == container.address
    pids = run("ip", "netns", "pids", container.sandbox).split()
    assert {str(view["worker_pid"]), str(view["udhcpc_pid"])} <= set(pids)
    assert [lease.mac for lease in server.leases()] == [container.mac]
    assert {f.mac for f in rig.capture.frames()} == {container.mac}


def test_renewal_comes_from_inside(rig: Rig, server: DhcpServer) -> None:
    """A renewal is a unicast REQUEST from the leased address, asks for no new lease, and is acknowledged.

    There may be another, rebinding one: BusyBox misses an answer that comes before it has closed the socket of its
    question.
    """
    container = rig.joined()
    before = len(rig.capture.frames())

    rig.renew(container)

    frames = rig.capture.frames()[before:]
    assert {(f.packet.kind, f.packet.ciaddr) for f in frames} == {(Kind.REQUEST, container.ip)}
    assert (frames[0].source, frames[0].destination) == (container.ip, SERVER)
    assert [m.kind for m in server.messages(container.mac)][-2:] == ["REQUEST", "ACK"]


def turns_faults(worker: int) -> int:
    """The page faults of all turns that the worker has had, which are hundreds in each."""
    return int(Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[8])  # proc_pid_stat(5): cminflt


def test_renewal_without_news_needs_no_turn(rig: Rig, server: DhcpServer) -> None:
    """The worker itself notes it. The next news has a turn as ever."""
    container = rig.joined()
    rig.renew(container)  # with a turn, if the link has changed since it was configured
    worker = container.view["worker_pid"]
    children = Path(f"/proc/{worker}/task/{worker}/children")  # those as well that are not reaped yet
    wait_until(lambda: len(children.read_text().split()) == 1, "the end of the last turn beside udhcpc")
    before = turns_faults(worker)
    for _ in range(2):
        rig.renew(container)
    assert turns_faults(worker) == before
    server.restart(ServerOptions(router=LAN[3]))

    rig.renew(container)

    assert container.default_route.split()[:3] == ["default", "via", str(LAN[3])]
    wait_until(lambda: turns_faults(worker) > before, "the end of a turn")


def test_renewal_at_half_of_the_lease(rig: Rig) -> None:
    """Without any push the client renews a lease of 30 s after 15 s, from inside."""
    with scripted_server(rig.machine.lan, Grant(lease_time=30).answer):
        begun, container = time.monotonic(), rig.joined()
        before = len(rig.capture.frames())

        rig.wait_for_frames(before + 1)

        assert time.monotonic() - begun > 14
        frame = rig.capture.frames(container.mac)[-1]
        assert (frame.source, frame.destination) == (container.ip, SERVER)  # later it would ask everyone
        rig.clean()


def test_start_that_brings_a_route(rig: Rig) -> None:
    """A route of option 121 is nothing that Docker brings: the worker sets it after the first DHCPACK."""
    routes = bytes([16, 10, 98]) + LAN[9].packed + bytes([0]) + SERVER.packed
    with scripted_server(rig.machine.lan, Grant(more={121: routes}).answer):
        container = rig.joined()
        assert f"10.98.0.0/16 via {LAN[9]}" in container.inside("ip", "route")
        rig.clean()


def test_gateway_follows_the_server(rig: Rig, server: DhcpServer) -> None:
    """A new router at the server is the container's default route after the next renewal; nothing else changes."""
    container = rig.joined()
    assert f"via {SERVER} " in container.default_route
    addresses = container.inside("ip", "-4", "-o", "addr", "show")
    server.restart(ServerOptions(router=LAN[3]))

    rig.renew(container)

    assert container.default_route.split()[:3] == ["default", "via", str(LAN[3])]
    assert container.inside("ip", "-4", "-o", "addr", "show") == addresses


def test_own_route_survives_a_new_gateway_and_a_new_address(rig: Rig) -> None:
    """The server moves the client to another address of the subnet in an ACK; the user's route stays, ours follow."""
    first = Grant()
    with scripted_server(rig.machine.lan, first.answer) as server:
        container = rig.joined()
        container.inside("ip", "route", "add", USER_ROUTE, "via", str(LAN[9]))
        second = Grant(address=LAN[61], router=LAN[3])
        server.behaviour = lambda packet: [second.reply(packet, Kind.ACK).encode()]

        rig.renew(container)

        assert container.inet == [f"{second.address}/24"]
        assert container.default_route.split()[:3] == ["default", "via", str(second.router)]
        assert f"{USER_ROUTE} via {LAN[9]}" in container.inside("ip", "route")
        assert container.view["address"] == f"{second.address}/24"
        rig.clean()
    assert rig.capture.frames(kind=Kind.RELEASE)[-1].source == second.address


def test_refused_renewal(rig: Rig) -> None:
    """After a NAK the client gets another address by itself, and the container's old one is gone from the link."""
    with scripted_server(rig.machine.lan, Grant().answer) as server:
        container = rig.joined()
        server.behaviour = Grant(address=LAN[61]).answer

        rig.renew(container)

        assert "nak: the server refused 192.168.77.60" in rig.plugin.log
        assert container.inet == [f"{LAN[61]}/24"]
        assert f"via {SERVER} " in container.default_route
        assert rig.capture.kinds(container.mac)[-3:] == [Kind.REQUEST, Kind.DISCOVER, Kind.REQUEST]
        rig.clean()


def unread(pid: int) -> str:
    """What the process has not read yet of its sockets; it stays in there."""
    process, found = os.pidfd_open(pid), b""
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        number = LIBC.syscall(PIDFD_GETFD, process, int(entry.name), 0)
        with suppress(OSError), socket.socket(fileno=number) as copy:  # not a socket, or an empty one
            found += copy.recv(PEEKED_BYTES, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    os.close(process)
    return found.decode(errors="replace")


def test_leave_in_the_moment_of_another_lease(rig: Rig) -> None:
    """What udhcpc has just been granted is given back, although its worker had not come to it before Leave."""
    with scripted_server(rig.machine.lan, Grant().answer) as server:
        container = rig.joined()
        server.behaviour = Grant(address=LAN[61]).answer
        os.kill(container.view["udhcpc_pid"], SIGUSR1)
        wait_until(lambda: "nak: " in rig.plugin.log, "the refusal")
        view = container.view
        with ThreadPoolExecutor() as engine:
            stopped = hang(view["worker_pid"])
            try:
                wait_until(lambda: f"ip={LAN[61]}" in unread(view["worker_pid"]), "another lease")
                leaving = engine.submit(container.leave)
                wait_until(lambda: container.view["phase"] == "leaving", "Leave")
            finally:
                for process in stopped:
                    process.resume()
            assert leaving.result().status == 200

        (release,) = rig.capture.frames(kind=Kind.RELEASE)
        assert release.packet.ciaddr == LAN[61]
        rig.clean()


@pytest.mark.parametrize("early", [False, True], ids=["sandbox after Join", "sandbox before"])
def test_leave_releases_once_and_before_its_answer(rig: Rig, server: DhcpServer, early: bool) -> None:
    """When Leave is answered the server has seen one RELEASE, by unicast from the leased address; Delete adds none."""
    container = rig.joined(early_sandbox=early)

    answer = container.leave()

    (release,) = rig.capture.frames(kind=Kind.RELEASE)
    assert answer.body == {}
    assert (release.mac, release.source, release.destination) == (container.mac, container.ip, SERVER)
    assert not server.leases()
    assert container.view["phase"] == "left"
    assert run("ip", "netns", "pids", container.sandbox) == ""  # nobody of ours keeps the namespace alive
    container.delete()
    assert len(rig.capture.frames(kind=Kind.RELEASE)) == 1


def test_leave_without_a_server(rig: Rig, server: DhcpServer) -> None:
    """A server that has gone delays Leave and Delete by no more than the release's two seconds, and fails neither."""
    container = rig.joined()
    run("ip", "-n", rig.machine.lan, "link", "set", "port", "down")

    left, deleted = container.leave(), container.delete()

    run("ip", "-n", rig.machine.lan, "link", "set", "port", "up")
    server.restart(ServerOptions(lease_time=120))
    server.lease_file.write_text("")
    assert (left.status, deleted.status) == (200, 200)
    assert left.seconds < 2 + SLACK_SECONDS
    assert deleted.seconds < SLACK_SECONDS


def test_container_ends_before_it_is_entered(rig: Rig, server: DhcpServer) -> None:
    """A sandbox that has gone, and the link with it, does not keep the lease: Delete releases it."""
    container = rig.container()
    container.create()
    joined = container.join()
    run("ip", "-n", rig.machine.host, "link", "delete", joined.body["InterfaceName"]["SrcName"])

    container.stop()

    assert [f.source for f in rig.capture.frames(kind=Kind.RELEASE)] == [container.ip]
    assert not server.leases()


def test_start_that_fails_before_the_link_is_moved(rig: Rig, server: DhcpServer) -> None:
    """A start that fails between Join and the link's move gives its lease back by Leave and Delete alone."""
    container = rig.container()
    container.create()
    assert container.join().status == 200

    assert container.leave().status == 200
    assert container.delete().status == 200

    assert len(rig.capture.frames(kind=Kind.RELEASE)) == 1
    assert not server.leases()


def test_default_route_that_the_user_removed(rig: Rig, server: DhcpServer) -> None:
    """A renewal does not give the container a default route that the user took away."""
    container = rig.joined()
    container.inside("ip", "route", "delete", "default")

    rig.renew(container)

    assert container.default_route == ""
