"""Which packet filters of a host drop DHCP between the ports of its bridge, read from a kernel that has them."""

import pytest

from tests.lab import command
from tests.lab.network import BRIDGE, inside
from tests.netns.lan import link, run
from workers.diagnosis.firewall import drops_of_bridge, drops_of_ip
from workers.diagnosis.packet import discover, solicit

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("machine")]

FAMILIES = [(family, tool) for family in ("ip", "ip6") for tool in ("nft", "legacy")]


def dropped(family: str = "ip") -> list[str]:
    """Where DHCP's first message of this family is dropped."""
    bridge = link(BRIDGE)
    first = (solicit if family == "ip6" else discover)(bridge.name, bridge.index)
    found = drops_of_bridge(first) if family == "bridge" else drops_of_ip(first)
    return [one.where for one in found]


def nft(*commands: str) -> None:
    """Runs commands of nft's in one transaction."""
    command.run(*inside(None, "nft", "-f", "-"), stdin="\n".join(commands).encode(), timeout=60)


def chain(family: str, *rules: str, policy: str = "drop") -> list[str]:
    """Commands that make a base chain on the hook of forwarding, with these rules."""
    base = f"add chain {family} t c {{ type filter hook forward priority 0; policy {policy}; }}"
    return [f"add table {family} t", base, *(f"add rule {family} t c {rule}" for rule in rules)]


@pytest.mark.parametrize(("family", "tool"), FAMILIES)
@pytest.mark.parametrize(
    "exceptions",
    [
        [f"FORWARD -i {BRIDGE} -o {BRIDGE} -j ACCEPT"],
        ["FORWARD -j ACCEPT"],
        ["FORWARD -i br+ -j ACCEPT"],
        ["FORWARD -m physdev --physdev-is-bridged -j ACCEPT"],
        ["FORWARD -p udp --dport 67 -j ACCEPT", "FORWARD -p udp --dport 547 -j ACCEPT"],
        ["FORWARD -m comment --comment why ! -i eth+ -j ACCEPT"],
        [f"OURS -i {BRIDGE} -j ACCEPT", "FORWARD -p tcp -j DROP", "FORWARD -j OURS"],
        [f"FORWARD -o {BRIDGE} -m limit --limit 9/s -j ACCEPT"],
    ],
)
def test_exception(family: str, tool: str, exceptions: list[str]) -> None:
    """A host that follows the advice, or lets DHCP pass in another way, is not accused."""
    iptables = f"{family}tables-{tool}"
    run(f"{iptables} -N OURS")
    run(f"{iptables} -P FORWARD DROP")
    assert len(dropped(family)) == 1

    for rule in exceptions:
        run(f"{iptables} -A {rule}")

    assert dropped(family) == []


@pytest.mark.parametrize(("family", "tool"), FAMILIES)
@pytest.mark.parametrize(
    "rule",
    [
        "FORWARD -i eth9 -j ACCEPT",
        "FORWARD -p tcp -j ACCEPT",
        "INPUT -j ACCEPT",
        "FORWARD -p udp --dport 53 -j ACCEPT",
        f"FORWARD ! -i {BRIDGE} -j ACCEPT",
        "FORWARD -m limit --limit 9/s -j ACCEPT",
    ],
)
def test_no_exception(family: str, tool: str, rule: str) -> None:
    """What lets some other traffic pass does not let DHCP pass."""
    iptables = f"{family}tables-{tool}"
    run(f"{iptables} -P FORWARD DROP")
    run(f"{iptables} -A {rule}")

    assert len(dropped(family)) == 1


@pytest.mark.parametrize(("family", "tool"), FAMILIES)
def test_final_reject(family: str, tool: str) -> None:
    """A rule at the end refuses as a policy does, and also in a chain that is jumped to; a rule for TCP does not."""
    iptables = f"{family}tables-{tool}"
    run(f"{iptables} -N REST")
    run(f"{iptables} -A FORWARD -p tcp -j DROP")
    assert dropped(family) == []

    run(f"{iptables} -A FORWARD -g REST")
    assert dropped(family) == []
    run(f"{iptables} -A REST -j REJECT")

    assert len(dropped(family)) == 1


FIREWALLD = (
    "add table inet firewalld",
    "add chain inet firewalld filter_FORWARD { type filter hook forward priority 10; policy accept; }",
    "add chain inet firewalld filter_FORWARD_POLICIES",
    "add chain inet firewalld filter_FWD_trusted",
    "add rule inet firewalld filter_FORWARD ct state { established, related } accept",
    "add rule inet firewalld filter_FORWARD ct status dnat accept",
    'add rule inet firewalld filter_FORWARD iifname "lo" accept',
    "add rule inet firewalld filter_FORWARD jump filter_FORWARD_POLICIES",
    "add rule inet firewalld filter_FORWARD ct state { invalid } drop",
    "add rule inet firewalld filter_FORWARD reject with icmpx admin-prohibited",
    "add rule inet firewalld filter_FWD_trusted accept",
)
TRUSTED = f"add rule inet firewalld filter_FORWARD_POLICIES iifname {BRIDGE} oifname {BRIDGE} goto filter_FWD_trusted"


