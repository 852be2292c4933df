"""Fixtures: namespaces that the test is in, made for it and gone after it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.netns.lan import BRIDGE, CONTAINER_LINK, SERVER, DhcpServer, create_pair, dhcp_server, run
from workers.netlink.operations import Netlink
from workers.system.namespaces import Namespace, new_namespace


@pytest.fixture
def machine() -> Iterator[None]:
    """The test runs on a machine of its own whose bridge has an address and an uplink."""
    with new_namespace() as namespace, namespace.visit():
        run(f"ip link add {BRIDGE} type bridge")
        run(f"ip link add up0 address 02:00:00:00:00:01 master {BRIDGE} up type veth peer name up1")
        run("ip link set up1 up")
        run(f"ip addr add {SERVER}/24 dev {BRIDGE}")
        run(f"ip link set {BRIDGE} up")
        yield


@pytest.fixture
def server(machine: None, tmp_path: Path) -> Iterator[DhcpServer]:
    """A DHCP server on the machine's LAN."""
    with dhcp_server(tmp_path) as running:
        yield running


@pytest.fixture
def sandbox(machine: None) -> Iterator[Namespace]:
    """A container's namespace into which the link has been moved, as the engine does it; the test stays outside."""
    create_pair()
    with new_namespace() as namespace:
        with Netlink() as netlink:
            netlink.move_link(netlink.require_link(CONTAINER_LINK), namespace)
        with namespace.visit():
            run(f"ip link set {CONTAINER_LINK} name eth0 up")
        yield namespace
