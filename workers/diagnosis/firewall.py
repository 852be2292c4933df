"""Reads from the kernel whether the host's packet filter drops forwarded packets, without an iptables binary.

Owns nf_tables, which iptables-nft uses as well. Must not know the purpose of a bridge.
"""

import os
from typing import Any

from pyroute2.netlink.exceptions import NetlinkError as KernelError
from pyroute2.netlink.nfnetlink import NFNL_SUBSYS_NFTABLES, nfgen_msg

from workers.diagnosis import x_tables

NF_INET_FORWARD = 2
NF_DROP = 0
FILTERING_FAMILIES = (1, 2)  # NFPROTO_INET and NFPROTO_IPV4: bridge netfilter hands frames to these


def drops_forwarded(link: str) -> bool:
    """Whether FORWARD's policy in the present namespace is DROP, without an exception for `link`.

    A rule of FORWARD that accepts every packet is an exception. A rule that names `link` counts as one in any chain:
    rules hold interface names literally, with their final NUL. Raises OSError.
    """
    return _nftables_drops(link) or x_tables.drops_forwarded(link)


def _nftables_drops(link: str) -> bool:
    # Imported here: it brings an event loop along, which only this process needs.
    from pyroute2.netlink.nfnetlink.nftsocket import NFT_MSG_GETCHAIN, NFT_MSG_GETRULE, NFTSocket

    try:
        with NFTSocket(nfgen_family=0) as nftables:
            chains = nftables.request_get(nfgen_msg(), NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETCHAIN)
            dropping = {_chain(c, "NFTA_CHAIN_NAME", "NFTA_CHAIN_TABLE") for c in chains if _is_dropping(c)}
            if not dropping:
                return False
            rules = tuple(nftables.request_get(nfgen_msg(), NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETRULE))
            open_chains = {_chain(r, "NFTA_RULE_CHAIN", "NFTA_RULE_TABLE") for r in rules if _accepts_everything(r)}
            return bool(dropping - open_chains) and not any(link.encode() + b"\0" in rule.data for rule in rules)
    except KernelError as error:
        raise OSError(error.code, os.strerror(error.code)) from error


def _is_dropping(chain: Any) -> bool:  # noqa: ANN401  pyroute2 is untyped
    return (
        chain["nfgen_family"] in FILTERING_FAMILIES
        and chain.get("policy") == NF_DROP
        and chain.get(("hook", "NFTA_HOOK_HOOKNUM")) == NF_INET_FORWARD
    )


def _chain(message: Any, name: str, table: str) -> tuple[int, str, str]:  # noqa: ANN401  pyroute2 is untyped
    return message["nfgen_family"], message.get_attr(table), message.get_attr(name)


def _accepts_everything(rule: Any) -> bool:  # noqa: ANN401  pyroute2 is untyped
    """Whether the rule is only an accept, and the counter that iptables puts before it."""
    expressions = {e.get_attr("NFTA_EXPR_NAME"): e for e in rule.get_attr("NFTA_RULE_EXPRESSIONS") or ()}
    immediate = expressions.get("immediate")
    if immediate is None or expressions.keys() - {"counter", "immediate"}:
        return False
    data = immediate.get_attr("NFTA_EXPR_DATA").get_attr("NFTA_IMMEDIATE_DATA")
    verdict = data.get_attr("NFTA_DATA_VERDICT")
    return verdict is not None and verdict.get_attr("NFTA_VERDICT_CODE") == "NF_ACCEPT"
