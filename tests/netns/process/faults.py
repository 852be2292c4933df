"""What can go wrong at any point of an endpoint's life."""

import os
import signal

from tests.lab.command import run
from tests.netns.process.faultcase import Case, Fault


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


FAULTS: tuple[Fault, ...] = (
    worker_killed,
    supervisor_killed,
    client_gone,
    server_silent,
    link_removed,
    bridge_removed,
    disk_full,
)
