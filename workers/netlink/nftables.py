"""Redirects datagrams that this machine sends to one of its own addresses to another port, by a table of nf_tables.

Owns the messages of nfnetlink (linux/netfilter/nf_tables.h), written here octet by octet: pyroute2's bring an event
loop along. Everything refers to the present network namespace. Must not know who is asked, nor why.
"""

import os
import socket
import struct
from collections.abc import Collection, Iterable, Iterator
from ipaddress import IPv4Address

Message = tuple[int, int, bytes]  # its kind, flags and attributes

HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence number, port
FAMILY = struct.Struct("!BBH")  # nfgenmsg: family, version, resource
ATTRIBUTE = struct.Struct("=HH")
STATUS = struct.Struct("=i")  # a negated errno, or 0
NESTED = 0x8000
NLM_F_REQUEST, NLM_F_ACK, NLM_F_CREATE, NLM_F_APPEND = 0x1, 0x4, 0x400, 0x800
NLMSG_ERROR = 2
NETLINK_NETFILTER = 12
NFPROTO_IPV4 = 2
BATCH_BEGIN, BATCH_END, NFTABLES = 0x10, 0x11, 10  # NFNL_MSG_BATCH_*, NFNL_SUBSYS_NFTABLES
NEW_TABLE, DELETE_TABLE, NEW_CHAIN, NEW_RULE = 0, 2, 3, 6
OUTPUT = 3  # NF_INET_LOCAL_OUT
FIRST = -101  # of the translations: Docker's own have -100, and the first that matches holds
CHAIN = "output"
META_MARK, META_L4PROTO = 3, 16
NETWORK_HEADER, TRANSPORT_HEADER = 1, 2
DESTINATION, DESTINATION_PORT = (16, 4), (2, 2)  # offset and length in these headers
EQUAL, UNEQUAL = 0, 1
ADDRESS, PORT = 1, 2  # registers
DNAT = 1
BUFFER_BYTES = 1 << 16
ANSWER_SECONDS = 2.0  # the kernel answers within the call that sends


def put_redirect(table: str, address: IPv4Address, port: int, target: int, mark: int) -> None:
    """Makes the table, in place of one of that name, in one transaction, which takes 15 ms. Raises OSError.

    What is sent to `port` of the address goes to its port `target`, unless the sender's socket has the mark.
    """
    rule = _rule(table, _redirection(address, port, target, mark))
    _commit([*_removal(table), (NEW_TABLE, NLM_F_CREATE, _text(1, table)), _chain(table), rule])


def remove_redirect(table: str) -> None:
    """Removes the table; one that is not there is no error. Raises OSError."""
    _commit([*_removal(table)])


def _removal(table: str) -> Iterator[Message]:
    """A table that is not there cannot be removed, so it is made before."""
    yield NEW_TABLE, NLM_F_CREATE, _text(1, table)
    yield DELETE_TABLE, 0, _text(1, table)


def _chain(table: str) -> Message:
    place = _number(1, OUTPUT) + _attribute(2, struct.pack("!i", FIRST))
    return NEW_CHAIN, NLM_F_CREATE, _text(1, table) + _text(3, CHAIN) + _nested(4, place) + _text(7, "nat")


def _rule(table: str, expressions: Iterable[bytes]) -> Message:
    listed = b"".join(_nested(1, expression) for expression in expressions)
    return NEW_RULE, NLM_F_CREATE | NLM_F_APPEND, _text(1, table) + _text(2, CHAIN) + _nested(4, listed)


def _redirection(address: IPv4Address, port: int, target: int, mark: int) -> Iterator[bytes]:
    yield _expression("meta", _number(1, ADDRESS) + _number(2, META_MARK))
    yield _compare(UNEQUAL, struct.pack("=I", mark))
    yield _expression("meta", _number(1, ADDRESS) + _number(2, META_L4PROTO))
    yield _compare(EQUAL, bytes([socket.IPPROTO_UDP]))
    yield _payload(NETWORK_HEADER, *DESTINATION)
    yield _compare(EQUAL, address.packed)
    yield _payload(TRANSPORT_HEADER, *DESTINATION_PORT)
    yield _compare(EQUAL, struct.pack("!H", port))
    yield _value(ADDRESS, address.packed)
    yield _value(PORT, struct.pack("!H", target))
    yield _expression("nat", _number(1, DNAT) + _number(2, NFPROTO_IPV4) + _number(3, ADDRESS) + _number(5, PORT))


def _payload(header: int, offset: int, length: int) -> bytes:
    place = _number(2, header) + _number(3, offset) + _number(4, length)
    return _expression("payload", _number(1, ADDRESS) + place)


def _compare(operator: int, value: bytes) -> bytes:
    return _expression("cmp", _number(1, ADDRESS) + _number(2, operator) + _nested(3, _attribute(1, value)))


def _value(register: int, value: bytes) -> bytes:
    return _expression("immediate", _number(1, register) + _nested(2, _attribute(1, value)))


def _expression(name: str, data: bytes) -> bytes:
    return _text(1, name) + _nested(2, data)


def _attribute(kind: int, value: bytes) -> bytes:
    return ATTRIBUTE.pack(ATTRIBUTE.size + len(value), kind) + value + bytes(-len(value) % 4)


def _nested(kind: int, value: bytes) -> bytes:
    return _attribute(kind | NESTED, value)


def _number(kind: int, value: int) -> bytes:
    return _attribute(kind, struct.pack("!I", value))


def _text(kind: int, value: str) -> bytes:
    return _attribute(kind, value.encode() + b"\0")


def _commit(messages: Collection[Message]) -> None:
    """All or none. Raises OSError."""
    asked = [_encode(NFTABLES << 8 | kind, flags | NLM_F_ACK, NFPROTO_IPV4, body) for kind, flags, body in messages]
    batch = [_encode(BATCH_BEGIN, 0, 0, b"", NFTABLES), *asked, _encode(BATCH_END, 0, 0, b"", NFTABLES)]
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER) as kernel:
        kernel.settimeout(ANSWER_SECONDS)
        kernel.send(b"".join(batch))
        for status in _statuses(kernel, len(asked)):
            if status:
                raise OSError(-status, f"redirecting questions in the sandbox: {os.strerror(-status)}")


def _statuses(kernel: socket.socket, count: int) -> Iterator[int]:
    """Of each message. The caller stops at the first error, after which the kernel may say nothing more."""
    while count > 0:
        data, at = kernel.recv(BUFFER_BYTES), 0
        while at < len(data):
            length, kind, *_ = HEADER.unpack_from(data, at)
            if kind == NLMSG_ERROR:
                count -= 1
                yield STATUS.unpack_from(data, at + HEADER.size)[0]
            at += (length + 3) & ~3


def _encode(kind: int, flags: int, family: int, attributes: bytes, resource: int = 0) -> bytes:
    header = HEADER.pack(HEADER.size + FAMILY.size + len(attributes), kind, flags | NLM_F_REQUEST, 0, 0)
    return header + FAMILY.pack(family, 0, resource) + attributes
