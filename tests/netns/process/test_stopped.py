"""A process of the plugin that was stopped delays nobody but those whom it serves."""

import os
import signal
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address

import psutil
import pytest

from tests.api.unit import reaction
from tests.lab.command import SLACK_SECONDS, wait_until
from tests.lab.dhcp import DhcpServer
from tests.netns.process.plugin import NAMES
from tests.netns.process.rig import Rig, hang

FORKSERVER = "nd-forkserver"
HANG_SECONDS = 3.0  # then the supervisor replaces a forkserver that makes no workers

Stop = Callable[[int], psutil.Process]


@pytest.fixture(scope="module", autouse=True)
def _served() -> Iterator[None]:
    """The plugin of this module has an ops service over TCP, too."""
    with pytest.MonkeyPatch.context() as patch:
        settings = {"OPS_LISTEN": "127.0.0.1:9618"}
        patch.setattr("tests.netns.process.plugin.SETTINGS", settings)
        yield


@pytest.fixture(name="stop")
def _stop() -> Iterator[Stop]:
    """Stops a process; those that have not been killed by then go on at the end."""
    stopped: list[psutil.Process] = []

    def stop(pid: int) -> psutil.Process:
        process = psutil.Process(pid)
        stopped.append(process)
        process.suspend()
        wait_until(lambda: process.status() == psutil.STATUS_STOPPED, "a process that is stopped")
        return process

    yield stop
    for process in stopped:
        if process.is_running():
            process.resume()


def _lives(rig: Rig, server: DhcpServer, network_id: str, delay: float = 0.0) -> None:
    """Another container starts, renews its lease and gives it back, and no request takes longer than this delay."""
    container = rig.container(network_id)
    requests = [container.create(), container.join()]
    container.attach(requests[-1])
    rig.wait_for_bound(container)
    rig.renew(container)
    assert container.ip in _leased(server)
    requests += [container.leave(), container.delete()]
    wait_until(lambda: container.ip not in _leased(server), "the release")
    assert [request.status for request in requests] == [200] * 4
    assert max(request.seconds for request in requests) < delay + SLACK_SECONDS


def _leased(server: DhcpServer) -> set[IPv4Address]:
    return {lease.address for lease in server.leases()}


@pytest.mark.parametrize("kind", ["watcher", "ops"])
def test_service(rig: Rig, server: DhcpServer, stop: Stop, kind: str) -> None:
    """Containers start, renew and go without it."""
    network_id = rig.network()
    for pid in wait_until(lambda: rig.plugin.pids(NAMES[kind]), "the service"):
        stop(pid)
    _lives(rig, server, network_id)


def test_api(rig: Rig, server: DhcpServer, stop: Stop) -> None:
    """Containers renew without it, and its requests are answered as soon as it goes on."""
    container = rig.joined()
    client, confirmed = container.view["udhcpc_pid"], rig.confirmations(container)
    stopped = [stop(pid) for pid in rig.plugin.pids(NAMES["api"])]
    os.kill(client, signal.SIGUSR1)
    wait_until(lambda: rig.confirmations(container) > confirmed, "the answer to a renewal")
    for process in stopped:
        process.resume()
    _lives(rig, server, container.network_id)


def test_forkserver(rig: Rig, server: DhcpServer, stop: Stop) -> None:
    """The first container that needs a worker of it waits until it is replaced; nobody else does."""
    network_id = rig.network()
    neighbour = rig.joined(network_id)
    (pid,) = rig.plugin.pids(FORKSERVER)
    stop(pid)
    _lives(rig, server, network_id)  # the spare worker is there
    _lives(rig, server, network_id, HANG_SECONDS)
    _lives(rig, server, network_id)
    assert "nd-forkserver has made none of" in rig.plugin.log
    rig.renew(neighbour)


def test_worker(rig: Rig, server: DhcpServer) -> None:
    """Only its own container waits."""
    container = rig.joined()
    stopped = hang(container.view["worker_pid"])
    _lives(rig, server, container.network_id)
    for process in stopped:
        process.resume()


def test_spare_worker(rig: Rig, server: DhcpServer, stop: Stop) -> None:
    """The container that gets it is told to start again; those that start meanwhile are not delayed."""
    network_id = rig.network(lease_timeout="3s")
    wait_until(lambda: len(rig.plugin.pids(NAMES["spare"])) == 2, "it and its turn")
    sleeper, _ = rig.plugin.pids(NAMES["spare"])
    for process in hang(sleeper):
        stop(process.pid)
    creating = rig.engine.send("CreateEndpoint", rig.container(network_id).request)
    wait_until(lambda: rig.engine.get("/v1/endpoints")["endpoints"], "the one that gets it")
    _lives(rig, server, network_id)
    with creating:
        assert "worker died" in reaction(creating).json["Err"]
