"""Changes where packets go, by tables of nf_tables: datagrams to another port, and frames to every station.

Owns the messages of nfnetlink (linux/netfilter/nf_tables.h), written here octet by octet: pyroute2's bring an event
loop along. Everything refers to the present network namespace. Must not know what the packets are for.
"""

import errno
import os
import socket
import struct
from collections.abc import Collection, Iterable, Iterator
from ipaddress import IPv4Address
from itertools import islice

from workers.netlink.rtnetlink import ATTRIBUTE, MESSAGE_HEADER, STATUS, attributes

Message = tuple[int, int, bytes]  # its kind, flags and attributes

FAMILY = struct.Struct("!BBH")  # nfgenmsg: family, version, resource
NESTED = 0x8000
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP_INTR, NLM_F_DUMP, NLM_F_CREATE, NLM_F_APPEND = 0x1, 0x4, 0x10, 0x300, 0x400, 0x800
NLMSG_ERROR, NLMSG_DONE = 2, 3
NETLINK_NETFILTER = 12
NFPROTO_IPV4, NFPROTO_NETDEV = 2, 5
ETH_P_IP = 0x0800
BATCH_BEGIN, BATCH_END, NFTABLES = 0x10, 0x11, 10  # NFNL_MSG_BATCH_*, NFNL_SUBSYS_NFTABLES
NEW_TABLE, GET_TABLE, DELETE_TABLE, NEW_CHAIN, GET_CHAIN, NEW_RULE = 0, 1, 2, 3, 4, 6
OUTPUT, INGRESS = 3, 0  # NF_INET_LOCAL_OUT, NF_NETDEV_INGRESS
FIRST = -101  # of the translations: Docker's own have -100, and the first that matches holds
CHAIN = "packets"
META_PROTOCOL, META_MARK, META_L4PROTO = 1, 3, 16
LINK_HEADER, NETWORK_HEADER, TRANSPORT_HEADER = 0, 1, 2
RECEIVER = (0, 6)  # offset and length in these headers
DESTINATION = (16, 4)
PORTS, DESTINATION_PORT = (0, 4), (2, 2)
EVERY_STATION, EVERYONE = b"\xff" * 6, b"\xff" * 4
EQUAL, UNEQUAL = 0, 1
ADDRESS, PORT = 1, 2  # registers
DNAT = 1
BUFFER_BYTES = 1 << 16
ATTEMPTS = 5  # to read a list that changes meanwhile
ANSWER_SECONDS = 2.0  # the kernel answers within the call that sends


def put_redirect(table: str, address: IPv4Address, port: int, target: int, mark: int) -> None:
    """Makes the table, in place of one of that name, in one transaction, which takes 15 ms. Raises OSError.

    A packet to `port` of the address goes to its port `target`, unless the sender's socket has the mark.
    """
    place = _number(1, OUTPUT) + _attribute(2, struct.pack("!i", FIRST))
    _put(NFPROTO_IPV4, table, "nat", place, _redirection(address, port, target, mark))


def remove_redirect(table: str) -> None:
    """Removes the table; one that is not there is no error. Raises OSError."""
    _commit(NFPROTO_IPV4, [*_removal(table)])


def put_spreading(table: str, device: str, source: int, target: int) -> None:
    """Makes the table, unless the device has it already. Raises OSError.

    A UDP datagram to 255.255.255.255, between these ports, that the device receives in a frame to one station goes on
    as one in a frame to all.
    """
    if _is_on(device, table):
        return
    place = _number(1, INGRESS) + _attribute(2, struct.pack("!i", 0)) + text_attribute(3, device)
    _put(NFPROTO_NETDEV, table, "filter", place, _spreading(struct.pack("!HH", source, target)))


def remove_spreading(table: str) -> None:
    """Removes the table; one that is not there is no error. Raises OSError."""
    _commit(NFPROTO_NETDEV, [*_removal(table)])


def tables_of_devices() -> list[str]:
    """The names of the tables of frames: those of `put_spreading`, and other programs'. Raises OSError."""
    with connect() as kernel:
        return [data[1].rstrip(b"\0").decode(errors="replace") for _, data in dump(kernel, GET_TABLE, NFPROTO_NETDEV)]


