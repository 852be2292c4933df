"""Fixtures: namespaces that the test is in, made for it and gone after it. The tests run in the built root."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.dhcp import DhcpServer
from tests.lab.network import BRIDGE, SERVER
from tests.lab.rootfs import FROM_SOURCE, missing
from tests.netns.lan import CONTAINER_LINK, create_pair, run
from tests.netns.shipped import IS_SHIPPED, ShippedModule
from workers.netlink.operations import Netlink
from workers.system.namespaces import Namespace, new_namespace

HERE = Path(__file__).parent
MODULE = pytest.StashKey[ShippedModule]()


def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """A test of this directory is run in there."""
    if item.path.parent != HERE or IS_SHIPPED or FROM_SOURCE or missing():
        return None
    stash, same = item.session.stash, nextitem is not None and nextitem.path == item.path
    if MODULE not in stash:
        stash[MODULE] = ShippedModule([other for other in item.session.items if other.path == item.path])
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for report in stash[MODULE].reports(item):
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    if not same:
        _end(item.session)
    return True


def pytest_sessionfinish(session: pytest.Session) -> None:
    """What was begun is ended, also where the session stops at a failure."""
    _end(session)


def _end(session: pytest.Session) -> None:
    if MODULE in session.stash:
        session.stash[MODULE].end()
        del session.stash[MODULE]


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
    dnsmasq = DhcpServer(tmp_path, None, BRIDGE)
    dnsmasq.start()
    yield dnsmasq
    dnsmasq.stop()


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
