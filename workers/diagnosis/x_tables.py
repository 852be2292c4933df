"""The filter tables of iptables-legacy and ip6tables-legacy, read from the kernel.

No other interface shows them, and the plugin has no iptables binary. Many hosts have these tables (Debian 10, NAS
systems). Docker sets their FORWARD policy to DROP, and the user sees only that no DHCP server answers.
"""

import ctypes
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from workers.diagnosis.packet import Packet
from workers.diagnosis.ruleset import Action, Verdict, decide, fate
from workers.system.libc import LIBC, checked

NF_INET_FORWARD = 2

# linux/netfilter_ipv4/ip_tables.h; the numbers of IPv6 are the same
IPT_SO_GET_INFO, IPT_SO_GET_ENTRIES = 64, 65
INFO = struct.Struct("=32sI5I5III")  # name, valid hooks, hook entries, underflows, number of entries, their size
ENTRIES_OFFSET = 40
OFFSETS = struct.Struct("=HH")  # target_offset and next_offset
INTERFACES = struct.Struct("=16s16s16s16s")  # in, out, and their masks
EXTENSION = struct.Struct("=H29sB")  # a match or target: size, name, revision
DATA_AT = 32  # of a match or target, behind its aligned header
VERDICT = struct.Struct("=i")
DROP, ACCEPT, RETURN = -1, -2, -5  # -NF_DROP - 1, -NF_ACCEPT - 1, XT_RETURN
INVERTED_IN, INVERTED_OUT, INVERTED_SOURCE, INVERTED_DESTINATION, INVERTED_PROTOCOL = 0x01, 0x02, 0x08, 0x10, 0x40

# Of matches: linux/netfilter/xt_physdev.h, xt_tcpudp.h
PHYSDEV_MODE = struct.Struct("=64sBB")  # interfaces and masks, inverted, which of them are compared
IS_BRIDGED = 0x04
UDP_PORTS = struct.Struct("=HHHHB")  # the least and greatest source and destination, inverted


class Form(Struct, frozen=True):
    """Where an entry of this family has what. Its addresses and their masks come first, then the interfaces."""

    names: Path
    protocol: int
    address: int
    upper_at: int  # the protocol above IP
    flags_at: int
    offsets_at: int
    matches_at: int
    goto: int  # a flag
    says_protocol: int  # a flag; IPv4 has none, and means any by 0


FORMS = {
    int(socket.AF_INET): Form(Path("/proc/self/net/ip_tables_names"), socket.IPPROTO_IP, 4, 80, 82, 88, 112, 2, 0),
    int(socket.AF_INET6): Form(
        Path("/proc/self/net/ip6_tables_names"), socket.IPPROTO_IPV6, 16, 128, 131, 140, 168, 4, 1
    ),
}


def drops(packet: Packet) -> bool:
    """Whether the filter table of the present namespace drops the packet when it is forwarded. Raises OSError."""
    form = FORMS[packet.version]
    if "filter" not in _tables(form.names):
        return False
    with socket.socket(packet.version, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.IPPROTO_RAW) as raw:
        request = struct.pack("=32s", b"filter")
        info = INFO.unpack(_table_request(raw, form.protocol, IPT_SO_GET_INFO, request, INFO.size))
        first, size = info[2 + NF_INET_FORWARD], info[-1]
        request = struct.pack("=32sI", b"filter", size)
        table = _table_request(raw, form.protocol, IPT_SO_GET_ENTRIES, request, ENTRIES_OFFSET + size)
    return drops_in(table[ENTRIES_OFFSET:], first, packet)


def drops_in(entries: bytes, first: int, packet: Packet) -> bool:
    """Whether the chain that begins there drops it. The last entry of a built-in chain is its policy."""
    form = FORMS[packet.version]

    def verdicts(at: int) -> Iterator[Verdict[int]]:
        while at < len(entries):
            _, size = OFFSETS.unpack_from(entries, at + form.offsets_at)
            verdict = _verdict(entries[at : at + size], at + size, form, packet)
            if verdict is not None:
                yield verdict
            at += size

    return fate(first, verdicts) is Action.DROP


