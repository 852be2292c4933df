"""`kill -9` of an endpoint's processes at an awkward time, and again and again: its lease is not lost.

`tests/plugin/test_processes.py` kills each process of the plugin, and the fault matrix (`test_faults.py`) a worker at
each step.
"""

import os
import signal
import time

import psutil
import pytest

from tests.lab.command import run, wait_until
from tests.lab.dhcp import DhcpServer
from tests.lab.process import tree
from tests.netns.process.fakeengine import INTERFACE, Container
from tests.netns.process.hurried import GONE_SECONDS
from tests.netns.process.rig import Rig
from tests.netns.process.wire import Kind


def kill(pid: int) -> None:
    """Returns when nothing of that process runs any more."""
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not psutil.pid_exists(pid), f"the end of {pid}")


def pids(container: Container) -> tuple[int, int]:
    """Of the endpoint's worker and udhcpc."""
    view = container.view
    return view["worker_pid"], view["udhcpc_pid"]


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
