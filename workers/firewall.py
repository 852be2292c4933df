"""Does the host's packet filter drop what it forwards? Read from the kernel, without an iptables binary.

Owns both of iptables' kernel interfaces: nf_tables and the legacy x_tables. Must not know what a bridge is for.
"""

import ctypes
import os
import socket
import struct
from pathlib import Path
from typing import Any

from pyroute2 import NFTSocket
from pyroute2.netlink.exceptions import NetlinkError as KernelError
from pyroute2.netlink.nfnetlink import NFNL_SUBSYS_NFTABLES, nfgen_msg
from pyroute2.netlink.nfnetlink.nftsocket import NFT_MSG_GETCHAIN, NFT_MSG_GETRULE

NF_INET_FORWARD = 2
NF_DROP = 0
FILTERING_FAMILIES = (1, 2)  # NFPROTO_INET and NFPROTO_IPV4: the ones that bridge netfilter hands frames to

# linux/netfilter_ipv4/ip_tables.h
IPT_SO_GET_INFO, IPT_SO_GET_ENTRIES = 64, 65
INFO = struct.Struct("=32sI5I5III")  # name, valid hooks, hook entries, underflows, number of entries, their size
ENTRIES_OFFSET = 40
TARGET_OFFSET_AT = 88  # of ipt_entry.target_offset
VERDICT_AT = 32  # behind the xt_entry_target header
LEGACY_DROP = -NF_DROP - 1

LEGACY_TABLES = Path("/proc/self/net/ip_tables_names")

_libc = ctypes.CDLL(None, use_errno=True)  # socket.getsockopt passes nothing in


def drops_forwarded(link: str) -> bool:
    """Is FORWARD's policy DROP, in the present namespace, while no rule at all names `link`?

    A rule that names it is taken for the exception that lets its traffic pass. Raises OSError.
    """
    return _nftables_drops(link) or _legacy_drops(link)


def _nftables_drops(link: str) -> bool:
    try:
        with NFTSocket(nfgen_family=0) as nftables:
            chains = nftables.request_get(nfgen_msg(), NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETCHAIN)
            if not any(map(_is_dropping, chains)):
                return False
            rules = nftables.request_get(nfgen_msg(), NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETRULE)
            return not any(_names(rule.data, link) for rule in rules)
    except KernelError as error:
        raise OSError(error.code, os.strerror(error.code)) from error


def _is_dropping(chain: Any) -> bool:  # noqa: ANN401  pyroute2 is untyped
    return (
        chain["nfgen_family"] in FILTERING_FAMILIES
        and chain.get("policy") == NF_DROP
        and chain.get(("hook", "NFTA_HOOK_HOOKNUM")) == NF_INET_FORWARD
    )


def _legacy_drops(link: str) -> bool:
    if "filter" not in _legacy_tables():
        return False
    with socket.socket(socket.AF_INET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.IPPROTO_RAW) as raw:
        info = INFO.unpack(_table_request(raw, IPT_SO_GET_INFO, struct.pack("=32s", b"filter"), INFO.size))
        policy_at, size = info[7 + NF_INET_FORWARD], info[-1]
        request = struct.pack("=32sI", b"filter", size)
        entries = _table_request(raw, IPT_SO_GET_ENTRIES, request, ENTRIES_OFFSET + size)[ENTRIES_OFFSET:]
    (target,) = struct.unpack_from("=H", entries, policy_at + TARGET_OFFSET_AT)
    (verdict,) = struct.unpack_from("=i", entries, policy_at + target + VERDICT_AT)
    return verdict == LEGACY_DROP and not _names(entries, link)


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