def _verdict(entry: bytes, following: int, form: Form, packet: Packet) -> Verdict[int] | None:
    """The entry's verdict, if it counts for the packet."""
    name = packet.bridge.encode().ljust(16, b"\0")
    into, out, in_mask, out_mask = INTERFACES.unpack_from(entry, form.address * 4)
    named = (any(mask) and _masked(name, mask) == link for link, mask in ((into, in_mask), (out, out_mask)))
    matches = _header_matches(entry, form, packet, name)
    target_at, _ = OFFSETS.unpack_from(entry, form.offsets_at)
    at = form.matches_at
    while at < target_at and matches is not False:
        size, text, revision = EXTENSION.unpack_from(entry, at)
        found = match(text.rstrip(b"\0"), revision, entry[at + DATA_AT : at + size], packet)
        matches = found if found is not True else matches
        at += size
    flags, _ = entry[form.flags_at : form.flags_at + 2]
    return decide(matches, any(named), _target(entry[target_at:], following, goto=bool(flags & form.goto)))


def _header_matches(entry: bytes, form: Form, packet: Packet, name: bytes) -> bool | None:
    size = form.address
    source, destination, source_mask, destination_mask = (entry[n * size : (n + 1) * size] for n in range(4))
    into, out, in_mask, out_mask = INTERFACES.unpack_from(entry, size * 4)
    flags, inverted = entry[form.flags_at : form.flags_at + 2]
    (upper,) = struct.unpack_from("=H", entry, form.upper_at)
    any_upper = not flags & form.says_protocol if form.says_protocol else not upper
    compared = (
        (_masked(packet.addresses[0], source_mask) == _masked(source, source_mask), INVERTED_SOURCE),
        (
            _masked(packet.addresses[1], destination_mask) == _masked(destination, destination_mask),
            INVERTED_DESTINATION,
        ),
        (_masked(name, in_mask) == _masked(into, in_mask), INVERTED_IN),
        (_masked(name, out_mask) == _masked(out, out_mask), INVERTED_OUT),
        (any_upper or upper == socket.IPPROTO_UDP, INVERTED_PROTOCOL),
    )
    return all(equal != bool(inverted & flag) for equal, flag in compared)


def match(name: bytes, revision: int, data: bytes, packet: Packet) -> bool | None:
    """Whether a match of x_tables holds for the packet; None for one that is not known here."""
    if name == b"comment":
        return True
    if name == b"physdev" and revision == 0:
        _, inverted, asked = PHYSDEV_MODE.unpack_from(data)
        return True if (asked, inverted) == (IS_BRIDGED, 0) else None
    if name == b"udp" and revision == 0:
        from_source, to_source, from_destination, to_destination, inverted = UDP_PORTS.unpack_from(data)
        source, destination = packet.ports
        found = (from_source <= source <= to_source, from_destination <= destination <= to_destination)
        return all(inside != bool(inverted & flag) for inside, flag in zip(found, (1, 2), strict=True))
    return None


def rejects(target: bytes) -> bool:
    """Whether this target of x_tables drops the packet and answers."""
    return target == b"REJECT"


def _target(target: bytes, following: int, *, goto: bool) -> Verdict[int] | None:
    """Its verdict; None if the packet goes on to the next entry."""
    _, text, _ = EXTENSION.unpack_from(target)
    if name := text.rstrip(b"\0"):
        return Verdict(Action.DROP) if rejects(name) else None
    (verdict,) = VERDICT.unpack_from(target, DATA_AT)
    fixed = {DROP: Action.DROP, ACCEPT: Action.ACCEPT, RETURN: Action.RETURN}.get(verdict)
    if fixed is not None:
        return Verdict(fixed)
    if verdict < 0 or verdict == following:
        return None
    return Verdict(Action.GOTO if goto else Action.JUMP, verdict)


def _masked(value: bytes, mask: bytes) -> bytes:
    return bytes(v & m for v, m in zip(value, mask, strict=True))


def _tables(names: Path) -> list[str]:
    """The tables that exist: a question about another one would make the kernel load it."""
    try:
        return names.read_text().split()
    except FileNotFoundError:
        return []  # a kernel without x_tables


def _table_request(raw: socket.socket, protocol: int, option: int, request: bytes, size: int) -> bytes:
    """A getsockopt whose buffer carries a request in and the answer, of `size` bytes, out. Raises OSError.

    Python's own getsockopt passes nothing in.
    """
    buffer = ctypes.create_string_buffer(request.ljust(size, b"\0"), size)
    length = ctypes.c_uint(size)
    result = LIBC.getsockopt(raw.fileno(), protocol, option, buffer, ctypes.byref(length))
    checked(result, "reading the filter table")
    return buffer.raw
