"""Servers of every kind: what each does differently, and what a container has from it nevertheless."""

import itertools
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from ipaddress import IPv4Address

from tests.lab.network import LAN, SERVER
from tests.netns.process.scripted import EVERYONE, Behaviour, Grant, refusal, requested_address, usual_way
from tests.netns.process.wire import NOWHERE, Kind, Option, Packet

OTHER = LAN[3]  # another address of the LAN's machine
BEYOND = IPv4Address("10.77.0.1")  # which is behind its router
LATE_SECONDS = 1.4  # longer than the client waits for an answer
USUAL = Grant()
USUAL_ADDRESS = f"{USUAL.address}/{LAN.prefixlen}"
FOR_EVER = 0xFFFFFFFF
# Of options 121 and 6; udhcpc ignores a packet that has 400 bytes of options.
MOST: dict[int, bytes | None] = {
    Option.CLASSLESS_ROUTES: b"\0"
    + SERVER.packed
    + b"".join(bytes((16, 10, number)) + LAN[number].packed for number in range(100, 134)),
    Option.DNS: b"".join(LAN[number].packed for number in range(100, 118)),
}
# RFC 3442: option 121 wins over its private twin 249, and both over 33 and 3.
ROUTES: dict[int, bytes | None] = {
    Option.CLASSLESS_ROUTES: bytes.fromhex("10 0a14 c0a84d04  00 c0a84d05"),  # 10.20.0.0/16 via .4, the rest via .5
    Option.MICROSOFT_ROUTES: bytes.fromhex("10 0a15 c0a84d04  00 c0a84d06"),
    Option.STATIC_ROUTES: bytes.fromhex("0a160001 c0a84d04"),
}
Script = Callable[[], Behaviour]


def grants(grant: Grant) -> Script:
    """All the same, but for what this one gives."""
    return lambda: grant.answer


def deaf_to_the_first() -> Behaviour:
    """The first message of each kind is lost."""
    heard: set[Kind] = set()

    def answer(packet: Packet) -> list[bytes]:
        if packet.kind in heard:
            return USUAL.answer(packet)
        heard.add(packet.kind)
        return []

    return answer


def late() -> Behaviour:
    """The first OFFER comes when it has been asked for again."""
    first = itertools.count()

    def answer(packet: Packet) -> list[bytes]:
        if next(first) == 0:
            time.sleep(LATE_SECONDS)  # the server's own slowness, which is what is tested
        return USUAL.answer(packet)

    return answer


def refuses_once() -> Behaviour:
    """The first REQUEST for what it has offered."""
    refused = itertools.count()

    def answer(packet: Packet) -> list[bytes]:
        if packet.kind is Kind.REQUEST and next(refused) == 0:
            return [refusal(packet).encode()]
        return USUAL.answer(packet)

    return answer


def noisy() -> Behaviour:
    """Before each answer comes what is none, some of it with the same address in it."""

    def answer(packet: Packet) -> Iterable[bytes]:
        good = USUAL.reply(packet, Kind.ACK)
        nak = refusal(packet)
        yield from (b"", b"garbage", good.encode()[:241], replace(good, op=1).encode())
        yield from (replace(p, xid=packet.xid ^ 1, yiaddr=LAN[99]).encode() for p in (good, nak))
        yield from (replace(p, chaddr="02:00:00:00:00:01", yiaddr=LAN[98]).encode() for p in (good, nak))
        yield replace(good, options=good.options | {Option.MESSAGE_TYPE: b"\x63"}).encode()
        yield from USUAL.answer(packet)

    return answer


def another_name() -> Behaviour:
    """It calls itself otherwise when it is asked for a renewal."""

    def answer(packet: Packet) -> list[bytes]:
        renewed = Grant(more={Option.SERVER_ID: OTHER.packed})
        return (renewed if packet.ciaddr != NOWHERE else USUAL).answer(packet)

    return answer


