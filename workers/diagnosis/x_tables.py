"""The filter table of iptables-legacy, read from the kernel.

No other interface shows it, and the plugin has no iptables binary. Many hosts have these tables (Debian 10, NAS
systems). Docker sets their FORWARD policy to DROP, and the user sees only that no DHCP server answers.
"""

import ctypes
import socket
import struct
from pathlib import Path

from workers.system.libc import LIBC, checked

NF_INET_FORWARD = 2

# linux/netfilter_ipv4/ip_tables.h
IPT_SO_GET_INFO, IPT_SO_GET_ENTRIES = 64, 65
INFO = struct.Struct("=32sI5I5III")  # name, valid hooks, hook entries, underflows, number of entries, their size
ENTRIES_OFFSET = 40
OFFSETS = struct.Struct("=HH")  # ipt_entry.target_offset and next_offset
OFFSETS_AT = 84 + 4  # behind ipt_entry.ip, which is all zeros where any packet matches, and nfcache
MATCHES_AT = 112  # the size of ipt_entry: where its matches begin, or, without any, its target
STANDARD_TARGET = struct.Struct("=H29sBi")  # size, name (empty for a verdict), revision, verdict
DROP, ACCEPT = -1, -2  # -NF_DROP - 1, -NF_ACCEPT - 1

TABLES = Path("/proc/self/net/ip_tables_names")


def drops_forwarded(link: str) -> bool:
    """The same question as in workers.diagnosis.firewall, for these tables only. Raises OSError."""
    if "filter" not in _tables():
        return False
    with socket.socket(socket.AF_INET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.IPPROTO_RAW) as raw:
        info = INFO.unpack(_table_request(raw, IPT_SO_GET_INFO, struct.pack("=32s", b"filter"), INFO.size))
        first, policy, size = info[2 + NF_INET_FORWARD], info[7 + NF_INET_FORWARD], info[-1]
        request = struct.pack("=32sI", b"filter", size)
        entries = _table_request(raw, IPT_SO_GET_ENTRIES, request, ENTRIES_OFFSET + size)[ENTRIES_OFFSET:]
    verdicts = _unconditional_verdicts(entries, first, policy)
    return verdicts[-1] == DROP and ACCEPT not in verdicts and link.encode() + b"\0" not in entries


def _unconditional_verdicts(entries: bytes, first: int, policy: int) -> list[int]:
    """The verdicts of a chain's entries that match any packet, in order; the last one is the chain's policy."""
    verdicts = []
    at = first
    while at <= policy:
        target, following = OFFSETS.unpack_from(entries, at + OFFSETS_AT)
        if target == MATCHES_AT and not any(entries[at : at + OFFSETS_AT - 4]):
            _, name, _, verdict = STANDARD_TARGET.unpack_from(entries, at + target)
            verdicts += [verdict] if not name.strip(b"\0") else []
        at += following
    return verdicts


def _tables() -> list[str]:
    """The tables that exist: a question about another one would make the kernel load it."""
    try:
        return TABLES.read_text().split()
    except FileNotFoundError:
        return []  # a kernel without x_tables


def _table_request(raw: socket.socket, option: int, request: bytes, size: int) -> bytes:
    """A getsockopt whose buffer carries a request in and the answer, of `size` bytes, out. Raises OSError.

    Python's own getsockopt passes nothing in.
    """
    buffer = ctypes.create_string_buffer(request.ljust(size, b"\0"), size)
    length = ctypes.c_uint(size)
    result = LIBC.getsockopt(raw.fileno(), socket.IPPROTO_IP, option, buffer, ctypes.byref(length))
    checked(result, "reading the filter table")
    return buffer.raw
