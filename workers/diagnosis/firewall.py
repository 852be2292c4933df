"""Does the host's packet filter drop what it forwards? Read from the kernel, without an iptables binary.

Owns both of iptables' kernel interfaces: nf_tables and the legacy x_tables. Must not know what a bridge is for.
"""

import ctypes
import os
import socket
import struct
from pathlib import Path
from typing import Any

from pyroute2.netlink.exceptions import NetlinkError as KernelError
from pyroute2.netlink.nfnetlink import NFNL_SUBSYS_NFTABLES, nfgen_msg

from workers.system.libc import LIBC, checked

NF_INET_FORWARD = 2
NF_DROP, NF_ACCEPT = 0, 1
FILTERING_FAMILIES = (1, 2)  # NFPROTO_INET and NFPROTO_IPV4: the ones that bridge netfilter hands frames to

# linux/netfilter_ipv4/ip_tables.h
IPT_SO_GET_INFO, IPT_SO_GET_ENTRIES = 64, 65
INFO = struct.Struct("=32sI5I5III")  # name, valid hooks, hook entries, underflows, number of entries, their size
ENTRIES_OFFSET = 40
OFFSETS = struct.Struct("=HH")  # ipt_entry.target_offset and next_offset
OFFSETS_AT = 84 + 4  # behind ipt_entry.ip, which is all zeros where any packet matches, and nfcache
MATCHES_AT = 112  # the size of ipt_entry: where its matches begin, or, without any, its target
STANDARD_TARGET = struct.Struct("=H29sBi")  # size, name (empty for a verdict), revision, verdict
LEGACY_DROP, LEGACY_ACCEPT = -NF_DROP - 1, -NF_ACCEPT - 1

LEGACY_TABLES = Path("/proc/self/net/ip_tables_names")


def drops_forwarded(link: str) -> bool:
    """Is FORWARD's policy DROP, in the present namespace, and nothing there an exception for `link`?

    A rule of FORWARD's that accepts every packet is one; a rule that names `link` is taken for one, wherever it
    stands. Raises OSError.
    """
    return _nftables_drops(link) or _legacy_drops(link)


def _nftables_drops(link: str) -> bool:
    # Here, as it brings an event loop along: only the process that asks is to have that.
    from pyroute2.netlink.nfnetlink.nftsocket import NFT_MSG_GETCHAIN, NFT_MSG_GETRULE, NFTSocket

    try:
        with NFTSocket(nfgen_family=0) as nftables:
            chains = nftables.request_get(nfgen_msg(), NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETCHAIN)
            dropping = {_chain(c, "NFTA_CHAIN_NAME", "NFTA_CHAIN_TABLE") for c in chains if _is_dropping(c)}
            if not dropping:
                return False
            rules = tuple(nftables.request_get(nfgen_msg(), NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETRULE))
            open_chains = {_chain(r, "NFTA_RULE_CHAIN", "NFTA_RULE_TABLE") for r in rules if _accepts_everything(r)}
            return bool(dropping - open_chains) and not any(_names(rule.data, link) for rule in rules)
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
    """Nothing but an accept, and the counter that iptables puts before it."""
    expressions = {e.get_attr("NFTA_EXPR_NAME"): e for e in rule.get_attr("NFTA_RULE_EXPRESSIONS") or ()}
    immediate = expressions.get("immediate")
    if immediate is None or expressions.keys() - {"counter", "immediate"}:
        return False
    data = immediate.get_attr("NFTA_EXPR_DATA").get_attr("NFTA_IMMEDIATE_DATA")
    verdict = data.get_attr("NFTA_DATA_VERDICT")
    return verdict is not None and verdict.get_attr("NFTA_VERDICT_CODE") == "NF_ACCEPT"


def _legacy_drops(link: str) -> bool:
    if "filter" not in _legacy_tables():
        return False
    with socket.socket(socket.AF_INET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.IPPROTO_RAW) as raw:
        info = INFO.unpack(_table_request(raw, IPT_SO_GET_INFO, struct.pack("=32s", b"filter"), INFO.size))
        first, policy, size = info[2 + NF_INET_FORWARD], info[7 + NF_INET_FORWARD], info[-1]
        request = struct.pack("=32sI", b"filter", size)
        entries = _table_request(raw, IPT_SO_GET_ENTRIES, request, ENTRIES_OFFSET + size)[ENTRIES_OFFSET:]
    verdicts = _unconditional_verdicts(entries, first, policy)
    return verdicts[-1] == LEGACY_DROP and LEGACY_ACCEPT not in verdicts and not _names(entries, link)


def _unconditional_verdicts(entries: bytes, first: int, policy: int) -> list[int]:
    """Of a chain's entries that match any packet, in order; the last is its policy, which such an entry holds."""
    verdicts = []
    at = first
    while at <= policy:
        target, following = OFFSETS.unpack_from(entries, at + OFFSETS_AT)
        if target == MATCHES_AT and not any(entries[at : at + OFFSETS_AT - 4]):
            _, name, _, verdict = STANDARD_TARGET.unpack_from(entries, at + target)
            verdicts += [verdict] if not name.strip(b"\0") else []
        at += following
    return verdicts


def _legacy_tables() -> list[str]:
    """The tables that exist: asking for one that does not would make the kernel load it."""
    try:
        return LEGACY_TABLES.read_text().split()
    except FileNotFoundError:
        return []  # a kernel without x_tables


def _table_request(raw: socket.socket, option: int, request: bytes, size: int) -> bytes:
    """A getsockopt whose buffer carries a request in and the answer, of `size` bytes, out. Raises OSError.

    Python's own passes nothing in.
    """
    buffer = ctypes.create_string_buffer(request.ljust(size, b"\0"), size)
    length = ctypes.c_uint(size)
    result = LIBC.getsockopt(raw.fileno(), socket.IPPROTO_IP, option, buffer, ctypes.byref(length))
    checked(result, "reading the filter table")
    return buffer.raw


def _names(rules: bytes, link: str) -> bool:
    """Interface names stand in rules as they are, with their final NUL."""
    return link.encode() + b"\0" in rules
