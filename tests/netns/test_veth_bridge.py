"""A veth pair on a bridge of a real kernel: made, found again in a sandbox, removed."""

import errno
import socket
import time
from ipaddress import IPv4Interface, IPv4Network
from pathlib import Path

import pytest

from tests.lab.command import SLACK_SECONDS
from tests.lab.network import BRIDGE
from tests.netns.lan import CONTAINER_LINK, HOST_LINK, MAC, SPEC, create_pair, link, readable, run, shell
from workers.contract.lease import Route
from workers.link.veth_bridge import VethOnBridge, host_mac
from workers.netlink.operations import Netlink, NetlinkError
from workers.system.namespaces import Namespace, new_namespace

pytestmark = pytest.mark.netns

ETH_P_TEST = 0x88B5  # for experiments: IEEE 802, clause 9.2


def names() -> set[str]:
    with Netlink() as netlink:
        return {found.name for found in netlink.links()}


@pytest.mark.usefixtures("machine")
def test_pair_is_complete_when_it_is_there() -> None:
    """Both ends are up, one is the bridge's port, the other has the endpoint's MAC, both know each other."""
    create_pair()

    host, container, bridge = link(HOST_LINK), link(CONTAINER_LINK), link(BRIDGE)
    assert (container.mac, container.up, container.carrier, container.kind) == (MAC, True, True, "veth")
    assert (host.mac, host.up, host.master) == (host_mac(MAC), True, bridge.index)
    assert (host.peer_index, container.peer_index) == (container.index, host.index)


@pytest.mark.usefixtures("machine")
def test_addresses_count_as_chosen() -> None:
    """NET_ADDR_SET (3): udev leaves such addresses alone, whatever its MACAddressPolicy."""
    create_pair()

    files = " ".join(f"/sys/class/net/{name}/addr_assign_type" for name in (HOST_LINK, CONTAINER_LINK))
    shown = shell(f"busybox mount -t sysfs sysfs /sys && busybox cat {files}")
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
            create_pair(endpoint=str(number))
            with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0) as container:
                container.bind((f"dc-{number}", ETH_P_TEST))
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
    """The text names the bridge, nothing is waited for, no link is left."""
    before, begun = names(), time.monotonic()

    with pytest.raises(NetlinkError, match=words):
        create_pair(bridge=bridge)

    assert time.monotonic() - begun < SLACK_SECONDS
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

    monkeypatch.setattr("workers.link.endpoint_link.disable_ipv6", refuse)

    with pytest.raises(NetlinkError, match="Read-only file system"):
        create_pair()

    assert HOST_LINK not in names()


@pytest.mark.usefixtures("machine")
def test_removing_twice() -> None:
    """One end takes the other along, out of its sandbox as well; a pair that does not exist is no error."""
    before, pair = names(), create_pair()
    with new_namespace() as namespace, Netlink() as netlink:
        netlink.move_link(netlink.require_link(CONTAINER_LINK), namespace)
        pair.remove(netlink)
        pair.remove(netlink)
        with namespace.visit():
            assert names() == {"lo"}
    assert names() == before


@pytest.mark.usefixtures("machine")
def test_link_is_found_in_its_sandbox_by_its_other_end(sandbox: Namespace) -> None:
    """Neither another endpoint's link with its MAC is taken for it, nor one of the container's own."""
    pair, other = VethOnBridge(SPEC), create_pair(MAC.upper(), endpoint="other")
    with Netlink() as netlink:
        netlink.move_link(netlink.require_link("dc-other"), sandbox)
        pair.recognise(netlink)
        assert pair.find(netlink) is None
    with sandbox.visit(), Netlink() as netlink:
        run(f"ip link add br0 address {MAC} type bridge")
        assert [found and found.name for found in (pair.find(netlink), other.find(netlink))] == ["eth0", "dc-other"]
        run("ip link set dc-other address 02:00:00:00:00:99 name dc-0")
        assert other.find(netlink) is None


def test_link_that_was_never_made(machine: None) -> None:
    """An endpoint whose port is gone has no link: its ends go together."""
    pair = VethOnBridge(SPEC)
    with Netlink() as netlink:
        pair.recognise(netlink)
        assert pair.find(netlink) is None


@pytest.mark.usefixtures("machine")
def test_parent_routes_are_the_static_ones() -> None:
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
        assert create_pair().parent_routes(netlink) == (
            Route(IPv4Network("10.8.0.0/16")),
            Route(IPv4Network("10.9.0.0/16"), IPv4Interface("192.168.77.9").ip),
        )
