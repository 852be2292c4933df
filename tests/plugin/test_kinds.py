"""Whatever a container may or may not do, its lease is kept, from inside of its network namespace."""

import os
from pathlib import Path
from signal import SIGSTOP

import pytest

from tests.lab.command import wait_until
from tests.lab.containers import Attachment, Container
from tests.lab.images import BUSYBOX, SCRATCH
from tests.lab.kea import Kea, KeaOptions
from tests.lab.lab import Lab
from tests.lab.plugin import Plugin
from tests.plugin.conftest import Run
from tests.plugin.judge import assert_leased, assert_released, await_client
from tests.plugin.sandbox import Sandbox

pytestmark = pytest.mark.plugin

LEASE_SECONDS = 30  # a client renews after half of it
RENEWALS = 3  # the last one comes when a lease would have run out for long
KINDS = {
    "plain": (BUSYBOX, ()),
    "nobody": (BUSYBOX, ("--user=nobody",)),
    "read-only": (BUSYBOX, ("--read-only",)),
    "unable": (BUSYBOX, ("--cap-drop=ALL", "--security-opt=no-new-privileges")),
    "able": (BUSYBOX, ("--cap-add=SYS_NICE", "--cap-add=LEASE")),  # which the plugin is not
    "one-file": (SCRATCH, ()),
    "host-pids": (BUSYBOX, ("--pid=host",)),
    "paused": (BUSYBOX, ()),
    "stopped": (BUSYBOX, ()),
}


def test_every_kind_of_container_keeps_its_lease(kea: Kea, run: Run, lab: Lab, plugin: Plugin, network: str) -> None:
    """All side by side for longer than a lease, one paused, one sent a SIGSTOP: REQUESTs alone from inside of each,
    in the end a RELEASE."""
    kea.restart(KeaOptions(lease_time=LEASE_SECONDS))
    containers = [run(*options, name=kind, image=image) for kind, (image, options) in KINDS.items()]
    kept = {container: assert_leased(container, network, kea) for container in containers}
    for container, attachment in kept.items():
        _assert_client_inside(container, await_client(plugin, attachment))
    lab.engine.docker("pause", "paused")
    os.kill(Sandbox.of(Container(lab.engine.docker, "stopped")).pid, SIGSTOP)
    seen = {attachment.mac: len(kea.kinds(attachment.mac)) for attachment in kept.values()}

    for container, attachment in kept.items():
        assert _until_renewed(kea, seen, attachment) == {"REQUEST", "ACK"}
        assert assert_leased(container, network, kea) == attachment
    for container, attachment in kept.items():
        container.remove()
        assert_released(kea, attachment.mac)


def _assert_client_inside(container: Container, pid: int) -> None:
    assert Path(f"/proc/{pid}/ns/net").readlink() == Sandbox.of(container).namespace


def _until_renewed(kea: Kea, seen: dict[str, int], attachment: Attachment) -> set[str]:
    """The kinds of all messages until the last renewal."""

    def later() -> list[str]:
        return kea.kinds(attachment.mac)[seen[attachment.mac] :]

    what = f"{RENEWALS} renewals of {attachment.address}"
    wait_until(lambda: later().count("ACK") >= RENEWALS, what, 3 * LEASE_SECONDS, interval=0.5)
    return set(later())
