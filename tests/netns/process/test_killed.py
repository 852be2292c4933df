"""`kill -9` of each process: it is back by itself, no lease is lost, the others do not notice."""

import os
import signal
import time
from collections.abc import Callable

import psutil
import pytest

from tests.api.unit import reaction
from tests.lab.command import SLACK_SECONDS, run, wait_until
from tests.lab.dhcp import DhcpServer
from tests.lab.process import tree
from tests.netns.process.fakeengine import INTERFACE, Container
from tests.netns.process.hurried import GONE_SECONDS
from tests.netns.process.plugin import NAMES, PluginProcess
from tests.netns.process.rig import Rig
from tests.netns.process.wire import Kind


def kill(pid: int) -> None:
    """Returns when nothing of that process runs any more."""
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not psutil.pid_exists(pid), f"the end of {pid}")


def gunicorn_master(plugin: PluginProcess) -> int:
    """The API's first process."""
    return plugin.pids(NAMES["api"])[0]


def gunicorn_worker(plugin: PluginProcess) -> int:
    """The API's second process."""
    return plugin.pids(NAMES["api"])[1]


def pids(container: Container) -> tuple[int, int]:
    """Of the endpoint's worker and udhcpc."""
    view = container.view
    return view["worker_pid"], view["udhcpc_pid"]


@pytest.mark.parametrize("role", ["worker_pid", "udhcpc_pid"])
def test_endpoints_own_processes(rig: Rig, server: DhcpServer, role: str) -> None:
    """A successor confirms the same lease in the same namespace; the neighbour keeps its processes."""
    network = rig.network()
    victim, neighbour = rig.joined(network), rig.joined(network)
    before, undisturbed = victim.view, pids(neighbour)
    confirmed = rig.confirmations(victim)
    discovers = len(rig.capture.frames(victim.mac, Kind.DISCOVER))

    kill(before[role])
    rig.wait_for_bound(victim, more_than=confirmed)

    after = victim.view
    assert after[role] != before[role]
    assert (after["address"], after["mac"], after["lease_state"]) == (before["address"], before["mac"], "bound")
    assert pids(neighbour) == undisturbed
    assert not rig.capture.frames(kind=Kind.RELEASE)
    assert len(server.leases()) == 2
    if role == "worker_pid":  # its successor asks for nothing new, it renews what is held
        assert len(rig.capture.frames(victim.mac, Kind.DISCOVER)) == discovers
    else:
        rig.renew(victim)
    victim.leave()
    assert len(rig.capture.frames(victim.mac, Kind.RELEASE)) == 1


@pytest.mark.usefixtures("server")
def test_turn(rig: Rig) -> None:
    """A turn that dies beside a udhcpc takes its worker along at once, and a successor confirms the lease."""
    container = rig.joined()
    confirmed = rig.confirmations(container)
    worker, udhcpc = pids(container)

    def killed() -> bool:
        """What changes on the link has a turn, for a second; one may end by itself just before."""
        for change in ("add", "del"):
            run("ip", "-n", container.sandbox, "address", change, "192.0.2.1/32", "dev", INTERFACE)
        for process in tree(worker):
            if process.pid not in (worker, udhcpc):
                process.kill(signal.SIGKILL)
        return bool(container.view["worker_pid"] != worker)

    wait_until(killed, "the worker's end")
    rig.wait_for_bound(container, more_than=confirmed)
    assert not rig.capture.frames(kind=Kind.RELEASE)


@pytest.mark.usefixtures("hurried")
def test_worker_while_dockerd_is_away(rig: Rig, server: DhcpServer) -> None:
    """Its successor has no way to the sandbox, which is no reason to give the container up: it waits for a dockerd."""
    container = rig.joined()
    confirmed, former = rig.confirmations(container), container.view["worker_pid"]
    rig.daemon.stop()
    kill(former)
    wait_until(lambda: "waiting for the next dockerd" in rig.plugin.log, "its successor's look for the sandbox")
    time.sleep(2 * GONE_SECONDS)  # in which it would be given up
    assert container.view["worker_pid"] not in (None, former)

    rig.daemon.start()
    rig.wait_for_bound(container, more_than=confirmed)
    assert not rig.capture.frames(kind=Kind.RELEASE)
    assert [lease.mac for lease in server.leases()] == [container.mac]


