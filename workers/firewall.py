"""Does the host's packet filter drop what it forwards? Read from the kernel, without an iptables binary.

Owns both of iptables' kernel interfaces: nf_tables and the legacy x_tables. Must not know what a bridge is for.
"""

import ctypes
import os
import socket
import struct
from pathlib import Path

from workers.nlsocket import KernelError, NetlinkSocket, attributes, each_attribute

# linux/netfilter/nfnetlink.h and nf_tables.h; numbers are in network order there.
NETLINK_NETFILTER = 12
NFNL_SUBSYS_NFTABLES = 10
NFT_MSG_GETCHAIN, NFT_MSG_GETRULE = NFNL_SUBSYS_NFTABLES << 8 | 4, NFNL_SUBSYS_NFTABLES << 8 | 7
NFGENMSG = struct.Struct("!BBH")  # family, version, resource
NFTA_CHAIN_TABLE, NFTA_CHAIN_NAME, NFTA_CHAIN_HOOK, NFTA_CHAIN_POLICY = 1, 3, 4, 5
NFTA_HOOK_HOOKNUM = 1
NFTA_RULE_TABLE, NFTA_RULE_CHAIN, NFTA_RULE_EXPRESSIONS = 1, 2, 4
NFTA_EXPR_NAME, NFTA_EXPR_DATA = 1, 2
NFTA_IMMEDIATE_DATA, NFTA_DATA_VERDICT, NFTA_VERDICT_CODE = 2, 2, 1
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

_libc = ctypes.CDLL(None, use_errno=True)  # socket.getsockopt passes nothing in


def drops_forwarded(link: str) -> bool:
    """Is FORWARD's policy DROP, in the present namespace, and nothing there an exception for `link`?

    A rule of FORWARD's that accepts every packet is one; a rule that names `link` is taken for one, wherever it
    stands. Raises OSError.
    """
    return _nftables_drops(link) or _legacy_drops(link)


def _nftables_drops(link: str) -> bool:
    everything = NFGENMSG.pack(socket.AF_UNSPEC, 0, 0)
    try:
        with NetlinkSocket(NETLINK_NETFILTER) as nftables:
            chains = nftables.dump(NFT_MSG_GETCHAIN, everything)
            dropping = {_chain(c, NFTA_CHAIN_TABLE, NFTA_CHAIN_NAME) for c in chains if _is_dropping(c)}
            if not dropping:
                return False
            rules = nftables.dump(NFT_MSG_GETRULE, everything)
    except KernelError as error:
        raise OSError(error.code, str(error)) from error
    open_chains = {_chain(r, NFTA_RULE_TABLE, NFTA_RULE_CHAIN) for r in rules if _accepts_everything(r)}
    return bool(dropping - open_chains) and not any(_names(rule, link) for rule in rules)


def _is_dropping(chain: bytes) -> bool:
    found = attributes(chain, NFGENMSG.size)
    hook = attributes(found.get(NFTA_CHAIN_HOOK, b""))
    return (
        chain[0] in FILTERING_FAMILIES
        and found.get(NFTA_CHAIN_POLICY) == NF_DROP.to_bytes(4, "big")
        and hook.get(NFTA_HOOK_HOOKNUM) == NF_INET_FORWARD.to_bytes(4, "big")
    )


def _chain(message: bytes, table: int, name: int) -> tuple[int, bytes, bytes]:
    found = attributes(message, NFGENMSG.size)
    return message[0], found[table], found[name]


def _accepts_everything(rule: bytes) -> bool:
    """Nothing but an accept, and the counter that iptables puts before it."""
    elements = each_attribute(attributes(rule, NFGENMSG.size).get(NFTA_RULE_EXPRESSIONS, b""))
    expressions = {e[NFTA_EXPR_NAME]: e.get(NFTA_EXPR_DATA, b"") for e in (attributes(value) for _, value in elements)}
    if expressions.keys() - {b"counter\0", b"immediate\0"}:
        return False
    data = attributes(expressions.get(b"immediate\0", b"")).get(NFTA_IMMEDIATE_DATA, b"")
    verdict = attributes(attributes(data).get(NFTA_DATA_VERDICT, b""))
    return verdict.get(NFTA_VERDICT_CODE) == NF_ACCEPT.to_bytes(4, "big")


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
    """A getsockopt whose buffer carries a request in and the answer, of `size` bytes, out. Raises OSError."""
    buffer = ctypes.create_string_buffer(request.ljust(size, b"\0"), size)
    length = ctypes.c_uint(size)
    if _libc.getsockopt(raw.fileno(), socket.IPPROTO_IP, option, buffer, ctypes.byref(length)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"reading the filter table: {os.strerror(number)}")
    return buffer.raw


def _names(rules: bytes, link: str) -> bool:
    """Interface names stand in rules as they are, with their final NUL."""
    return link.encode() + b"\0" in rules