def two() -> Behaviour:
    """Two servers at a time: the slower one, which was not chosen, refuses what it has not offered."""
    slower = Grant(LAN[70], more={Option.SERVER_ID: OTHER.packed})

    def answer(packet: Packet) -> list[bytes]:
        if packet.kind is Kind.DISCOVER:
            return [*USUAL.answer(packet), *slower.answer(packet)]
        rude = [refusal(packet, OTHER).encode()] if requested_address(packet) == USUAL.address else []
        return [*rude, *USUAL.answer(packet)]

    return answer


def overtaken() -> Behaviour:
    """Two servers, of which the other one is the faster to answer udhcpc."""
    faster = Grant(LAN[70], more={Option.SERVER_ID: OTHER.packed})
    asked = itertools.count()

    def answer(packet: Packet) -> list[bytes]:
        if packet.kind is Kind.DISCOVER:
            both = [*USUAL.answer(packet), *faster.answer(packet)]
            return both if next(asked) == 0 else both[::-1]
        chosen = packet.options.get(Option.SERVER_ID) == OTHER.packed
        return (faster if chosen else USUAL).answer(packet)

    return answer


@dataclass(frozen=True, slots=True)
class Case:
    """One row. What differs from the usual is said; `error` is in the answer to a start that fails."""

    script: Script
    address: str = USUAL_ADDRESS
    gateway: str = str(SERVER)
    server: str = str(SERVER)
    lease_seconds: int | None = USUAL.lease_time
    way: Callable[[Packet], str] = usual_way
    routes: tuple[str, ...] = ()
    error: str = ""


CASES = {
    "loses the first of each kind": Case(deaf_to_the_first),
    "late": Case(late),
    "refuses once": Case(refuses_once),
    "garbage, wrong xid, wrong chaddr": Case(noisy),
    "another server id at the renewal": Case(another_name, server=str(OTHER)),
    "two servers": Case(two),
    "unicast only": Case(grants(USUAL), way=lambda _: str(USUAL.address)),
    "broadcast only": Case(grants(USUAL), way=lambda _: EVERYONE),
    "behind a relay": Case(grants(Grant(relay=SERVER, more={Option.SERVER_ID: BEYOND.packed})), server=str(BEYOND)),
    "as much as udhcpc takes": Case(grants(Grant(more=MOST))),
    "no time at all": Case(grants(Grant(lease_time=0)), error="a lease of 0 s"),
    "network address": Case(grants(Grant(LAN[0])), error="no host's address in its subnet"),
    "for ever": Case(grants(Grant(lease_time=FOR_EVER)), lease_seconds=None),
    "T1 behind T2": Case(
        grants(Grant(more={Option.RENEWAL_TIME: bytes((0, 0, 0, 100)), Option.REBINDING_TIME: bytes((0, 0, 0, 10))}))
    ),
    "no lease time": Case(grants(Grant(more={Option.LEASE_TIME: None})), lease_seconds=3600),
    "no mask": Case(grants(Grant(more={Option.SUBNET_MASK: None}))),
    "no router": Case(grants(Grant(more={Option.ROUTER: None})), gateway=""),
    "the router is the address": Case(grants(Grant(router=USUAL.address)), gateway=""),
    "the router is outside of the subnet": Case(grants(Grant(router=BEYOND)), gateway=str(BEYOND)),
    "routes in three options": Case(
        grants(Grant(more=ROUTES)), gateway=str(LAN[5]), routes=(f"10.20.0.0/16 via {LAN[4]}",)
    ),
    "routes in two options": Case(
        grants(Grant(more=ROUTES | {Option.CLASSLESS_ROUTES: None})),
        gateway=str(LAN[6]),
        routes=(f"10.21.0.0/16 via {LAN[4]}",),
    ),
    "/32": Case(grants(Grant(more={Option.SUBNET_MASK: b"\xff" * 4})), address=f"{USUAL.address}/32"),
    "no server id": Case(grants(Grant(more={Option.SERVER_ID: None})), error="names no server (option 54)"),
    "no address": Case(grants(Grant(NOWHERE)), error="'0.0.0.0', which is no unicast address"),
}
