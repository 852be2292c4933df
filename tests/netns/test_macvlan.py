"""A macvlan of a real kernel: made, refused, found again in a sandbox, removed."""

import errno
import subprocess
import time
from collections.abc import Iterator
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from tests.lab.command import SLACK_SECONDS
from tests.lab.dhcp import DhcpServer
from tests.lab.network import BRIDGE, inside
from tests.netns.lan import CARD, CONTAINER_LINK, MAC, SPEC, link, macvlan_of, obtain_lease, run, shell
from workers.contract.lease import Route
from workers.contract.link import LinkKind, LinkSpec, MacvlanMode
from workers.contract.messages import EndpointSpec
from workers.endpoint.host_release import release_from_host
from workers.link import macvlan as module
from workers.link.kind import probe_parent
from workers.link.macvlan import Macvlan
from workers.netlink.operations import Netlink, NetlinkError
from workers.system.namespaces import Namespace, new_namespace

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("machine")]

OTHER_MAC = "02:42:c0:a8:4d:99"


def names() -> set[str]:
    with Netlink() as netlink:
        return {found.name for found in netlink.links()}


def make(made: Macvlan) -> Macvlan:
    with Netlink() as netlink:
        made.make(netlink)
    return made


def remove(made: Macvlan) -> None:
    with Netlink() as netlink:
        made.remove(netlink)


@pytest.fixture
def busy(machine: None) -> Iterator[None]:
    """Another macvlan of the card has the MAC and is up, in a sandbox that does not end."""
    with new_namespace() as elsewhere:
        make(macvlan_of(endpoint="old"))
        with Netlink() as netlink:
            netlink.move_link(netlink.require_link("dc-old"), elsewhere)
        with elsewhere.visit():
            run("ip link set dc-old up")
        yield


def test_macvlan_is_complete_when_it_is_there() -> None:
    """It is up and sends, has the endpoint's MAC, counted as chosen, the parent's MTU, and the mark; IPv6 is off."""
    run(f"ip link set {CARD} mtu 1400")

    make(macvlan_of(mark=7))

    made = link(CONTAINER_LINK)
    assert (made.mac, made.up, made.operational, made.kind, made.mtu, made.group) == (
        MAC,
        True,
        True,
        "macvlan",
        1400,
        7,
    )
    assert (made.peer_index, made.peer_is_elsewhere) == (link(CARD).index, False)
    sysfs = f"busybox mount -t sysfs sysfs /sys && busybox cat /sys/class/net/{CONTAINER_LINK}/addr_assign_type"
    assert shell(sysfs).split() == ["3"]
    assert Path(f"/proc/sys/net/ipv6/conf/{CONTAINER_LINK}/disable_ipv6").read_text() == "1\n"
    assert run(f"ip -6 addr show dev {CONTAINER_LINK}") == ""


@pytest.mark.parametrize("mode", MacvlanMode)
def test_mode(mode: MacvlanMode) -> None:
    """The kernel has the mode that was asked for, and the container's MAC."""
    make(macvlan_of(mode=mode))

    assert f"macvlan mode {mode}" in run(f"ip -d link show {CONTAINER_LINK}")
    assert link(CONTAINER_LINK).mac == MAC


def test_passthru_has_its_parent_for_itself() -> None:
    """The parent has the container's MAC meanwhile and its own one again afterwards; a second macvlan says why not."""
    before = link(CARD).mac
    first = make(macvlan_of(mode=MacvlanMode.PASSTHRU))
    assert link(CARD).mac == MAC

    with pytest.raises(
        NetlinkError, match=f"{CARD} has other macvlans, and with macvlan_mode=passthru there can be one"
    ):
        make(macvlan_of(endpoint="second", mac=OTHER_MAC, mode=MacvlanMode.PASSTHRU))

    remove(first)
    assert link(CARD).mac == before


@pytest.mark.usefixtures("busy")
def test_mac_that_stays_in_use() -> None:
    """After two seconds without success the text names the MAC and the parent, and nothing is left."""
    begun, before = time.monotonic(), names()

    with pytest.raises(
        NetlinkError, match=f"using {MAC} on {CARD}: {CARD} itself or another macvlan on it has this MAC"
    ):
        make(macvlan_of())

    assert module.BUSY_SECONDS < time.monotonic() - begun < module.BUSY_SECONDS + SLACK_SECONDS
    assert names() == before