def test_worker_between_create_and_join(rig: Rig, server: DhcpServer) -> None:
    """An endpoint whose worker dies before Join is joined all the same, with the address that Docker was told."""
    container = rig.container()
    container.create()
    kill(container.view["worker_pid"])

    joined = container.join()
    assert joined.status == 200
    container.attach(joined)
    rig.wait_for_bound(container)

    assert container.view["address"] == container.address
    assert len(server.leases()) == 1


def test_worker_while_it_awaits_the_first_lease(rig: Rig) -> None:
    """The engine gets an error at once, the half-made link is removed."""
    container = rig.container()
    links = rig.machine.links()
    creating = rig.engine.send("CreateEndpoint", container.request)
    rig.wait_for_frames(1)
    begun = time.monotonic()

    kill(container.view["worker_pid"])

    with creating:
        answer = reaction(creating)
    assert time.monotonic() - begun < SLACK_SECONDS
    assert (answer.status, "worker died" in answer.json["Err"]) == (500, True)
    wait_until(lambda: rig.machine.links() == links, "the removal of the link")


def test_worker_just_before_leave(rig: Rig, server: DhcpServer) -> None:
    """A Leave whose worker is killed just before is answered, and the lease is released all the same."""
    container = rig.joined()
    os.kill(container.view["worker_pid"], signal.SIGKILL)

    answer = container.leave()
    container.delete()

    assert (answer.status, answer.seconds < 2 * SLACK_SECONDS) == (200, True)
    wait_until(lambda: not server.leases(), "the release")


@pytest.mark.parametrize("victim", [gunicorn_master, gunicorn_worker])
def test_api(rig: Rig, server: DhcpServer, victim: Callable[[PluginProcess], int]) -> None:
    """A call in flight ends at once, a new one is answered soon, endpoints do not notice."""
    neighbour = rig.joined()
    undisturbed, links = pids(neighbour), rig.machine.links()
    server.stop()
    container = rig.container(neighbour.network_id)
    in_flight = rig.engine.send("CreateEndpoint", container.request)
    rig.wait_for_frames(len(rig.capture.frames()) + 1)

    begun = time.monotonic()
    kill(victim(rig.plugin))
    with in_flight:
        assert reaction(in_flight).raw == b""
    ended = time.monotonic() - begun
    assert rig.engine.get("/healthz")["endpoints"] == 2
    answered = time.monotonic() - begun

    assert ended < SLACK_SECONDS
    assert answered < 2 * SLACK_SECONDS
    assert pids(neighbour) == undisturbed
    server.start()
    container.delete()
    wait_until(lambda: rig.machine.links() == links, "the removal of the link")


def test_watcher(rig: Rig, server: DhcpServer) -> None:
    """Nothing waits for it; another one follows the engine, and containers still find their sandbox meanwhile."""
    network = rig.network()
    neighbour = rig.joined(network)
    undisturbed = pids(neighbour)
    (first,) = rig.plugin.pids(NAMES["watcher"])

    kill(first)
    rig.joined(network)
    wait_until(lambda: rig.plugin.pids(NAMES["watcher"]), "another watcher")

    assert pids(neighbour) == undisturbed
    assert len(server.leases()) == 2


def test_udhcpc_again_and_again(rig: Rig, server: DhcpServer) -> None:
    """Each successor comes later than the one before, so that one that cannot live does not burn the processor."""
    container = rig.joined()
    gaps = []
    for _ in range(2):
        confirmed, begun = rig.confirmations(container), time.monotonic()
        kill(container.view["udhcpc_pid"])
        rig.wait_for_bound(container, more_than=confirmed)
        gaps.append(time.monotonic() - begun)

    assert (gaps[0] > 1, gaps[1] > 2) == (True, True)
