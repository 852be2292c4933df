"""What keeps DHCP from passing a bridge, found on a machine that has just that."""

from pathlib import Path

import pytest

from tests.lab.network import BRIDGE
from tests.netns.lan import SPEC, create_pair, run, shell
from workers.contract.finding import Severity
from workers.contract.link import LinkKind, LinkSpec
from workers.diagnosis.causes import likely_cause, others_answered
from workers.diagnosis.checks import diagnose

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("machine")]


@pytest.fixture(autouse=True)
def bridge_netfilter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file in place of the kernel's switch: loading br_netfilter would change the tester's own bridges."""
    switch = tmp_path / "bridge-nf-call-iptables"
    switch.write_text("1\n")
    monkeypatch.setattr("workers.diagnosis.checks.CALL_IPTABLES", switch)
    monkeypatch.setattr("workers.diagnosis.checks.CALL_IP6TABLES", switch)
    return switch


@pytest.fixture(autouse=True)
def dmi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory in place of the one in which the firmware says who made this machine; it says nothing."""
    monkeypatch.setattr("workers.diagnosis.hypervisor.DMI", tmp_path)
    return tmp_path


LINK = SPEC.link
CARD = LinkSpec(LinkKind.MACVLAN, "up1")
NO_CAUSE = "no cause found on this host: is there a DHCP server on this LAN, and does it serve this MAC address?"
EXCEPTION = f"FORWARD -i {BRIDGE} -o {BRIDGE} -j ACCEPT"


def ids(link: LinkSpec = LINK, *, ipv6: bool = False) -> list[str]:
    """Of all that is found."""
    return [finding.id for finding in diagnose(link, ipv6=ipv6)]


@pytest.mark.parametrize(
    ("trouble", "found", "words"),
    [
        (f"ip link set {BRIDGE} down", "parent-down", f"{BRIDGE} is down: raise it with `ip link set {BRIDGE} up`"),
        (
            f"ip link set {BRIDGE} type bridge stp_state 1",
            "stp-delay",
            "STP is on for br-lan with a forward delay",
        ),
        ("iptables-nft -P FORWARD DROP", "firewall-ip", f"`iptables -I {EXCEPTION}`"),
        ("iptables-legacy -P FORWARD DROP", "firewall-ip", f"`iptables -I {EXCEPTION}`"),
        (
            "ebtables -P FORWARD DROP",
            "firewall-bridge",
            f"nft insert rule bridge filter FORWARD meta ibrname {BRIDGE}",
        ),
        ("ip link del up0", "no-uplink", "no ports besides the containers' (no uplink)"),
        ("ip link set up1 down", "uplink-carrier", "no uplink of br-lan has a carrier (up0)"),
        (f"ip link del {BRIDGE}", "no-parent", f"{BRIDGE}: there is none of that name"),
    ],
)
def test_cause(trouble: str, found: str, words: str) -> None:
    """Each obstacle is named with its remedy, and is not there before it is made."""
    assert likely_cause(LINK) == NO_CAUSE

    run(trouble)

    assert ids() == [found]
    assert words in likely_cause(LINK)


def test_not_a_bridge() -> None:
    """An interface of another kind is found to be one."""
    (found,) = diagnose(LinkSpec(LinkKind.BRIDGE, "lo"))
    assert (found.id, found.severity) == ("no-parent", Severity.ERROR)
    assert "lo is a hardware link and not a bridge" in found.found


def test_packet_filter_is_innocent_when_bridges_do_not_call_it(bridge_netfilter: Path) -> None:
    """FORWARD drops routed packets only, where bridge netfilter is off or not even loaded."""
    run("iptables-nft -P FORWARD DROP")

    bridge_netfilter.write_text("0\n")
    assert ids() == []
    bridge_netfilter.unlink()
    assert ids() == []


def test_reading_the_packet_filter_does_not_make_one() -> None:
    """Asking the legacy interface for a table that is not there would make the kernel load it."""
    diagnose(LINK, ipv6=True)

    assert run("cat /proc/self/net/ip_tables_names /proc/self/net/ip6_tables_names") == ""


@pytest.mark.parametrize("tool", ["nft", "legacy"])
def test_packet_filter_of_ipv6(tool: str) -> None:
    """It stops DHCPv6 only, and concerns those networks that want IPv6."""
    run(f"ip6tables-{tool} -P FORWARD DROP")

    assert ids() == []
    assert ids(ipv6=True) == ["firewall-ip6"]
    assert f"`ip6tables -I {EXCEPTION}`" in likely_cause(LINK, ipv6=True)

    run(f"ip6tables-{tool} -A FORWARD -p udp --dport 547 -j ACCEPT")
    assert ids(ipv6=True) == []