def test_mac_that_is_given_up() -> None:
    """The former link of a container that restarts lives a moment longer, up: the new one waits for its end."""
    make(macvlan_of(endpoint="old"))
    ending = subprocess.Popen(inside(None, "sh", "-c", "sleep 0.3; ip link del dc-old"))

    make(macvlan_of())

    assert link(CONTAINER_LINK).up
    ending.wait()


def test_former_link_that_is_down_is_no_obstacle(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine brings a link back down, and it may be removed later than the next one is made."""
    make(macvlan_of(endpoint="old"))
    run("ip link set dc-old down")
    monkeypatch.setattr(module, "BUSY_SECONDS", 2 * SLACK_SECONDS)
    begun = time.monotonic()

    make(macvlan_of())

    assert time.monotonic() - begun < SLACK_SECONDS


@pytest.mark.parametrize(
    ("parent", "words"),
    [
        ("absent", "absent: there is none of that name"),
        ("lo", "lo cannot be the parent: it is no Ethernet interface"),
        (BRIDGE, f"{BRIDGE} cannot be the parent: it is a bridge; use -o bridge={BRIDGE}"),
        ("up0", f"up0 cannot be the parent: it is a port of the bridge {BRIDGE}; use -o bridge={BRIDGE}"),
        ("wlan0", "wlan0 cannot be the parent: it is a Wi-Fi card"),
    ],
)
def test_refused_parent(parent: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At `network create` the user reads why it cannot work and what to use instead; no link is left."""
    monkeypatch.setattr("workers.diagnosis.checks.INTERFACES", tmp_path)  # this machine has no Wi-Fi card
    (tmp_path / "wlan0" / "phy80211").mkdir(parents=True)
    run("ip link add wlan0 type veth peer name air")
    before = names()

    report = probe_parent(LinkSpec(LinkKind.MACVLAN, parent))

    assert report.error is not None
    assert words in report.error
    assert names() == before


def test_accepted_parent() -> None:
    """A check is no use of it: nothing is left, and what a parent lacks now is a warning."""
    before = names()
    run(f"ip link set {CARD} down")

    report = probe_parent(LinkSpec(LinkKind.MACVLAN, CARD, MacvlanMode.PASSTHRU))

    assert (report.error, len(report.findings)) == (None, 1)
    assert f"{CARD} is down" in str(report.findings[0])
    assert names() == before


def test_check_finds_what_else_uses_the_parent() -> None:
    """Only the kernel knows that a parent has a macvlan with passthru, and an error says so at `network create`."""
    make(macvlan_of(mode=MacvlanMode.PASSTHRU))

    assert "has other macvlans" in str(probe_parent(LinkSpec(LinkKind.MACVLAN, CARD)).error)


def test_parent_of_another_kind() -> None:
    """A parent that has become a port since `network create` is named with what the kernel allows."""
    with pytest.raises(NetlinkError, match=r"up0: up0 is in use by ipvlan, or is a port of something"):
        make(macvlan_of("up0"))


def test_existing_name_is_refused_and_spared() -> None:
    """A link that has the name already is neither used nor touched."""
    run(f"ip link add {CONTAINER_LINK} type bridge")

    with pytest.raises(NetlinkError, match="File exists"):
        make(macvlan_of())

    assert link(CONTAINER_LINK).kind == "bridge"


def test_read_only_sysctls_roll_it_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """A link that would take the host's router advertisements is not left standing."""

    def refuse(_: str) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("workers.link.endpoint_link.disable_ipv6", refuse)

    with pytest.raises(NetlinkError, match="Read-only file system"):
        make(macvlan_of())

    assert CONTAINER_LINK not in names()


def moved(endpoint: str, sandbox: Namespace, name: str) -> None:
    """The endpoint's link is in the sandbox, as the engine leaves it."""
    with Netlink() as netlink:
        netlink.move_link(netlink.require_link(f"dc-{endpoint}"), sandbox)
    with sandbox.visit():
        run(f"ip link set dc-{endpoint} name {name} up")


@pytest.mark.parametrize("knows", [True, False])
def test_link_is_found_in_its_sandbox(knows: bool) -> None:
    """By a worker that made it and by its successor; not another endpoint's, nor what the container has made."""
    mine, other = make(macvlan_of()), make(macvlan_of(mac=OTHER_MAC, endpoint="other"))
    mine = mine if knows else macvlan_of()
    with new_namespace() as sandbox:
        moved("other", sandbox, "eth1")
        with sandbox.visit():  # they are listed before ours
            run("ip link add decoy type veth peer name decoy1")
            run(f"ip link add own0 link decoy address {MAC} type macvlan mode bridge")
            run(f"ip link add own1 link eth1 address {MAC} type macvlan mode bridge")
        moved(SPEC.endpoint_id, sandbox, "eth0")
        with Netlink() as netlink:
            mine.recognise(netlink)
            assert mine.find(netlink) is None
        with sandbox.visit(), Netlink() as netlink:
            assert [found and found.name for found in (mine.find(netlink), other.find(netlink))] == ["eth0", "eth1"]
            run("ip link del eth0")
            run("ip link del own1")
            assert mine.find(netlink) is None


def test_macvlan_as_parent() -> None:
    """The host may have a macvlan of its own on the card: the container's is beside it, and is found there."""
    run(f"ip link add host0 link {CARD} type macvlan mode bridge")
    run("ip link set host0 up")
    assert probe_parent(LinkSpec(LinkKind.MACVLAN, "host0")).error is None

    made = make(macvlan_of("host0"))

    assert link(CONTAINER_LINK).peer_index == link(CARD).index
    with new_namespace() as sandbox:
        moved(SPEC.endpoint_id, sandbox, "eth0")
        with sandbox.visit(), Netlink() as netlink:
            found = made.find(netlink)
            assert found is not None
            assert found.name == "eth0"


def test_parent_that_comes_and_goes() -> None:
    """Carrier and MTU follow the parent's; with the parent the link goes out of its sandbox, and is found no more."""
    made = make(macvlan_of())
    with new_namespace() as sandbox:
        moved(SPEC.endpoint_id, sandbox, "eth0")
        for words, expected in (("down", (False, 1500)), ("up", (True, 1500)), ("mtu 1400", (True, 1400))):
            run(f"ip link set {CARD} {words}")
            with sandbox.visit():
                assert (link("eth0").carrier, link("eth0").mtu) == expected
        run(f"ip link del {CARD}")
        with sandbox.visit(), Netlink() as netlink:
            assert made.find(netlink) is None


def replace_card() -> None:
    """The card goes, and another one of its name comes."""
    run(f"ip link del {CARD}")
    run(f"ip link add {CARD} up type veth peer name up0 address 02:00:00:00:00:01")
    run(f"ip link set up0 master {BRIDGE} up")


def make_in(made: Macvlan, sandbox: Namespace, name: str = "eth0") -> None:
    with Netlink() as netlink:
        made.make_in(netlink, sandbox, name)


@pytest.mark.parametrize("mode", [MacvlanMode.BRIDGE, MacvlanMode.PASSTHRU])
def test_link_that_is_made_again(mode: MacvlanMode) -> None:
    """It is complete in the sandbox, under a name that an interface of the host has, too, and is found there. The
    host sees nothing of it; IPv6 is off until somebody wants it."""
    run("ip link add eth0 type bridge")
    made = make(macvlan_of(mode=mode, mark=7))
    with new_namespace() as sandbox:
        moved(SPEC.endpoint_id, sandbox, "eth0")
        replace_card()
        run(f"ip link set {CARD} mtu 1400")
        before = names()

        make_in(made, sandbox)

        with sandbox.visit(), Netlink() as netlink:
            found = made.find(netlink)
            assert found is not None
            assert (found.name, found.mac, found.up, found.operational) == ("eth0", MAC, True, True)
            assert (found.mtu, found.group) == (1400, 7)
            assert Path("/proc/sys/net/ipv6/conf/eth0/disable_ipv6").read_text() == "1\n"
            assert f"macvlan mode {mode}" in run("ip -d link show eth0")
            assert names() == {"lo", "eth0"}
        assert names() == before


def test_link_that_cannot_be_made_again() -> None:
    """Whether the name, the card or the MAC address is in the way: the reason is told, and nothing is left."""
    made = make(macvlan_of())
    with new_namespace() as sandbox:
        moved(SPEC.endpoint_id, sandbox, "eth0")
        run(f"ip link del {CARD}")
        with pytest.raises(NetlinkError, match=f"{CARD}: there is none of that name"):
            make_in(made, sandbox)
        run(f"ip link add {CARD} up type veth peer name up0")
        with sandbox.visit():
            run("ip link add eth0 type bridge")
        with pytest.raises(NetlinkError, match="there is another eth0; remove that"):
            make_in(made, sandbox)
        with sandbox.visit():
            assert (names(), link("eth0").kind) == ({"lo", "eth0"}, "bridge")
            run("ip link del eth0")
        make(macvlan_of(endpoint="other"))
        with pytest.raises(NetlinkError, match="another macvlan on it has this MAC address"):
            make_in(made, sandbox)
        with sandbox.visit():
            assert names() == {"lo"}


def test_link_that_was_half_made() -> None:
    """What a worker that died has left of it goes first; its successor knows the card only."""
    made = macvlan_of()
    with new_namespace() as sandbox:
        with Netlink() as netlink:
            make(made)
            netlink.move_link(netlink.require_link(CONTAINER_LINK), sandbox)

        make_in(made, sandbox)

        with sandbox.visit():
            assert (names(), link("eth0").up) == ({"lo", "eth0"}, True)


def test_removing_twice() -> None:
    """What the engine has brought back goes; a link that does not exist is no error."""
    before, made = names(), make(macvlan_of())
    remove(made)
    remove(made)
    assert names() == before


def test_unused_links() -> None:
    """The sweep sees the ones with our mark that are on the host, under the names that we gave them."""
    for number, endpoint in enumerate(("ours", "foreign", "renamed", "inside")):
        make(macvlan_of(mac=f"02:00:00:00:00:5{number}", endpoint=endpoint, mark=8 if endpoint == "foreign" else 7))
    run("ip link set dc-renamed down name eth7")
    with new_namespace() as sandbox, Netlink() as netlink:
        netlink.move_link(netlink.require_link("dc-inside"), sandbox)
        assert [found.name for found in Macvlan.unused(netlink.links(), 7)] == ["dc-ours"]


def test_parent_routes_are_the_static_ones() -> None:
    """Those over the card that the user has set on the host, without a default route or one over another link."""
    run(f"ip addr add 10.1.0.1/24 dev {CARD}")
    for words in (f"10.8.0.0/16 dev {CARD}", "10.9.0.0/16 via 10.1.0.9", f"10.10.0.0/16 dev {BRIDGE}"):
        run(f"ip route add {words}")
    run(f"ip route add default dev {CARD}")

    made = make(macvlan_of())

    with Netlink() as netlink:
        found = made.parent_routes(netlink)
    assert {route.destination for route in found} == {IPv4Network("10.8.0.0/16"), IPv4Network("10.9.0.0/16")}
    assert Route(IPv4Network("10.8.0.0/16")) in found


@pytest.mark.parametrize("there", [True, False])
def test_release_from_the_host(server: DhcpServer, tmp_path: Path, there: bool) -> None:
    """A lease goes back to the server over the link, which is made again if it went with its sandbox."""
    made = make(macvlan_of())
    lease = obtain_lease(CONTAINER_LINK, tmp_path)
    if not there:
        remove(made)

    spec = EndpointSpec("", SPEC.endpoint_id, LinkSpec(LinkKind.MACVLAN, CARD), MAC, SPEC.client_identity, 0)
    assert release_from_host(spec, made, lease)

    assert server.kinds(MAC)[-1] == "RELEASE"
    assert server.leases() == []
    assert CONTAINER_LINK not in names()
