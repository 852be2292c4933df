"""What can go wrong at any point of an endpoint's life."""

import os
import re
import signal

from tests.lab.command import run, wait_until
from tests.netns.process.faultcase import Case, Fault
from tests.netns.process.plugin import NAMES


def worker_killed(case: Case) -> None:
    """`kill -9` of the endpoint's worker."""
    case.confirmations = case.bench.rig.confirmations(case.container)
    os.kill(case.worker, signal.SIGKILL)


def supervisor_killed(case: Case) -> None:
    """`kill -9` of the supervisor; the next instance is there at once, as with an engine."""
    case.confirmations = case.bench.rig.confirmations(case.container)
    case.bench.restart()


def client_gone(case: Case) -> None:
    """The engine's connection breaks, and it repeats the call with an empty body."""
    assert case.call is not None
    case.call.close()
    case.retry()


def server_silent(case: Case) -> None:
    """No DHCP server answers any more."""
    case.bench.silence()


def link_removed(case: Case) -> None:
    """Somebody removes the link."""
    run("ip", "-n", case.bench.rig.machine.host, "link", "delete", f"dh-{case.container.endpoint_id[:12]}")


def bridge_removed(case: Case) -> None:
    """Somebody removes the bridge."""
    case.bench.remove_bridge()


def disk_full(case: Case) -> None:
    """No byte can be written any more."""
    case.bench.fill_disk()


def descriptors_gone(case: Case) -> None:
    """The supervisor can open nothing any more for a while, and a worker dies meanwhile: the endpoint's, or the spare.

    The while ends when the next worker could not be started: the endpoint's, or the spare after one that was there
    already and has become the endpoint's.
    """
    bench = case.bench
    case.confirmations = bench.rig.confirmations(case.container)
    bench.exhaust()
    name, spare = f"nd-{case.container.endpoint_id[:12]}", NAMES["spare"]
    for pid in bench.rig.plugin.pids(name)[:1] or bench.rig.plugin.pids(spare)[:1]:
        os.kill(pid, signal.SIGKILL)
    if bench.rig.plugin.supervisor not in case.stopped:
        failed = re.compile(f"({name}|{spare}) could not be started: ")
        wait_until(lambda: failed.search(bench.log), "a start that fails")
        bench.relieve()


FAULTS: tuple[Fault, ...] = (
    worker_killed,
    supervisor_killed,
    client_gone,
    server_silent,
    link_removed,
    bridge_removed,
    disk_full,
    descriptors_gone,
)
