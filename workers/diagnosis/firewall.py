"""Finds the packet filters of this host that drop a client's first message on its way over a bridge.

Reads iptables-legacy and nf_tables from the kernel, without their tools: there iptables-nft, ufw, firewalld and the
rules of nft itself are. Owns the remedies. Must not know when bridges call which filter.
"""

from collections.abc import Iterator
from typing import NamedTuple

from workers.diagnosis import x_tables
from workers.diagnosis.nft_rules import BRIDGE, INET, PROTOCOLS, Rules
from workers.diagnosis.nftables import Chain, ChainId, Ruleset, read_ruleset
from workers.diagnosis.packet import Packet
from workers.diagnosis.ruleset import Action, fate

FORWARD = 2  # NF_INET_FORWARD and NF_BR_FORWARD
NF_DROP = 0
FAMILIES = {1: "inet", 2: "ip", 7: "bridge", 10: "ip6"}
IPTABLES = {2: "iptables", 10: "ip6tables"}  # by NFPROTO_*
FIREWALLD = "firewalld"  # the name of its table


class Dropped(NamedTuple):
    """`where` names table and chain, `remedy` lets the bridge's frames pass there."""

    where: str
    remedy: str


def drops_of_ip(packet: Packet) -> Iterator[Dropped]:
    """What drops the packet if bridges hand it to the filters of its IP version. Raises OSError."""
    family = PROTOCOLS[packet.version]
    if x_tables.drops(packet):
        tool = IPTABLES[family]
        yield Dropped(
            f"chain FORWARD of {tool}-legacy", f"{_allow(tool, packet.bridge)} ({tool}-legacy if there is one)"
        )
    yield from _drops(packet, (INET, family))


def drops_of_bridge(packet: Packet) -> Iterator[Dropped]:
    """What drops the packet in the filters for bridges, which bridges always ask. Raises OSError."""
    yield from _drops(packet, (BRIDGE,))


def _drops(packet: Packet, families: tuple[int, ...]) -> Iterator[Dropped]:
    ruleset = read_ruleset(FORWARD)
    for chain in ruleset.chains:
        if chain.id.family in families and _is_dropped(ruleset, chain, packet):
            yield Dropped(_where(chain.id), _remedy(chain.id, packet.bridge))


def _is_dropped(ruleset: Ruleset, chain: Chain, packet: Packet) -> bool:
    decided = fate(chain.id, Rules(ruleset, packet).verdicts)
    return decided is Action.DROP or (decided is None and chain.policy == NF_DROP)


def _where(chain: ChainId) -> str:
    return f"chain {chain.chain} of the nftables table {FAMILIES[chain.family]} {chain.table}"


def _remedy(chain: ChainId, bridge: str) -> str:
    """A rule in another table would not help: each base chain may drop."""
    family = FAMILIES[chain.family]
    if chain.table == FIREWALLD:
        zone = f"firewall-cmd --permanent --zone=trusted --change-interface={bridge}"
        return f"allow them with `{zone}` and `firewall-cmd --reload`"
    if chain.family in IPTABLES and (chain.table, chain.chain) == ("filter", "FORWARD"):
        return _allow(IPTABLES[chain.family], bridge)
    link = f"meta ibrname {bridge}" if chain.family == BRIDGE else f"iifname {bridge} oifname {bridge}"
    return f"allow them with `nft insert rule {family} {chain.table} {chain.chain} {link} accept`"


def _allow(tool: str, bridge: str) -> str:
    return f"allow them with `{tool} -I FORWARD -i {bridge} -o {bridge} -j ACCEPT`"
