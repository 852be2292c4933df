"""Netlink itself (netlink(7)): messages, attributes, and a socket that asks and takes the answers.

Must not know a family's messages: rtnl has the ones of links, addresses and routes, firewall those of nf_tables.
pyroute2 does all of this and more. To import it costs 20 MB and 0.18 s, and its first question in a worker 8 ms and
4 MB that the worker keeps.
"""

import os
import socket
import struct
from collections.abc import Iterator
from types import TracebackType
from typing import Self

HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence number, port
ATTRIBUTE = struct.Struct("=HH")  # nlattr: length, the header's included, and type
NUMBER = struct.Struct("=I")
STATUS = struct.Struct("=i")  # a negated errno, or 0
ALIGNMENT = 4
TYPE_MASK = 0x3FFF  # without NLA_F_NESTED and NLA_F_NET_BYTEORDER
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_REQUEST, NLM_F_MULTI, NLM_F_ACK, NLM_F_DUMP_INTR, NLM_F_DUMP = 0x1, 0x2, 0x4, 0x10, 0x300
NLM_F_EXCL, NLM_F_CREATE, NLM_F_APPEND = 0x200, 0x400, 0x800
BUFFER_BYTES = 1 << 16  # the kernel fills at most half of it at once


class KernelError(Exception):
    """The kernel's refusal; `code` is an errno."""

    def __init__(self, code: int) -> None:
        super().__init__(os.strerror(code))
        self.code = code


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded; the value may be attributes again."""
    return ATTRIBUTE.pack(ATTRIBUTE.size + len(value), kind) + value + bytes(-len(value) % ALIGNMENT)


def number(kind: int, value: int) -> bytes:
    """An attribute of 32 bits in the host's order."""
    return attribute(kind, NUMBER.pack(value))


def text(kind: int, value: str) -> bytes:
    """An attribute that ends with NUL."""
    return attribute(kind, value.encode() + b"\0")


def each_attribute(data: bytes, start: int = 0) -> Iterator[tuple[int, bytes]]:
    """Type and value of each attribute in `data` from `start` on."""
    while start + ATTRIBUTE.size <= len(data):
        length, kind = ATTRIBUTE.unpack_from(data, start)
        if length < ATTRIBUTE.size:
            return
        yield kind & TYPE_MASK, data[start + ATTRIBUTE.size : start + length]
        start += length + -length % ALIGNMENT


def attributes(data: bytes, start: int = 0) -> dict[int, bytes]:
    """The values by their types."""
    return dict(each_attribute(data, start))


def number_in(value: bytes | None) -> int | None:
    """An attribute of 32 bits; None where there is none."""
    return None if value is None else int(NUMBER.unpack(value)[0])


def text_in(value: bytes | None) -> str | None:
    """Up to its NUL; None where there is none."""
    return None if value is None else value.partition(b"\0")[0].decode("utf-8", "replace")


class NetlinkSocket:
    """A socket of the present network namespace; `protocol` is a NETLINK_ number. A context manager."""

    def __init__(self, protocol: int) -> None:
        """Raises OSError."""
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        self._sequence = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Gives the descriptor back."""
        self._socket.close()

    def change(self, kind: int, body: bytes, flags: int = 0) -> None:
        """Has something done; raises KernelError."""
        self._ask(kind, body, flags | NLM_F_ACK)

    def get(self, kind: int, body: bytes) -> bytes:
        """The one message that answers the question; raises KernelError."""
        return self._ask(kind, body, 0)[0][0]

    def dump(self, kind: int, body: bytes) -> list[bytes]:
        """All messages of a list; asked for again where it has changed meanwhile. Raises KernelError."""
        consistent = False
        answers: list[bytes] = []
        while not consistent:
            answers, consistent = self._ask(kind, body, NLM_F_DUMP)
        return answers

    def _ask(self, kind: int, body: bytes, flags: int) -> tuple[list[bytes], bool]:
        """The answers' bodies, and whether they belong together."""
        self._sequence += 1
        header = HEADER.pack(HEADER.size + len(body), kind, NLM_F_REQUEST | flags, self._sequence, 0)
        self._socket.send(header + body)
        answers: list[bytes] = []
        consistent = True
        while True:
            for answered, marks, payload in _messages(self._socket.recv(BUFFER_BYTES)):
                consistent = consistent and not marks & NLM_F_DUMP_INTR
                if answered in (NLMSG_ERROR, NLMSG_DONE):
                    _check(payload)
                    return answers, consistent
                answers.append(payload)
                if not marks & NLM_F_MULTI:
                    return answers, consistent


def _messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Type, flags and body of each message of one datagram."""
    start = 0
    while start + HEADER.size <= len(data):
        length, kind, flags, _, _ = HEADER.unpack_from(data, start)
        yield kind, flags, data[start + HEADER.size : start + length]
        start += length + -length % ALIGNMENT


def _check(payload: bytes) -> None:
    (status,) = STATUS.unpack_from(payload)
    if status:
        raise KernelError(-status)
