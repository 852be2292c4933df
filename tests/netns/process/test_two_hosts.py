"""Two hosts on one LAN, each with the plugin, whose containers say that they are the same machine: both are told."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.command import wait_until
from tests.lab.dhcp import DhcpServer
from tests.lab.network import SERVER
from tests.netns.process.fakeengine import Container
from tests.netns.process.instances import history
from tests.netns.process.rig import Rig, rig_in

MAC = "02:42:ac:11:00:44"


@pytest.fixture(name="other")
def _other(rig: Rig, server: DhcpServer, tmp_path: Path) -> Iterator[Rig]:
    """Another host on the LAN."""
    directory = tmp_path / "other"
    directory.mkdir()
    with rig_in(directory, beside=rig.machine) as other:
        yield other


def running(rig: Rig, mac: str = "", **own: str) -> Container:
    """A container with this MAC and these options, whose lease is confirmed."""
    container = rig.container()
    container.mac, container.options = mac, own
    container.start()
    rig.wait_for_bound(container)
    return container


def asks_by_arp(container: Container) -> None:
    """The container wants to reach another machine, which it asks for by a broadcast."""
    container.inside("ip", "neigh", "flush", "dev", "eth0")
    arping = f"busybox arping -c 1 -w 1 -I eth0 {SERVER}"
    container.inside("sh", "-c", f"{arping} || true")  # the answer may go to the other machine with the MAC


def test_one_mac(rig: Rig, other: Rig) -> None:
    """The server takes both for one client, and gives both one address: each host names the other machine's MAC."""
    first, second = running(rig, MAC), running(other, MAC)
    assert first.address == second.address

    for one, speaker in ((first, second), (second, first)):

        def is_told(one: Container = one, speaker: Container = speaker) -> bool:
            asks_by_arp(speaker)
            return f"another machine has the MAC {MAC}" in (one.view["last_trouble"] or "")

        wait_until(is_told, "the report of a conflict", interval=1)
    assert [one.inet for one in (first, second)] == [[first.address], [second.address]]


def test_one_client_identifier(rig: Rig, other: Rig, server: DhcpServer) -> None:
    """To the server it is one client, whose lease moves to whichever asked last: the other one is told who that is."""
    first, second = running(rig, client_id="web"), running(other, client_id="web")

    os.kill(first.view["udhcpc_pid"], signal.SIGUSR1)

    claim = f"conflict: {second.mac} has {second.ip} as well"
    wait_until(lambda: claim in rig.plugin.log, "the report of a conflict")
    wait_until(lambda: server.messages(first.mac, "DECLINE"), "the server's word of it")
    assert server.messages(first.mac, "DECLINE")[0].address == second.ip
    assert "nak" in history(rig.directory, first)
    assert second.inet == [second.address]
