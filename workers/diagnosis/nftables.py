"""The rules of nf_tables, read from the kernel without an nft binary: those of iptables-nft and firewalld, too.

Owns the messages of nfnetlink (linux/netfilter/nf_tables.h). Must not know which chains matter, nor what a finding is.
"""

import errno
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from workers.netlink.rtnetlink import ATTRIBUTE, attributes

HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence number, port
STATUS = struct.Struct("=i")  # a negated errno, or 0
FAMILY = struct.Struct("!BBH")  # nfgenmsg: family, version, resource
NLM_F_REQUEST, NLM_F_DUMP, NLM_F_DUMP_INTR = 0x1, 0x300, 0x10
NLMSG_ERROR, NLMSG_DONE = 2, 3
NETLINK_NETFILTER, NFTABLES = 12, 10
GET_CHAIN, GET_RULE, GET_ELEMENTS = 4, 7, 13
BUFFER_BYTES = 1 << 16
ANSWER_SECONDS = 2.0
ATTEMPTS = 5  # to read a list that changes meanwhile
ABSENT = (errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT, errno.EINVAL, errno.EOPNOTSUPP)  # a kernel without nf_tables

INTERVAL_END = 1  # a flag of a set's element


class ChainId(NamedTuple):
    """A chain's full name; `family` is an NFPROTO_*."""

    family: int
    table: str
    chain: str


class Expression(NamedTuple):
    """One step of a rule."""

    name: str
    data: dict[int, bytes]


@dataclass(frozen=True, slots=True)
class Chain:
    """A base chain is called at `hook`, and has a policy; others are reached by jumps."""

    id: ChainId
    hook: int | None = None
    policy: int | None = None


@dataclass(frozen=True, slots=True)
class Element:
    """Of a set or map. `upper`: the end of a range that includes it; `ends`: it is where an interval ends."""

    key: bytes
    verdict: dict[int, bytes] = field(default_factory=dict)
    upper: bytes | None = None
    ends: bool = False


@dataclass(frozen=True, slots=True)
class Ruleset:
    """Base chains, the rules of each chain, and the elements of the sets that they name, by family, table and name."""

    chains: tuple[Chain, ...]
    rules: dict[ChainId, list[tuple[Expression, ...]]]
    sets: dict[tuple[int, str, str], tuple[Element, ...]]


def by_kind(data: bytes) -> dict[int, bytes]:
    """Attributes by their type, of which each is there once. Stops at one that is cut off."""
    return dict(attributes(data))


def number(data: bytes) -> int:
    """An attribute's number, which nf_tables has in network order."""
    return int.from_bytes(data)


def text(data: bytes) -> str:
    """An attribute's text."""
    return data.partition(b"\0")[0].decode(errors="replace")


def read_ruleset(hook: int) -> Ruleset:
    """The tables of the present namespace that have a chain at this hook. Raises OSError.

    Others may have sets of many thousands of addresses, and are not read.
    """
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER) as kernel:
            kernel.settimeout(ANSWER_SECONDS)
            chains = tuple(_chain(family, data) for family, data in _dump(kernel, GET_CHAIN))
            hooked = tuple(chain for chain in chains if chain.hook == hook)
            tables = {chain.id[:2] for chain in hooked}
            rules: dict[ChainId, list[tuple[Expression, ...]]] = {}
            for family, data in _dump(kernel, GET_RULE) if hooked else ():
                chain = ChainId(family, text(data[1]), text(data[2]))
                if chain[:2] in tables:
                    rules.setdefault(chain, []).append(_expressions(data))
            return Ruleset(hooked, rules, _sets(kernel, rules))
    except OSError as error:
        if error.errno in ABSENT:
            return Ruleset((), {}, {})
        raise


def _chain(family: int, data: dict[int, bytes]) -> Chain:
    hook = by_kind(data[4]) if 4 in data else {}
    policy = number(data[5]) if 5 in data else None
    return Chain(ChainId(family, text(data[1]), text(data[3])), number(hook[1]) if 1 in hook else None, policy)


def _expressions(data: dict[int, bytes]) -> tuple[Expression, ...]:
    parsed = (by_kind(element) for _, element in attributes(data.get(4, b"")))
    return tuple(Expression(text(one[1]), by_kind(one.get(2, b""))) for one in parsed)


def _sets(
    kernel: socket.socket, rules: dict[ChainId, list[tuple[Expression, ...]]]
) -> dict[tuple[int, str, str], tuple[Element, ...]]:
    named = {
        (chain.family, chain.table, text(expression.data[1]))
        for chain, listed in rules.items()
        for expressions in listed
        for expression in expressions
        if expression.name == "lookup"
    }
    return {name: tuple(_elements(kernel, *name)) for name in named}


def _elements(kernel: socket.socket, family: int, table: str, name: str) -> Iterator[Element]:
    for _, data in _dump(kernel, GET_ELEMENTS, family, _text(1, table) + _text(2, name)):
        for _, element in attributes(data.get(3, b"")):
            parts = by_kind(element)
            key, upper, value = (by_kind(parts[n]) if n in parts else {} for n in (1, 10, 2))
            flags = number(parts[3]) if 3 in parts else 0
            verdict = by_kind(value[2]) if 2 in value else {}
            if 1 in key:
                yield Element(key[1], verdict, upper.get(1), bool(flags & INTERVAL_END))


def _text(kind: int, value: str) -> bytes:
    encoded = value.encode() + b"\0"
    return ATTRIBUTE.pack(ATTRIBUTE.size + len(encoded), kind) + encoded + bytes(-len(encoded) % 4)


def _dump(
    kernel: socket.socket, question: int, family: int = 0, body: bytes = b""
) -> list[tuple[int, dict[int, bytes]]]:
    """The answers, each with its family. Asks again if the list changed meanwhile. Raises OSError."""
    length = HEADER.size + FAMILY.size + len(body)
    for sequence in range(1, ATTEMPTS + 1):
        header = HEADER.pack(length, NFTABLES << 8 | question, NLM_F_REQUEST | NLM_F_DUMP, sequence, 0)
        kernel.send(header + FAMILY.pack(family, 0, 0) + body)
        answers = list(_answers(kernel, sequence))
        if None not in answers:
            return [answer for answer in answers if answer is not None]
    raise OSError(errno.EINTR, "the rules of nf_tables change all the time")


def _answers(kernel: socket.socket, sequence: int) -> Iterator[tuple[int, dict[int, bytes]] | None]:
    """None for a list that has changed."""
    while True:
        data, at = kernel.recv(BUFFER_BYTES), 0
        while at + HEADER.size <= len(data):
            length, kind, flags, answered, _ = HEADER.unpack_from(data, at)
            body = data[at + HEADER.size : at + length]
            at += (length + 3) & ~3
            if answered != sequence:
                continue
            if flags & NLM_F_DUMP_INTR:
                yield None
            if kind in (NLMSG_ERROR, NLMSG_DONE):
                (status,) = STATUS.unpack_from(body)
                if status:
                    raise OSError(-status, f"the rules of nf_tables cannot be read: {os.strerror(-status)}")
                return
            yield body[0], by_kind(body[FAMILY.size :])
