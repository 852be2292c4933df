"""What keeps DHCP from passing a bridge, found on a machine that has just that."""

from pathlib import Path

import pytest

from tests.lab.network import BRIDGE
from tests.netns.lan import SPEC, create_pair, run
from workers.contract.link import LinkKind, LinkSpec
from workers.diagnosis.causes import NO_CAUSE, likely_cause, warnings
from workers.netlink.operations import NetlinkError

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("machine")]


@pytest.fixture(autouse=True)
def bridge_netfilter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file in place of the kernel's switch: loading br_netfilter would change the tester's own bridges."""
    switch = tmp_path / "bridge-nf-call-iptables"
    switch.write_text("1\n")
    monkeypatch.setattr("workers.diagnosis.causes.CALL_IPTABLES", switch)
    return switch


@pytest.fixture(autouse=True)
def dmi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory in place of the one in which the firmware says who made this machine; it says nothing."""
    monkeypatch.setattr("workers.diagnosis.hypervisor.DMI", tmp_path)
    return tmp_path


LINK = SPEC.link
CARD = LinkSpec(LinkKind.MACVLAN, "up1")
EXCEPTION = f"FORWARD -i {BRIDGE} -o {BRIDGE} -j ACCEPT"


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        (f"ip link set {BRIDGE} down", f"{BRIDGE} is down"),
        (f"ip link set {BRIDGE} type bridge stp_state 1", "STP is on for br-lan with a forward delay of 15 s"),
        ("iptables-nft -P FORWARD DROP", f"`iptables -I {EXCEPTION}`"),
        ("iptables-legacy -P FORWARD DROP", f"`iptables -I {EXCEPTION}`"),
        ("ip link del up0", "no port but containers' (no uplink)"),
        ("ip link set up1 down", "no uplink of br-lan has a carrier (up0)"),
        (f"ip link del {BRIDGE}", f"{BRIDGE}: there is none of that name"),
    ],
)
def test_cause(trouble: str, words: str) -> None:
    """Each obstacle is named with its remedy, and is not there before it is made."""
    assert likely_cause(LINK) == NO_CAUSE

    run(trouble)

    assert words in likely_cause(LINK)


@pytest.mark.parametrize("iptables", ["iptables-nft", "iptables-legacy"])
@pytest.mark.parametrize("exception", [f"-I {EXCEPTION}", "-A FORWARD -j ACCEPT"])
def test_exception_clears_the_packet_filter(iptables: str, exception: str) -> None:
    """A host that follows the advice, or lets everything pass, is not accused again."""
    run(f"{iptables} -P FORWARD DROP")
    run(f"{iptables} {exception}")

    assert warnings(LINK) == ()


@pytest.mark.parametrize("iptables", ["iptables-nft", "iptables-legacy"])
@pytest.mark.parametrize("rule", ["FORWARD -i eth9 -j ACCEPT", "FORWARD -p tcp -j ACCEPT", "INPUT -j ACCEPT"])
def test_other_rules_are_no_exception(iptables: str, rule: str) -> None:
    """What lets some other traffic pass does not let DHCP pass."""
    run(f"{iptables} -P FORWARD DROP")
    run(f"{iptables} -A {rule}")

    assert "FORWARD policy is DROP" in likely_cause(LINK)


def test_packet_filter_is_innocent_when_bridges_do_not_call_it(bridge_netfilter: Path) -> None:
    """FORWARD drops routed packets only, where bridge netfilter is off or not even loaded."""
    run("iptables-nft -P FORWARD DROP")

    bridge_netfilter.write_text("0\n")
    assert likely_cause(LINK) == NO_CAUSE
    bridge_netfilter.unlink()
    assert likely_cause(LINK) == NO_CAUSE


def test_reading_the_packet_filter_does_not_make_one() -> None:
    """Asking the legacy interface for a table that is not there would make the kernel load it."""
    warnings(LINK)

    assert run("cat /proc/self/net/ip_tables_names") == ""


def test_containers_ports_are_no_uplink() -> None:
    """A bridge that connects containers with each other alone reaches no LAN."""
    run("ip link del up0")
    create_pair()

    assert "no uplink" in likely_cause(LINK)


def test_every_finding_is_a_warning() -> None:
    """At `network create` the user learns all of them at once, the gravest first."""
    run(f"ip link set {BRIDGE} type bridge stp_state 1")
    run(f"ip link set {BRIDGE} down")
    run("ip link del up0")

    assert [words for words in ("is down", "STP is on", "no uplink") if any(words in w for w in warnings(LINK))] == [
        "is down",
        "STP is on",
        "no uplink",
    ]
    assert "is down" in warnings(LINK)[0]


def test_warnings_need_a_bridge() -> None:
    """Without one there is nothing to warn of, but an error."""
    with pytest.raises(NetlinkError, match="lo is a hardware link"):
        warnings(LinkSpec(LinkKind.BRIDGE, "lo"))


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        ("ip link set up1 down", "up1 is down: raise it with `ip link set up1 up`"),
        ("ip link set up0 down", "up1 has no carrier: is the cable plugged in?"),
        ("ip link del up1", "up1: there is none of that name"),
    ],
)
def test_cause_at_a_card(trouble: str, words: str) -> None:
    """What keeps DHCP from passing a macvlan's parent is named; a bridge's troubles do not concern it."""
    run("iptables-nft -P FORWARD DROP")
    assert likely_cause(CARD) == NO_CAUSE

    run(trouble)

    assert words in likely_cause(CARD)


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
    assert warnings(CARD) == ()
    run("ip link set up1 down")
    assert "up1 is down" in likely_cause(CARD)


def test_real_machine_of_a_maker_of_virtual_ones(dmi: Path) -> None:
    """The same vendor sells tablets."""
    (dmi / "sys_vendor").write_text("Microsoft Corporation\n")
    (dmi / "product_name").write_text("Surface Pro\n")

    assert likely_cause(CARD) == NO_CAUSE
