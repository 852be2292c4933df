"""Which rules of nf_tables match a packet: plays their expressions, as the kernel would, as far as all is known.

Pure. Values are either known or not; a comparison with an unknown one is not known to match.
"""

import socket
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from workers.diagnosis import x_tables
from workers.diagnosis.nftables import ChainId, Element, Expression, Ruleset, by_kind, number, text
from workers.diagnosis.packet import Packet
from workers.diagnosis.ruleset import Action, Verdict, decide

REGISTERS_BYTES = 64
INET, IPV4, BRIDGE, IPV6 = 1, 2, 7, 10  # NFPROTO_*
PROTOCOLS = {int(socket.AF_INET): IPV4, int(socket.AF_INET6): IPV6}

# NFT_META_*, NFT_CT_*
PROTOCOL, MARK, IIF, OIF, IIFNAME, OIFNAME, NFPROTO, L4PROTO, PKTTYPE = 1, 3, 4, 5, 6, 7, 15, 16, 19
BRI_IIFNAME, BRI_OIFNAME = 17, 18
LINKS = (IIF, OIF, IIFNAME, OIFNAME, BRI_IIFNAME, BRI_OIFNAME)
CT_STATE, CT_STATUS, CT_MARK = 0, 2, 3
CT_NEW = 8
PACKET_BROADCAST, PACKET_MULTICAST = 1, 2
LINK_LAYER, NETWORK, TRANSPORT = 0, 1, 2
SENDER = range(6, 12)  # of an Ethernet header
EQUAL, NOT_EQUAL, LESS, LESS_EQUAL, GREATER, GREATER_EQUAL = range(6)
NF_DROP, NF_ACCEPT = 0, 1
JUMP, GOTO, RETURN = -3, -4, -5
INVERTED = 1  # a flag of a lookup
NAME_BYTES = 16
NEUTRAL = frozenset({"counter", "log", "notrack", "objref", "last", "dup", "fwd"})  # they match all, and change nothing


@dataclass(slots=True)
class _Registers:
    """Their octets, of which some are known, and the ones that hold a link's name or index."""

    octets: bytearray = field(default_factory=lambda: bytearray(REGISTERS_BYTES))
    known: bytearray = field(default_factory=lambda: bytearray(REGISTERS_BYTES))
    links: set[int] = field(default_factory=set)

    def put(self, register: bytes, value: bytes | None, *, link: bool = False) -> None:
        """Unknown values are as long as a register."""
        at, size = _place(register), NAME_BYTES if value is None else (len(value) + 3) & ~3
        self.octets[at : at + size] = (value or b"").ljust(size, b"\0")
        self.known[at : at + size] = bytes([value is not None]) * size
        (self.links.add if link else self.links.discard)(at)

    def get(self, register: bytes, size: int) -> bytes | None:
        at = _place(register)
        return bytes(self.octets[at : at + size]) if all(self.known[at : at + size]) else None

    def has_link(self, register: bytes) -> bool:
        return _place(register) in self.links


class Rules:
    """The rules of a set, before one packet."""

    def __init__(self, ruleset: Ruleset, packet: Packet) -> None:
        self._ruleset = ruleset
        self._packet = packet

    def verdicts(self, chain: ChainId) -> Iterator[Verdict[ChainId]]:
        """Those of the rules that match, in order (workers.diagnosis.ruleset)."""
        for expressions in self._ruleset.rules.get(chain, ()):
            verdict = _Play(self._ruleset, self._packet, chain).run(expressions)
            if verdict is not None:
                yield verdict