def test_firewalld() -> None:
    """Its table rejects what no zone takes, and lets a bridge in the zone `trusted` pass."""
    nft(*FIREWALLD)
    assert dropped() == dropped("ip6") == ["chain filter_FORWARD of the nftables table inet firewalld"]
    bridge = link(BRIDGE)
    (found,) = drops_of_ip(discover(bridge.name, bridge.index))
    assert f"`firewall-cmd --permanent --zone=trusted --change-interface={BRIDGE}`" in found.remedy

    nft(TRUSTED)

    assert dropped() == dropped("ip6") == []


def of_dockers_own(bridge: str) -> list[str]:
    """What Docker 29 makes with `"firewall-backend": "nftables"` of a bridge of its own, as far as it concerns DHCP."""
    table = "docker-bridges"
    return [
        f"add table ip {table}",
        f"add chain ip {table} into",
        f"add rule ip {table} into ct state established,related counter accept",
        f"add rule ip {table} into counter drop",
        f"add map ip {table} jumps {{ type ifname : verdict; }}",
        f"add element ip {table} jumps {{ {bridge} : jump into }}",
        f"add chain ip {table} filter-FORWARD {{ type filter hook forward priority 0; policy accept; }}",
        f"add rule ip {table} filter-FORWARD oifname vmap @jumps",
    ]


def test_dockers_tables() -> None:
    """They refuse only what goes to the bridges of Docker's own networks."""
    nft(*of_dockers_own("docker0"))
    assert dropped() == []

    nft(*of_dockers_own(BRIDGE))
    assert dropped() == ["chain filter-FORWARD of the nftables table ip docker-bridges"]


@pytest.mark.parametrize(
    ("rule", "ip", "ip6"),
    [
        ("counter", False, False),
        ('iifname { "br-lan", "lo" } accept', True, True),
        ('iifname { "br-other", "lo" } accept', False, False),
        ('iifname != "eth9" log accept', True, True),
        ("iifname . oifname { br-lan . br-lan } accept", True, True),
        ("iifname vmap { br-lan : accept, lo : drop }", True, True),
        ("ct state vmap { established : accept, invalid : drop }", False, False),
        ("udp dport { 60-70, 540-550 } accept", True, True),
        ("udp dport { 60-66, 548-550 } accept", False, False),
        ("udp dport 67-68 accept", True, False),
        ("ip daddr 255.255.255.255 accept", True, False),
        ("ip daddr 255.0.0.0/8 accept", True, False),
        ("ip daddr { 10.0.0.0/8, 224.0.0.0-255.255.255.255 } accept", True, False),
        ("meta nfproto ipv6 accept", False, True),
        ("ip6 daddr ff00::/8 accept", False, True),
        ("iifname br-lan limit rate 9/second accept", True, True),
        ("limit rate 9/second accept", False, False),
        ("meta mark 7 accept", False, False),
        ("fib daddr type local accept", False, False),
    ],
)
def test_rules_of_nft(rule: str, ip: bool, ip6: bool) -> None:
    """A chain that drops the rest lets DHCP of IPv4 and IPv6 pass, or not, by this rule."""
    nft(*chain("inet", rule))

    assert (not dropped("ip"), not dropped("ip6")) == (ip, ip6)


def test_each_base_chain_counts() -> None:
    """An accept in one table saves nothing that another one drops; chains on other hooks do not matter."""
    run(f"iptables-nft -A FORWARD -i {BRIDGE} -j ACCEPT")
    nft("add table inet o", "add chain inet o c { type filter hook output priority 0; policy drop; }")
    assert dropped() == []

    nft(*chain("ip", "reject", policy="accept"))

    assert dropped() == ["chain c of the nftables table ip t"]


def test_advice_for_nft() -> None:
    """A chain of the user's own lets the bridge's frames pass after the command that the finding names."""
    nft(*chain("inet", "ct state established accept"))
    bridge = link(BRIDGE)
    (found,) = drops_of_ip(discover(bridge.name, bridge.index))

    nft(found.remedy.partition("`nft ")[2].rstrip("`"))

    assert dropped() == []


@pytest.mark.parametrize(
    ("rule", "passes"),
    [
        ("ether type ip accept", True),
        ("ether type arp accept", False),
        ("ether daddr ff:ff:ff:ff:ff:ff accept", True),
        ("ether saddr 02:00:00:00:00:07 accept", False),
        ("udp dport 67 accept", True),
        ('iifname "dh-*" accept', True),
        ("accept", True),
    ],
)
def test_filters_of_bridges(rule: str, passes: bool) -> None:
    """Chains for bridges see ports and Ethernet headers, and stop frames wherever bridges call no iptables."""
    nft(*chain("bridge"))
    assert (dropped("bridge"), dropped()) == (["chain c of the nftables table bridge t"], [])

    nft(f"add rule bridge t c {rule}")

    assert (dropped("bridge") == []) == passes
