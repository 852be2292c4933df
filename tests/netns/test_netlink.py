"""Addresses, routes and notifications of a real kernel."""

import select
import socket
from ipaddress import IPv4Interface

import pytest

from tests.lab.network import BRIDGE
from tests.netns.lan import CARD, HOST_LINK, link, readable, run
from tests.netns.process.wire import broadcast_frame
from workers.link.parent_watch import ParentWatch
from workers.link.shared_mac import share_answers, sweep_answers, unshare_answers
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


@pytest.mark.usefixtures("machine")
def test_answers_to_a_card_that_ipvlans_share() -> None:
    """A server's answer to all clients in a frame to the card becomes one to all stations, which its ipvlans hear. What
    else comes to the card stays as it is. The rule is there once, goes when no network needs it, and comes back."""
    mac = bytes.fromhex(link(CARD).mac.replace(":", ""))
    answer = mac + broadcast_frame(b"answer")[6:]
    query = answer.replace(b"\0\x43\0\x44", b"\0\x44\0\x43")
    private = answer.replace(b"\xff" * 4, b"\xc0\xa8\x4d\5")
    with (
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as lan,
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as at,
    ):
        lan.bind(("up0", 0))
        at.bind((CARD, 0x0800))

        def received(frame: bytes) -> bytes:
            lan.send(frame)
            while readable(at):
                if (seen := at.recv(2048))[6:12] == frame[6:12]:  # the bridge speaks, too
                    return seen
            raise AssertionError("the card has received nothing")

        for _ in range(2):
            assert received(answer) == answer
            share_answers(CARD, 7)
            share_answers(CARD, 7)
            share_answers(CARD, 8)
            assert run("nft list ruleset").count("hook ingress") == 2
            assert received(answer) == b"\xff" * 6 + answer[6:]
            assert [received(frame) for frame in (query, private)] == [query, private]
            unshare_answers(CARD, 7)
            unshare_answers(CARD, 8)
            assert run("nft list ruleset") == ""


@pytest.mark.usefixtures("machine")
def test_rule_of_a_card_that_was_made_anew() -> None:
    """The kernel takes the rule along with the card; the next container brings it back."""
    share_answers(CARD, 7)
    run(f"ip link delete {CARD}")
    run(f"ip link add {CARD} up type veth peer name up0")

    share_answers(CARD, 7)

    assert f'hook ingress device "{CARD}"' in run("nft list ruleset")


@pytest.mark.usefixtures("machine")
def test_rule_that_has_lost_its_card() -> None:
    """Linux 6.12 takes the card out of the rule, which stays without one: that is no rule of the next card."""
    chain = f"netdev net-dhcp-7-{CARD}"
    run(f"nft add table {chain}")
    run(f"nft add chain {chain} packets {{ type filter hook ingress device lo priority 0 ; }}")

    share_answers(CARD, 7)

    rules = run("nft list ruleset")
    assert (rules.count("hook ingress"), f'hook ingress device "{CARD}"' in rules) == (1, True)


@pytest.mark.usefixtures("machine")
def test_rules_that_a_plugin_has_left() -> None:
    """Its next instance removes the rules of cards without a network, also of one that has gone, and no one else's."""
    run("nft add table netdev net-dhcp-7-gone")
    run("nft add table netdev foreign")
    share_answers(CARD, 7)
    share_answers(CARD, 8)

    for cards, left in (({CARD}, f"net-dhcp-7-{CARD}"), ((), "")):
        sweep_answers(7, cards)
        tables = {line.split()[-1] for line in run("nft list tables").splitlines()}
        assert tables == {"foreign", f"net-dhcp-8-{CARD}", left} - {""}
