"""Links, addresses, routes and notifications of a real kernel."""

import errno
import select
import socket
import time
from ipaddress import IPv4Interface, IPv4Network
from pathlib import Path

import pytest

from tests.netns.lan import BRIDGE, CONTAINER_LINK, HOST_LINK, MAC, create_pair, run, shell
from workers.contract.lease import Route
from workers.netlink.changes import change_feed, drain
from workers.netlink.operations import Netlink, NetlinkError, host_mac
from workers.netlink.rtnetlink import Link
from workers.system.namespaces import Namespace, new_namespace

pytestmark = pytest.mark.netns

ETH_P_TEST = 0x88B5  # for experiments: IEEE 802, clause 9.2


def link(name: str) -> Link:
    with Netlink() as netlink:
        return netlink.require_link(name)


def names() -> set[str]:
    with Netlink() as netlink:
        return {found.name for found in netlink.links()}


def readable(feed: socket.socket) -> bool:
    return bool(select.select([feed], [], [], 1.0)[0])


@pytest.mark.usefixtures("machine")
def test_pair_is_complete_when_it_is_there() -> None:
    """Both ends are up, one is the bridge's port, the other has the endpoint's MAC, both know each other."""
    port, bridge = create_pair(), link(BRIDGE)

    host, container = link(HOST_LINK), link(CONTAINER_LINK)
    assert (container.mac, container.up, container.carrier, container.kind) == (MAC, True, True, "veth")
    assert (host.mac, host.up, host.master) == (host_mac(MAC), True, bridge.index)
    assert port == host
    assert (host.peer_index, container.peer_index) == (container.index, host.index)


@pytest.mark.usefixtures("machine")
def test_addresses_count_as_chosen() -> None:
    """NET_ADDR_SET (3): udev leaves such addresses alone, whatever its MACAddressPolicy."""
    create_pair()

    files = " ".join(f"/sys/class/net/{name}/addr_assign_type" for name in (HOST_LINK, CONTAINER_LINK))
    shown = shell(f"mount -t sysfs sysfs /sys && cat {files}")
    assert shown.split() == ["3", "3"]


@pytest.mark.usefixtures("machine")
def test_pair_takes_the_mtu_of_the_bridge() -> None:
    """Jumbo frames, or an overlay's smaller ones, are the bridge's to say."""
    run("ip link set up0 mtu 1400")
    run(f"ip link set {BRIDGE} mtu 1400")

    create_pair()

    assert (link(HOST_LINK).mtu, link(CONTAINER_LINK).mtu) == (1400, 1400)


@pytest.mark.usefixtures("machine")
def test_pair_takes_frames_at_once() -> None:
    """A server on this very host answers within microseconds; not even such an answer is dropped by a new port."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0) as bridge:
        bridge.bind((BRIDGE, ETH_P_TEST))
        for number in range(30):
            host_link, container_link = f"dh-{number}", f"dc-{number}"
            create_pair(host_link=host_link, container_link=container_link)
            with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0) as container:
                container.bind((container_link, ETH_P_TEST))
                bridge.sendto(b"answer", (BRIDGE, ETH_P_TEST, 0, 0, b"\xff" * 6))
                assert readable(container)


@pytest.mark.usefixtures("machine")
def test_no_ipv6_on_the_host_side() -> None:
    """Neither end takes router advertisements or an address while it is in the host's namespace."""
    create_pair()

    for name in (HOST_LINK, CONTAINER_LINK):
        assert Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").read_text() == "1\n"
        assert run(f"ip -6 addr show dev {name}") == ""


@pytest.mark.usefixtures("machine")
def test_ipv6_is_the_containers_again_in_its_sandbox(sandbox: Namespace) -> None:
    """The link arrives with the sandbox's settings, not with ours."""
    with sandbox.visit():
        assert Path("/proc/sys/net/ipv6/conf/eth0/disable_ipv6").read_text() == "0\n"


@pytest.mark.usefixtures("machine")
def test_bridge_keeps_its_mac() -> None:
    """A container that comes or goes must not change the host's own address on the LAN."""
    before = link(BRIDGE).mac

    create_pair("02:00:00:00:00:00")

    assert link(BRIDGE).mac == before


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize(
    ("bridge", "words"), [("absent", "absent: there is none of that name"), ("lo", "lo is a hardware link")]
)
def test_wrong_bridge_fails_at_once_and_leaves_nothing(bridge: str, words: str) -> None:
    """The text names the bridge, the answer takes less than half a second, no link is left."""
    before, begun = names(), time.monotonic()

    with Netlink() as netlink, pytest.raises(NetlinkError, match=words):
        netlink.create_pair(host_link=HOST_LINK, container_link=CONTAINER_LINK, mac=MAC, bridge=bridge)

    assert time.monotonic() - begun < 0.5
    assert names() == before


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("taken", [HOST_LINK, CONTAINER_LINK])
def test_existing_name_is_refused_and_spared(taken: str) -> None:
    """A link that has either name already is neither used nor touched."""
    run(f"ip link add {taken} type bridge")
    before = names()

    with pytest.raises(NetlinkError, match=f"{HOST_LINK}, {CONTAINER_LINK} on {BRIDGE}: File exists"):
        create_pair()

    assert names() == before
    assert link(taken).kind == "bridge"


@pytest.mark.usefixtures("machine")
def test_read_only_sysctls_roll_the_pair_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pair that would take the host's router advertisements is not left standing."""

    def refuse(_: str) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("workers.netlink.operations.disable_ipv6", refuse)

    with pytest.raises(NetlinkError, match="Read-only file system"):
        create_pair()

    assert HOST_LINK not in names()


@pytest.mark.usefixtures("machine")
def test_deleting_twice() -> None:
    """One end takes the other along; what is gone already is no error."""
    create_pair()

    with Netlink() as netlink:
        assert netlink.delete_link(HOST_LINK)
        assert not netlink.delete_link(HOST_LINK)
        assert netlink.link(CONTAINER_LINK) is None


@pytest.mark.usefixtures("machine")
def test_link_is_found_by_mac_and_told_apart_by_its_other_end() -> None:
    """Two links with one MAC, as when a user gives it twice, are told apart by their peers."""
    create_pair()
    create_pair(host_link="dh-other", container_link="dc-other")

    with Netlink() as netlink:
        for peer, name in (("dh-other", "dc-other"), (HOST_LINK, CONTAINER_LINK)):
            found = netlink.link_by_mac(MAC.upper(), link(peer).index)
            assert found is not None
            assert found.name == name
        assert netlink.link_by_mac("02:00:00:00:00:99") is None


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
def test_bridge_routes_are_the_static_ones() -> None:
    """No default route, no connected network, nothing over another link, nothing of another table."""
    for words in (
        f"10.8.0.0/16 dev {BRIDGE}",
        "10.9.0.0/16 via 192.168.77.9",
        "default via 192.168.77.254",
        "10.10.0.0/16 dev up1",
        "10.11.0.0/16 via 192.168.77.9 table 100",
        "blackhole 10.12.0.0/16",
    ):
        run(f"ip route add {words}")

    with Netlink() as netlink:
        assert netlink.bridge_routes(create_pair()) == (
            Route(IPv4Network("10.8.0.0/16")),
            Route(IPv4Network("10.9.0.0/16"), IPv4Interface("192.168.77.9").ip),
        )


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
