"""Whatever a container may or may not do, its lease is kept, from inside of its network namespace."""

import os
from pathlib import Path
from signal import SIGSTOP

import pytest

from tests.lab.command import wait_until
from tests.lab.containers import Attachment, Container
from tests.lab.dhcp import Message
from tests.lab.images import BUSYBOX, SCRATCH
from tests.lab.lab import Lab
from tests.lab.plugin import Plugin
from tests.plugin.conftest import Run
from tests.plugin.judge import assert_leased, assert_released, await_client
from tests.plugin.sandbox import Sandbox

pytestmark = pytest.mark.plugin

LEASE_SECONDS = 120  # the shortest that dnsmasq gives; a client renews after half of it
RENEWALS = 4  # the last one comes when two leases would have run out
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


@pytest.mark.timeout(3 * LEASE_SECONDS)
def test_every_kind_of_container_keeps_its_lease(run: Run, lab: Lab, plugin: Plugin, network: str) -> None:
    """All side by side for two leases, one paused, one sent a SIGSTOP: REQUESTs alone from inside of each, in
    the end a RELEASE."""
    containers = [run(*options, name=kind, image=image) for kind, (image, options) in KINDS.items()]
    kept = {container: assert_leased(container, network, lab.dhcp) for container in containers}
    for container, attachment in kept.items():
        _assert_client_inside(container, await_client(plugin, attachment))
    lab.engine.docker("pause", "paused")
    os.kill(Sandbox.of(Container(lab.engine.docker, "stopped")).pid, SIGSTOP)
    seen = len(lab.dhcp.messages())

    for container, attachment in kept.items():
        _await_renewals(lab, seen, attachment)
        assert {message.kind for message in _later(lab, seen, attachment)} == {"REQUEST", "ACK"}
        assert assert_leased(container, network, lab.dhcp) == attachment
    for container, attachment in kept.items():
        container.remove()
        assert_released(lab.dhcp, attachment.mac)


def _assert_client_inside(container: Container, pid: int) -> None:
    assert Path(f"/proc/{pid}/ns/net").readlink() == Sandbox.of(container).namespace


def _await_renewals(lab: Lab, seen: int, attachment: Attachment) -> None:
    def renewed() -> bool:
        return sum(message.kind == "ACK" for message in _later(lab, seen, attachment)) >= RENEWALS

    wait_until(renewed, f"{RENEWALS} renewals of {attachment.address}", 2.2 * LEASE_SECONDS, interval=0.5)


def _later(lab: Lab, seen: int, attachment: Attachment) -> list[Message]:
    return [message for message in lab.dhcp.messages()[seen:] if message.mac == attachment.mac]