def _put(family: int, table: str, kind: str, place: bytes, expressions: Iterable[bytes]) -> None:
    chain = text_attribute(1, table) + text_attribute(3, CHAIN) + _nested(4, place) + text_attribute(7, kind)
    listed = b"".join(_nested(1, expression) for expression in expressions)
    rule = text_attribute(1, table) + text_attribute(2, CHAIN) + _nested(4, listed)
    made = [(NEW_CHAIN, NLM_F_CREATE, chain), (NEW_RULE, NLM_F_CREATE | NLM_F_APPEND, rule)]
    _commit(family, [*_removal(table), (NEW_TABLE, NLM_F_CREATE, text_attribute(1, table)), *made])


def _removal(table: str) -> Iterator[Message]:
    """A table that is not there cannot be removed, so it is made before."""
    yield NEW_TABLE, NLM_F_CREATE, text_attribute(1, table)
    yield DELETE_TABLE, 0, text_attribute(1, table)


def _redirection(address: IPv4Address, port: int, target: int, mark: int) -> Iterator[bytes]:
    yield from _meta(META_MARK, UNEQUAL, struct.pack("=I", mark))
    yield from _meta(META_L4PROTO, EQUAL, bytes([socket.IPPROTO_UDP]))
    yield from _field(NETWORK_HEADER, DESTINATION, address.packed)
    yield from _field(TRANSPORT_HEADER, DESTINATION_PORT, struct.pack("!H", port))
    yield _value(ADDRESS, address.packed)
    yield _value(PORT, struct.pack("!H", target))
    yield _expression("nat", _number(1, DNAT) + _number(2, NFPROTO_IPV4) + _number(3, ADDRESS) + _number(5, PORT))


def _spreading(ports: bytes) -> Iterator[bytes]:
    yield from _meta(META_PROTOCOL, EQUAL, struct.pack("!H", ETH_P_IP))
    yield from _meta(META_L4PROTO, EQUAL, bytes([socket.IPPROTO_UDP]))
    yield from _field(NETWORK_HEADER, DESTINATION, EVERYONE)
    yield from _field(TRANSPORT_HEADER, PORTS, ports)
    yield _value(ADDRESS, EVERY_STATION)
    offset, length = RECEIVER
    place = _number(2, LINK_HEADER) + _number(3, offset) + _number(4, length)
    yield _expression("payload", place + _number(5, ADDRESS))


def _meta(key: int, operator: int, value: bytes) -> Iterator[bytes]:
    yield _expression("meta", _number(1, ADDRESS) + _number(2, key))
    yield _compare(operator, value)


def _field(header: int, place: tuple[int, int], value: bytes) -> Iterator[bytes]:
    offset, length = place
    read = _number(2, header) + _number(3, offset) + _number(4, length)
    yield _expression("payload", _number(1, ADDRESS) + read)
    yield _compare(EQUAL, value)


def _compare(operator: int, value: bytes) -> bytes:
    return _expression("cmp", _number(1, ADDRESS) + _number(2, operator) + _nested(3, _attribute(1, value)))


def _value(register: int, value: bytes) -> bytes:
    return _expression("immediate", _number(1, register) + _nested(2, _attribute(1, value)))


def _expression(name: str, data: bytes) -> bytes:
    return text_attribute(1, name) + _nested(2, data)


def _attribute(kind: int, value: bytes) -> bytes:
    return ATTRIBUTE.pack(ATTRIBUTE.size + len(value), kind) + value + bytes(-len(value) % 4)


def _nested(kind: int, value: bytes) -> bytes:
    return _attribute(kind | NESTED, value)


def _number(kind: int, value: int) -> bytes:
    return _attribute(kind, struct.pack("!I", value))


def text_attribute(kind: int, value: str) -> bytes:
    """An attribute that is a text."""
    return _attribute(kind, value.encode() + b"\0")


