"""What keeps DHCP from passing a bridge, found on a machine that has just that."""

from pathlib import Path

import pytest

from tests.lab.network import BRIDGE
from tests.netns.lan import create_pair, run
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
    assert likely_cause(BRIDGE) == NO_CAUSE

    run(trouble)

    assert words in likely_cause(BRIDGE)


@pytest.mark.parametrize("iptables", ["iptables-nft", "iptables-legacy"])
@pytest.mark.parametrize("exception", [f"-I {EXCEPTION}", "-A FORWARD -j ACCEPT"])
def test_exception_clears_the_packet_filter(iptables: str, exception: str) -> None:
    """A host that follows the advice, or lets everything pass, is not accused again."""
    run(f"{iptables} -P FORWARD DROP")
    run(f"{iptables} {exception}")

    assert warnings(BRIDGE) == ()


@pytest.mark.parametrize("iptables", ["iptables-nft", "iptables-legacy"])
@pytest.mark.parametrize("rule", ["FORWARD -i eth9 -j ACCEPT", "FORWARD -p tcp -j ACCEPT", "INPUT -j ACCEPT"])
def test_other_rules_are_no_exception(iptables: str, rule: str) -> None:
    """What lets some other traffic pass does not let DHCP pass."""
    run(f"{iptables} -P FORWARD DROP")
    run(f"{iptables} -A {rule}")

    assert "FORWARD policy is DROP" in likely_cause(BRIDGE)


def test_packet_filter_is_innocent_when_bridges_do_not_call_it(bridge_netfilter: Path) -> None:
    """FORWARD drops routed packets only, where bridge netfilter is off or not even loaded."""
    run("iptables-nft -P FORWARD DROP")

    bridge_netfilter.write_text("0\n")
    assert likely_cause(BRIDGE) == NO_CAUSE
    bridge_netfilter.unlink()
    assert likely_cause(BRIDGE) == NO_CAUSE


def test_reading_the_packet_filter_does_not_make_one() -> None:
    """Asking the legacy interface for a table that is not there would make the kernel load it."""
    warnings(BRIDGE)

    assert run("cat /proc/self/net/ip_tables_names") == ""


def test_containers_ports_are_no_uplink() -> None:
    """A bridge that connects containers with each other alone reaches no LAN."""
    run("ip link del up0")
    create_pair()

    assert "no uplink" in likely_cause(BRIDGE)


def test_every_finding_is_a_warning() -> None:
    """At `network create` the user learns all of them at once, the gravest first."""
    run(f"ip link set {BRIDGE} type bridge stp_state 1")
    run(f"ip link set {BRIDGE} down")
    run("ip link del up0")

    assert [words for words in ("is down", "STP is on", "no uplink") if any(words in w for w in warnings(BRIDGE))] == [
        "is down",
        "STP is on",
        "no uplink",
    ]
    assert "is down" in warnings(BRIDGE)[0]


def test_warnings_need_a_bridge() -> None:
    """Without one there is nothing to warn of, but an error."""
    with pytest.raises(NetlinkError, match="lo is a hardware link"):
        warnings("lo")