def test_host_without_ipv6(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that wants IPv6 cannot have it where the kernel was started without."""
    monkeypatch.setattr("workers.diagnosis.checks.IPV6", tmp_path / "absent")

    assert ids() == []
    assert ids(ipv6=True) == ids(CARD, ipv6=True) == ["ipv6-off"]


def test_containers_ports_are_no_uplink() -> None:
    """A bridge that connects containers with each other alone reaches no LAN."""
    run("ip link del up0")
    create_pair()

    assert ids() == ["no-uplink"]


def test_every_finding() -> None:
    """All of them are found at once, the gravest first, and an error has the first ones."""
    run(f"ip link set {BRIDGE} type bridge stp_state 1")
    run(f"ip link set {BRIDGE} down")
    run("ip link del up0")
    run("ebtables -P FORWARD DROP")

    assert ids() == ["parent-down", "firewall-bridge", "no-uplink", "stp-delay"]
    words = likely_cause(LINK)
    assert words.startswith(f"{BRIDGE} is down: raise it")
    assert "no uplink" in words
    assert "STP" not in words


def test_server_that_answers_others() -> None:
    """It is the likeliest cause where the host is in order, and comes after what is wrong on the host."""
    seen = [others_answered(3, "192.0.2.1")]
    assert likely_cause(LINK, seen=seen).startswith("the DHCP server 192.0.2.1 answers others (3 answers seen)")
    assert "no cause found" not in likely_cause(LINK, seen=seen)

    run(f"ip link set {BRIDGE} down")
    assert likely_cause(LINK, seen=seen).startswith(f"{BRIDGE} is down")


@pytest.mark.parametrize(
    ("trouble", "found", "words"),
    [
        ("ip link set up1 down", "parent-down", "up1 is down: raise it with `ip link set up1 up`"),
        ("ip link set up0 down", "no-carrier", "up1 has no carrier: is the cable plugged in?"),
        ("ip link del up1", "no-parent", "up1: there is none of that name"),
    ],
)
def test_cause_at_a_card(trouble: str, found: str, words: str) -> None:
    """What keeps DHCP from passing a macvlan's parent is named; a bridge's troubles do not concern it."""
    run("iptables-nft -P FORWARD DROP")
    assert likely_cause(CARD) == NO_CAUSE

    run(trouble)

    assert ids(CARD) == [found]
    assert words in likely_cause(CARD)


def test_way_back() -> None:
    """A strict rp_filter is a trouble only of a host that is in the subnet by another interface, too."""
    for name, value in (("all", 0), (BRIDGE, 1)):
        shell(f"echo {value} > /proc/sys/net/ipv4/conf/{name}/rp_filter")
    run(f"ip addr add 192.0.2.1/24 dev {BRIDGE}")
    assert ids() == []
    run("ip addr add 192.0.2.2/24 dev up1")

    assert ids() == ["rp-filter"]
    told = f"through up1, too: a DHCP server on this host may not hear renewals: `sysctl -w net.ipv4.conf.{BRIDGE}."
    assert told in likely_cause(LINK)
    shell("echo 2 > /proc/sys/net/ipv4/conf/all/rp_filter")
    assert ids() == []


@pytest.mark.parametrize(
    ("context", "words"),
    [
        ("docker-default (enforce)\n", "AppArmor confines this plugin to the profile docker-default: `journalctl -k"),
        ("system_u:system_r:container_t:s0:c1,c2\0", "SELinux confines this plugin to the type container_t: `ausearch"),
        ("docker-default (complain)\n", None),
        ("unconfined\n", None),
        ("system_u:system_r:spc_t:s0", None),
    ],
)
def test_confined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, context: str, words: str | None) -> None:
    """A policy that confines the plugin is a hint where nothing is found, and is none where it forbids nothing."""
    monkeypatch.setattr("workers.diagnosis.confinement.CONTEXT", tmp_path / "current")
    (tmp_path / "current").write_text(context)

    assert likely_cause(LINK).startswith(words or NO_CAUSE)
    assert ids() == []
    run(f"ip link set {BRIDGE} down")
    assert "confines" not in likely_cause(LINK)


def test_wireless_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Wi-Fi card is no parent for other MAC addresses; this machine has none, so its entry is played."""
    monkeypatch.setattr("workers.diagnosis.checks.INTERFACES", tmp_path)
    assert ids(CARD) == []

    (tmp_path / "up1" / "phy80211").mkdir(parents=True)

    assert ids(CARD) == ["wifi"]


@pytest.mark.parametrize(
    ("vendor", "product", "words"),
    [
        ("VMware, Inc.", "VMware7,1", "Forged transmits"),
        ("innotek GmbH", "VirtualBox", "nicpromisc1"),
        ("Microsoft Corporation", "Virtual Machine", "MacAddressSpoofing"),
        ("QEMU", "Standard PC (Q35 + ICH9, 2009)", "MAC filter"),
        ("Xen", "HVM domU", "Xen: "),
    ],
)
def test_virtual_machine(dmi: Path, vendor: str, product: str, words: str) -> None:
    """Its virtual switch is the likeliest cause where nothing is found, and is named; it is no finding by itself."""
    (dmi / "sys_vendor").write_text(f"{vendor}\n")
    (dmi / "product_name").write_text(f"{product}\n")

    assert "virtual switch" in likely_cause(CARD)
    assert words in likely_cause(LINK)
    assert ids(CARD) == []
    run("ip link set up1 down")
    assert "up1 is down" in likely_cause(CARD)


def test_real_machine_of_a_maker_of_virtual_ones(dmi: Path) -> None:
    """The same vendor sells tablets."""
    (dmi / "sys_vendor").write_text("Microsoft Corporation\n")
    (dmi / "product_name").write_text("Surface Pro\n")

    assert likely_cause(CARD) == NO_CAUSE