class _Play:
    """One rule before one packet."""

    def __init__(self, ruleset: Ruleset, packet: Packet, chain: ChainId) -> None:
        self._sets = ruleset.sets
        self._packet = packet
        self._chain = chain
        self._registers = _Registers()
        self._matches: bool | None = True
        self._about_link = False
        self._verdict: Verdict[ChainId] | None = None
        self._steps: dict[str, Callable[[dict[int, bytes]], None]] = {
            "meta": self._meta,
            "ct": self._ct,
            "payload": self._payload,
            "immediate": self._immediate,
            "bitwise": self._bitwise,
            "cmp": self._compare,
            "range": self._range,
            "lookup": self._lookup,
            "match": self._match,
            "target": self._target,
            "reject": self._reject,
        }

    def run(self, expressions: tuple[Expression, ...]) -> Verdict[ChainId] | None:
        for name, data in expressions:
            if name in self._steps:
                self._steps[name](data)
            elif name not in NEUTRAL:
                self._unknown(data)
            if self._matches is False or self._verdict is not None:
                break
        return decide(self._matches, self._about_link, self._verdict)

    def _unknown(self, data: dict[int, bytes]) -> None:
        """An expression that is not played here: it may match, and what it has put anywhere is not known."""
        self._matches = None
        self._registers.known = bytearray(REGISTERS_BYTES)

    def _meta(self, data: dict[int, bytes]) -> None:
        if 1 not in data:
            return  # it sets a mark, or the like
        key = number(data[2])
        self._registers.put(data[1], self._meta_value(key), link=key in LINKS)

    def _meta_value(self, key: int) -> bytes | None:
        packet, on_bridge = self._packet, self._chain.family == BRIDGE
        name = packet.bridge.encode().ljust(NAME_BYTES, b"\0")
        values: dict[int, bytes] = {
            PROTOCOL: packet.ethertype,
            MARK: bytes(4),
            NFPROTO: bytes([BRIDGE if on_bridge else PROTOCOLS[packet.version]]),
            L4PROTO: bytes([socket.IPPROTO_UDP]),
            PKTTYPE: bytes([PACKET_BROADCAST if packet.version == socket.AF_INET else PACKET_MULTICAST]),
        }
        if on_bridge:  # there in and out are ports
            return {**values, BRI_IIFNAME: name, BRI_OIFNAME: name}.get(key)
        index = struct.pack("=I", packet.index)
        return {**values, IIFNAME: name, OIFNAME: name, IIF: index, OIF: index}.get(key)

    def _ct(self, data: dict[int, bytes]) -> None:
        """The message is the first one of its connection. The bridge family tracks connections with a module only."""
        if 1 not in data:
            return
        values = {CT_STATE: CT_NEW, CT_STATUS: 0, CT_MARK: 0}
        value = None if self._chain.family == BRIDGE else values.get(number(data[2]))
        self._registers.put(data[1], None if value is None else struct.pack("=I", value))

    def _payload(self, data: dict[int, bytes]) -> None:
        if 1 not in data:
            return  # it changes the packet
        base, offset, size = (number(data[n]) for n in (2, 3, 4))
        self._registers.put(data[1], self._read(base, offset, size))

    def _read(self, base: int, offset: int, size: int) -> bytes | None:
        packet = self._packet
        if base == LINK_LAYER and not set(SENDER).isdisjoint(range(offset, offset + size)):
            return None
        link_layer = packet.destination + bytes(len(SENDER)) + packet.ethertype
        header = {LINK_LAYER: link_layer, NETWORK: packet.network, TRANSPORT: packet.transport}.get(base, b"")
        value = header[offset : offset + size]
        return value if len(value) == size else None

    def _immediate(self, data: dict[int, bytes]) -> None:
        value = by_kind(data[2])
        if 2 in value:
            self._decide(by_kind(value[2]))
        else:
            self._registers.put(data[1], value.get(1))

    def _decide(self, verdict: dict[int, bytes]) -> None:
        code = int.from_bytes(verdict[1], signed=True)
        if code in (JUMP, GOTO):
            action = Action.JUMP if code == JUMP else Action.GOTO
            self._verdict = Verdict(action, self._chain._replace(chain=text(verdict[2])))
        elif code in (NF_DROP, NF_ACCEPT, RETURN):
            self._verdict = Verdict({NF_DROP: Action.DROP, NF_ACCEPT: Action.ACCEPT, RETURN: Action.RETURN}[code])

    def _bitwise(self, data: dict[int, bytes]) -> None:
        size = number(data[3])
        value = self._registers.get(data[1], size)
        if value is None or 4 not in data or 5 not in data:
            self._registers.put(data[2], None)  # a shift, or of an unknown value
            return
        mask, flipped = (by_kind(data[n])[1] for n in (4, 5))
        self._registers.put(data[2], bytes((v & m) ^ x for v, m, x in zip(value, mask, flipped, strict=True)))

    def _compare(self, data: dict[int, bytes]) -> None:
        wanted = by_kind(data[3])[1]
        value, operator = self._registers.get(data[1], len(wanted)), number(data[2])
        self._require(None if value is None else _compared(value, operator, wanted))
        if operator == EQUAL:
            self._note_link(data[1])

    def _range(self, data: dict[int, bytes]) -> None:
        least, most = (by_kind(data[n])[1] for n in (3, 4))
        value = self._registers.get(data[1], len(least))
        inverted = number(data[2]) == NOT_EQUAL
        self._require(None if value is None else (least <= value <= most) != inverted)

    def _lookup(self, data: dict[int, bytes]) -> None:
        elements = self._sets.get((self._chain.family, self._chain.table, text(data[1])), ())
        size = len(elements[0].key) if elements else 0
        value = self._registers.get(data[2], size)
        found = None if value is None else _element(elements, value)
        if 3 in data and number(data[3]) != 0:  # a map of values, which go into that register
            self._registers.put(data[3], None)
        inverted = bool(number(data.get(5, b"\0")) & INVERTED)
        self._require(None if value is None else (found is not None) != inverted)
        if not inverted:
            self._note_link(data[2])
        if found is not None and found.verdict and self._matches is not False:
            self._decide(found.verdict)

    def _match(self, data: dict[int, bytes]) -> None:
        self._require(x_tables.match(text(data[1]).encode(), number(data[2]), data[3], self._packet))

    def _target(self, data: dict[int, bytes]) -> None:
        if x_tables.rejects(text(data[1]).encode()):
            self._verdict = Verdict(Action.DROP)

    def _reject(self, data: dict[int, bytes]) -> None:
        self._verdict = Verdict(Action.DROP)

    def _require(self, holds: bool | None) -> None:
        if holds is False or self._matches is False:
            self._matches = False
        elif holds is None:
            self._matches = None

    def _note_link(self, register: bytes) -> None:
        """The rule names our link, or, where links are ports, one that may be ours."""
        self._about_link |= self._matches is not False and self._registers.has_link(register)


def _place(register: bytes) -> int:
    """Where it begins among all: registers of 16 octets are numbered from 1 on, those of 4 from 8 on."""
    named = number(register)
    return (named - 8) * 4 if named >= 8 else (named - 1) * 16


def _compared(value: bytes, operator: int, wanted: bytes) -> bool:
    return {
        EQUAL: value == wanted,
        NOT_EQUAL: value != wanted,
        LESS: value < wanted,
        LESS_EQUAL: value <= wanted,
        GREATER: value > wanted,
        GREATER_EQUAL: value >= wanted,
    }[operator]


def _element(elements: tuple[Element, ...], value: bytes) -> Element | None:
    """The one that has the value. A set of intervals has its first value and the first one behind it as elements."""
    ranges = any(element.ends for element in elements)
    for element in sorted(elements, key=lambda e: e.key, reverse=True):
        if element.upper is not None:
            if element.key <= value <= element.upper:
                return element
        elif element.key == value or (ranges and element.key < value):
            return None if element.ends else element
    return None
