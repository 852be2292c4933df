"""Many containers on one network: as `docker run` in a loop makes them, and as Compose does."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from signal import SIGKILL, SIGUSR1

import pytest

from tests.lab.command import wait_until
from tests.lab.compose import Compose
from tests.lab.containers import Attachment, Container
from tests.lab.dhcp import Message
from tests.lab.engine import Docker
from tests.lab.images import BUSYBOX
from tests.lab.lab import Lab
from tests.lab.plugin import Plugin
from tests.plugin.conftest import Run
from tests.plugin.crash import ANOTHER_MAC, kill_supervisor

EACH = 30
RETURN_LIMIT = 30.0  # seconds
PROJECT = """
services:
  app:
    image: {image}
    networks: [lan]
networks:
  lan:
    external: true
    name: {network}
"""


@pytest.fixture
def compose(docker: Docker, network: str, tmp_path: Path) -> Iterator[Compose]:
    """A project whose only service is on the network; removed after the test."""
    project = Compose.project(docker, tmp_path / "many", PROJECT.format(image=BUSYBOX, network=network))
    yield project
    project("down", "--timeout", "1")


@pytest.mark.timeout(360)
def test_thirty_by_a_loop_and_thirty_by_compose(
    run: Run, compose: Compose, lab: Lab, plugin: Plugin, network: str
) -> None:
    """Each has an address of its own, renews it and gives it back, once; then all is as before (the leak gate).

    One has lost its worker meanwhile, and is renewed by the next one; at last all lose their supervisor.
    """
    lines = len(plugin.log())
    compose("up", "--detach", "--scale", f"app={EACH}")
    composed = [Container(lab.engine.docker, name) for name in compose.containers()]
    looped = [run() for _ in range(EACH)]
    attachments = [container.attachment(network) for container in (*composed, *looped)]
    macs = {attachment.mac for attachment in attachments}
    addresses = {attachment.address for attachment in attachments}
    assert len(attachments) == len(macs) == len(addresses) == 2 * EACH
    assert {(lease.mac, lease.address) for lease in lab.dhcp.leases()} == {_pair(a) for a in attachments}

    _await_clients(lab, plugin, macs)
    _assert_no_word_of_identities(plugin, lines)
    seen = len(lab.dhcp.messages())
    _replace_a_worker(lab, plugin)
    _renew_all(plugin)
    wait_until(lambda: macs <= _macs(lab, seen, "ACK"), "a renewal by each container", interval=0.2)
    assert {message.kind for message in lab.dhcp.messages()[seen:]} == {"REQUEST", "ACK"}
    assert {_pair(a) for a in attachments} == {(m.mac, m.address) for m in lab.dhcp.messages()[seen:]}

    _replace_the_supervisor(plugin)
    compose("rm", "--force", "--stop")
    lab.engine.docker("rm", "--force", *(container.name for container in looped))
    # The packets have left when the containers have; the server, with sixty at once, takes its time to read them.
    wait_until(lambda: not lab.dhcp.leases(), "the server's word on all leases")
    released = [message.mac for message in lab.dhcp.messages(kind="RELEASE") if message.mac in macs]
    assert sorted(released) == sorted(macs)


def _assert_no_word_of_identities(plugin: Plugin, lines: int) -> None:
    """Containers that nobody has seen before have nothing to lose, however many start at once."""

    def are_known() -> bool:
        return all(row["container"] for row in plugin.get("/v1/endpoints")[1]["endpoints"])

    wait_until(are_known, "the names of all containers")
    assert not [line for line in plugin.log()[lines:] if ANOTHER_MAC in line]


def _pair(attachment: Attachment) -> tuple[str, object]:
    return attachment.mac, attachment.address and attachment.address.ip


def _macs(lab: Lab, seen: int, kind: str) -> set[str]:
    return {message.mac for message in lab.dhcp.messages()[seen:] if message.kind == kind}


def _await_clients(lab: Lab, plugin: Plugin, macs: set[str]) -> None:
    """Until each has had two DHCPACKs: the worker's, and the one of the client in the sandbox."""

    def acknowledged(messages: list[Message]) -> set[str]:
        acks = [message.mac for message in messages if message.kind == "ACK"]
        return {mac for mac in macs if acks.count(mac) > 1}

    wait_until(lambda: acknowledged(lab.dhcp.messages()) == macs, "the clients in the sandboxes", interval=0.2)
    _, view = plugin.get("/v1/endpoints")
    assert {e["mac"] for e in view["endpoints"] if e["phase"] == "joined" and e["lease_state"] == "bound"} == macs


def _replace_a_worker(lab: Lab, plugin: Plugin) -> None:
    """Kills one, and waits until its successor has had the lease confirmed."""
    _, view = plugin.get("/v1/endpoints")
    endpoint, seen = view["endpoints"][0], len(lab.dhcp.messages())
    os.kill(endpoint["worker_pid"], SIGKILL)
    wait_until(lambda: endpoint["mac"] in _macs(lab, seen, "ACK"), "the successor's DHCPACK")


def _renew_all(plugin: Plugin) -> None:
    """At once, as T1 would make them; who has lost its worker has been renewed by the next one."""
    _, view = plugin.get("/v1/endpoints")
    for endpoint in view["endpoints"]:
        if endpoint["udhcpc_pid"]:
            os.kill(endpoint["udhcpc_pid"], SIGUSR1)


def _replace_the_supervisor(plugin: Plugin) -> None:
    """Kills it, and waits until the engine has started it again: soon, although so many processes end with it."""
    began = time.monotonic()
    kill_supervisor(plugin)
    assert time.monotonic() - began < RETURN_LIMIT
