"""What a container leaves behind for the one that comes after it: its address to all, its identity to its like."""

import os
from collections.abc import Iterator

import pytest

from tests.lab.containers import Attachment, Container
from tests.lab.dhcp import DhcpServer, ServerOptions
from tests.lab.engine import Docker
from tests.lab.images import BUSYBOX
from tests.lab.network import LAN
from tests.lab.plugin import Plugin
from tests.plugin.conftest import Run, create_network
from tests.plugin.judge import assert_leased, assert_released

RUNS = int(os.environ.get("RUNS", "10"))
POOL = 4
BY_NAME = "by-name"


def test_small_pool(docker: Docker, network: str, dhcp: DhcpServer) -> None:
    """Four addresses are enough for any number of containers, one after another: each gives its own back, once."""
    dhcp.restart(ServerOptions(first=LAN[60], last=LAN[60 + POOL - 1]))
    seen = len(dhcp.messages())
    for _ in range(RUNS):
        docker("run", "--rm", f"--network={network}", BUSYBOX, "true")
    kinds = [message.kind for message in dhcp.messages()[seen:]]
    assert kinds.count("RELEASE") == RUNS
    assert "NAK" not in kinds
    assert dhcp.leases() == []


def test_disconnected(run: Run, docker: Docker, network: str, dhcp: DhcpServer) -> None:
    """A container that runs on gives its lease back, although its restart policy would bring it back if it had died."""
    container = run("--restart=always")
    mac = assert_leased(container, network, dhcp).mac
    docker("network", "disconnect", network, container.name)
    assert_released(dhcp, mac)


@pytest.fixture
def by_name(plugin: Plugin, no_leaks: None) -> Iterator[str]:
    """A network on which a container's MAC follows from its name."""
    create_network(plugin, BY_NAME, "--opt=mac=name")
    yield BY_NAME
    plugin.docker("network", "rm", BY_NAME)


def test_same_name_same_mac(by_name: str, docker: Docker, dhcp: DhcpServer) -> None:
    """Removed and run again, a container of that name has that MAC; another name has another."""
    first = _once(docker, dhcp, by_name, "web", by_name)
    again = _once(docker, dhcp, by_name, "web", by_name)
    other = _once(docker, dhcp, by_name, "mail", by_name)
    assert again.mac == first.mac
    assert other.mac != first.mac


def test_same_id_same_mac_and_address(docker: Docker, network: str, dhcp: DhcpServer) -> None:
    """Removed and run again, under another name, whoever has the id has MAC and address; who has none has others."""
    chosen = f"name={network},driver-opt=id=web"
    other = Container.run(docker, "other", f"--network={network}")  # first: it might get an address that is free again
    try:
        first = _once(docker, dhcp, network, "blue", chosen)
        again = _once(docker, dhcp, network, "green", chosen)
        stranger = assert_leased(other, network, dhcp)
    finally:
        other.remove()
    assert (again.mac, again.address) == (first.mac, first.address)
    assert stranger.mac != first.mac


def _once(docker: Docker, dhcp: DhcpServer, network: str, name: str, option: str) -> Attachment:
    """Where a container of this name was, while it was; its lease is released."""
    container = Container.run(docker, name, f"--network={option}")
    try:
        attachment = assert_leased(container, network, dhcp)
        seen = len(dhcp.messages(attachment.mac, "RELEASE"))
    finally:
        container.remove()
    assert_released(dhcp, attachment.mac, seen + 1)
    return attachment
