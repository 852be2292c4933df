"""Addresses, routes and notifications of a real kernel."""

import select
import socket
from ipaddress import IPv4Interface

import pytest

from tests.lab.network import BRIDGE
from tests.netns.lan import HOST_LINK, link, readable, run
from workers.link.parent_watch import ParentWatch
from workers.netlink.changes import change_feed, drain
from workers.netlink.operations import Netlink
from workers.system.namespaces import new_namespace

pytestmark = pytest.mark.netns


@pytest.mark.usefixtures("machine")
def test_addresses_are_in_the_kernels_order() -> None:
    """Primary addresses first: deleting one of those may take others along."""
    for address in ("192.168.77.2/24", "10.0.0.1/8"):
        run(f"ip addr add {address} dev {BRIDGE}")

    with Netlink() as netlink:
        found = netlink.addresses(link(BRIDGE).index)

    assert [str(a) for a in found] == ["192.168.77.1/24", "10.0.0.1/8", "192.168.77.2/24"]
    assert all(isinstance(a, IPv4Interface) for a in found)


@pytest.mark.usefixtures("machine")
def test_namespace_in_which_nothing_was_ever_routed() -> None:
    """The main table does not exist there yet, and a list of it would be refused."""
    with new_namespace() as fresh, fresh.visit(), Netlink() as netlink:
        assert (netlink.routes(), netlink.routes(1), netlink.addresses(1)) == ((), (), ())


@pytest.mark.usefixtures("machine")
def test_feed_wakes_up_for_links_and_addresses_until_drained() -> None:
    """Readable after a change, silent after having been drained."""
    with change_feed() as feed:
        assert not drain(feed)
        assert not select.select([feed], [], [], 0)[0]
        for change in (f"ip link add {HOST_LINK} type bridge", f"ip addr add 10.1.1.1/24 dev {HOST_LINK}"):
            run(change)
            assert readable(feed)
            assert drain(feed)
            assert not select.select([feed], [], [], 0)[0]


@pytest.mark.usefixtures("machine")
def test_overrun_is_a_change() -> None:
    """More notifications than the buffer holds must not end the worker."""
    with change_feed() as witness, change_feed() as feed:
        for tight in (witness, feed):
            tight.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        for number in range(30):
            run(f"ip addr add 10.1.1.{number}/24 dev {BRIDGE}")

        with pytest.raises(OSError, match="No buffer space"):
            witness.recv(1)
        assert drain(feed)
        assert not select.select([feed], [], [], 0)[0]


@pytest.mark.usefixtures("machine")
def test_watch_of_a_parent() -> None:
    """It hears of its links and of the ports of bridges, and of no other link unless it waits for newcomers."""
    watch, port = ParentWatch(), "dh-0123456789ab"
    bridge = watch.state(BRIDGE)
    assert bridge
    assert (bridge.index, bridge.up) == (link(BRIDGE).index, True)
    assert watch.state("absent") is None
    watch.listen([link("lo").index], newcomers=False)
    watch.read()
    run("ip link add other type veth peer name another")
    run(f"ip link add {port} type veth peer name dc-0123456789ab")
    assert not watch.read().changed

    run(f"ip link set {port} master {BRIDGE}")
    run(f"ip link set {port} nomaster")
    run(f"ip link set other master {BRIDGE}")
    heard = watch.read()
    assert (heard.lost, heard.joined) == (frozenset({port}), frozenset({bridge.index}))
    run(f"ip link set {port} master {BRIDGE}")
    run(f"ip link delete {port}")
    assert not watch.read().lost

    watch.listen([link("lo").index, bridge.index], newcomers=False)
    run(f"ip link set {BRIDGE} down")
    assert watch.read().changed
    down = watch.state(BRIDGE)
    assert down
    assert (down.up, down.running) == (False, False)

    watch.listen([], newcomers=True)
    watch.read()
    run("ip link add late type bridge")
    assert watch.read().changed
    watch.close()
