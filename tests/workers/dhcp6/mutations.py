"""Good packets and what becomes of them on a hostile LAN: bytes flipped, cut, doubled and mixed."""

import random
import struct
from collections.abc import Iterator
from ipaddress import IPv6Address, IPv6Network

from tests.netns.process.wire6 import (
    Advertisement,
    Code,
    Kind,
    Option,
    Packet,
    dnssl,
    ia_address,
    ia_na,
    mtu,
    prefix,
    rdnss,
    status,
    wire_names,
)
from tests.workers.dhcp6.client import ADDRESS, ANOTHER, IDENTITY, SERVER

ROUTER, OURS = IPv6Address("fe80::1"), IPv6Address("fe80::2")
NETWORK = IPv6Network("2001:db8::/64")
XID = 0x123456
UDP, ICMPV6 = 17, 58
INTERESTING = (0, 1, 3, 4, 0x7F, 0x80, 0xFE, 0xFF)


def packet(protocol: int, payload: bytes, hop_limit: int = 255, source: IPv6Address = ROUTER) -> bytes:
    """An IPv6 packet."""
    return struct.pack("!IHBB", 6 << 28, len(payload), protocol, hop_limit) + source.packed + OURS.packed + payload


def datagram(payload: bytes) -> bytes:
    """A DHCPv6 message in its packet."""
    return packet(UDP, struct.pack("!HHHH", 547, 546, 8 + len(payload), 0) + payload)


def seeds() -> list[bytes]:
    """Every option that we read is in one of them."""
    ids: list[tuple[int, bytes]] = [(Option.CLIENT_ID, IDENTITY.duid), (Option.SERVER_ID, SERVER)]
    numbers = [(code, struct.pack("!I", 600)) for code in (Option.REFRESH, Option.SOL_MAX_RT, Option.INF_MAX_RT)]
    servers = (Option.DNS, ADDRESS.packed + ANOTHER.packed)
    names = (Option.SEARCH, wire_names("lan.test", "example.org"))
    addresses = [ia_address(ADDRESS, 100, 200, status(Code.SUCCESS, "fine")), ia_address(ANOTHER, 0, 0)]
    reply = [*ids, ia_na(IDENTITY.iaid, 50, 80, *addresses), servers, names, *numbers]
    advertise = [*ids, ia_na(IDENTITY.iaid, 0, 0, *addresses), (Option.PREFERENCE, b"\7"), (Option.RAPID_COMMIT, b"")]
    refusal = [*ids, ia_na(IDENTITY.iaid, 0, 0, status(Code.NO_BINDING, "what?")), status(Code.UNSPEC_FAIL, "no")]
    options = (prefix(NETWORK, 0xC0, 200, 100), mtu(1400), rdnss(60, ADDRESS), dnssl(60, "lan.test"))
    messages = [
        *(datagram(Packet(Kind.REPLY, XID, list(options)).encode()) for options in (reply, refusal)),
        datagram(Packet(Kind.ADVERTISE, XID, list(advertise)).encode()),
    ]
    return [*messages, packet(ICMPV6, Advertisement(0xC8, 1800, options).encode())]


def mutated(count: int, seed: int) -> Iterator[bytes]:
    """`count` packets, the same for each seed."""
    source = random.Random(seed)  # noqa: S311  no secret: the same in each run
    originals = seeds()
    for _ in range(count):
        data = bytearray(source.choice(originals))
        for _ in range(source.randint(1, 3)):
            _mutate(data, source, originals)
        yield bytes(data)


def _mutate(data: bytearray, source: random.Random, originals: list[bytes]) -> None:
    at = source.randrange(len(data) + 1)
    match source.randrange(6):
        case 0 | 1:
            data[at : at + 1] = bytes([source.choice(INTERESTING)])
        case 2:
            data[at : at + 1] = bytes([source.randrange(256)])
        case 3:
            del data[at : at + source.randint(1, 20)]
        case 4:
            data[at:at] = data[at : at + source.randint(1, 40)]
        case _:
            other = source.choice(originals)
            data[at:] = other[source.randrange(len(other)) :]