def _commit(family: int, messages: Collection[Message]) -> None:
    """All or none. Raises OSError."""
    asked = [_encode(NFTABLES << 8 | kind, flags | NLM_F_ACK, family, body) for kind, flags, body in messages]
    batch = [
        _encode(BATCH_BEGIN, 0, 0, b"", resource=NFTABLES),
        *asked,
        _encode(BATCH_END, 0, 0, b"", resource=NFTABLES),
    ]
    for status in _asked(b"".join(batch), len(asked)):
        if status:
            raise OSError(-status, f"changing a table of nf_tables: {os.strerror(-status)}")


def _is_on(device: str, table: str) -> bool:
    """Whether the table's chain gets the device's frames. Raises OSError.

    When a device goes, Linux 6.1 removes the chain and leaves the table; 6.12 leaves the chain, too, without a device.
    """
    body, hooked = text_attribute(1, table) + text_attribute(3, CHAIN), False
    with connect() as kernel:
        kernel.send(_encode(NFTABLES << 8 | GET_CHAIN, NLM_F_ACK, NFPROTO_NETDEV, body))
        for kind, _, _, found in _answers(kernel):
            if kind == NLMSG_ERROR:
                break
            hook = dict(attributes(found, FAMILY.size)).get(4, b"")
            hooked = dict(attributes(hook)).get(3) == device.encode() + b"\0"
    (status,) = STATUS.unpack_from(found)
    if status not in (0, -errno.ENOENT):
        raise OSError(-status, f"looking for a table of nf_tables: {os.strerror(-status)}")
    return hooked


def _asked(messages: bytes, count: int) -> Iterator[int]:
    """The status of each message. The caller stops at the first error, after which the kernel may say nothing more."""
    with connect() as kernel:
        kernel.send(messages)
        statuses = (STATUS.unpack_from(body)[0] for kind, _, _, body in _answers(kernel) if kind == NLMSG_ERROR)
        yield from islice(statuses, count)


def connect() -> socket.socket:
    """A socket to nf_tables of the present namespace. Raises OSError."""
    kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER)
    kernel.settimeout(ANSWER_SECONDS)
    return kernel


def dump(
    kernel: socket.socket, question: int, family: int = 0, body: bytes = b""
) -> list[tuple[int, dict[int, bytes]]]:
    """The family and the attributes of each of a list. Asks again if the list changed meanwhile. Raises OSError."""
    for sequence in range(1, ATTEMPTS + 1):
        kernel.send(_encode(NFTABLES << 8 | question, NLM_F_DUMP, family, body, sequence=sequence))
        answers, changed = [], False
        for kind, flags, answered, found in _answers(kernel):
            if answered != sequence:
                continue
            changed |= bool(flags & NLM_F_DUMP_INTR)
            if kind in (NLMSG_ERROR, NLMSG_DONE):
                (status,) = STATUS.unpack_from(found)
                if status:
                    raise OSError(-status, f"nf_tables cannot be read: {os.strerror(-status)}")
                break
            answers.append((found[0], dict(attributes(found[FAMILY.size :]))))
        if not changed:
            return answers
    raise OSError(errno.EINTR, "nf_tables change all the time")


def _answers(kernel: socket.socket) -> Iterator[tuple[int, int, int, bytes]]:
    """The kind, the flags, the question's sequence number and the content of each; the caller knows the last one."""
    while True:
        data, at = kernel.recv(BUFFER_BYTES), 0
        while at + MESSAGE_HEADER.size <= len(data):
            length, kind, flags, sequence, _ = MESSAGE_HEADER.unpack_from(data, at)
            yield kind, flags, sequence, data[at + MESSAGE_HEADER.size : at + length]
            at += (length + 3) & ~3


def _encode(kind: int, flags: int, family: int, body: bytes, *, resource: int = 0, sequence: int = 0) -> bytes:
    length = MESSAGE_HEADER.size + FAMILY.size + len(body)
    header = MESSAGE_HEADER.pack(length, kind, flags | NLM_F_REQUEST, sequence, 0)
    return header + FAMILY.pack(family, 0, resource) + body
