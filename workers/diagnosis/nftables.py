"""The rules of nf_tables, read from the kernel without an nft binary: those of iptables-nft and firewalld, too.

Must not know which chains matter, nor what a finding is.
"""

import errno
import socket
from collections.abc import Iterator
from typing import NamedTuple

from msgspec import Struct, field

from workers.netlink.nftables import connect, dump, text_attribute
from workers.netlink.rtnetlink import attributes

GET_CHAIN, GET_RULE, GET_ELEMENTS = 4, 7, 13
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


class Chain(Struct, frozen=True):
    """A base chain is called at `hook`, and has a policy; others are reached by jumps."""

    id: ChainId
    hook: int | None = None
    policy: int | None = None


class Element(Struct, frozen=True):
    """Of a set or map. `upper`: the end of a range that includes it; `ends`: it is where an interval ends."""

    key: bytes
    verdict: dict[int, bytes] = field(default_factory=dict)
    upper: bytes | None = None
    ends: bool = False


class Ruleset(Struct, frozen=True):
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
    return data.partition(b"\0")[0].decode(errors="replace")


def read_ruleset(hook: int) -> Ruleset:
    """The tables of the present namespace that have a chain at this hook. Raises OSError.

    Others may have sets of many thousands of addresses, and are not read.
    """
    try:
        with connect() as kernel:
            chains = tuple(_chain(family, data) for family, data in dump(kernel, GET_CHAIN))
            hooked = tuple(chain for chain in chains if chain.hook == hook)
            tables = {chain.id[:2] for chain in hooked}
            rules: dict[ChainId, list[tuple[Expression, ...]]] = {}
            for family, data in dump(kernel, GET_RULE) if hooked else ():
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
    for _, data in dump(kernel, GET_ELEMENTS, family, text_attribute(1, table) + text_attribute(2, name)):
        for _, element in attributes(data.get(3, b"")):
            parts = by_kind(element)
            key, upper, value = (by_kind(parts[n]) if n in parts else {} for n in (1, 10, 2))
            flags = number(parts[3]) if 3 in parts else 0
            verdict = by_kind(value[2]) if 2 in value else {}
            if 1 in key:
                yield Element(key[1], verdict, upper.get(1), bool(flags & INTERVAL_END))
