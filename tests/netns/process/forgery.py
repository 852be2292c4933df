"""What a hostile machine of the LAN sends: claims of others' addresses, and the words of servers and routers that are
none, as a flood if need be.
"""

import itertools
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, IPv6Network

from tests.lab.network import LAN, LAN_BRIDGE, Network
from tests.netns.process import wire6
from tests.netns.process.scripted import Grant, refusal
from tests.netns.process.wire import NOWHERE, Kind, Option, Packet, broadcast_frame
from workers.system.namespaces import open_namespace

ETH_P_ARP = 0x0806
ARP = struct.Struct("!6s6sHHHBBH6s4s6s4s")
EVERYONE = b"\xff" * 6
REQUEST, REPLY = 1, 2
STRANGER = IPv4Address("192.168.77.66")
ROGUE = IPv6Network("fd00:bad::/64")
CROWD = 100
PER_SECOND = 10_000
PAUSE_SECONDS = 0.005


def mac_of(number: int) -> bytes:
    """One of many."""
    return bytes((2, 0xBA, 0xD0, 0, number // 256, number % 256))


def claim(address: IPv4Address, mac: bytes, kind: int = REQUEST, sender: IPv4Address | None = None) -> bytes:
    """A frame about the address; without another sender it is `mac` that has it."""
    head = (EVERYONE, mac, ETH_P_ARP, 1, 0x0800, 6, 4, kind)
    return ARP.pack(*head, mac, (sender or address).packed, EVERYONE, address.packed)


def claims_in_each_way(address: IPv4Address, mac: bytes) -> tuple[bytes, ...]:
    """An announcement, a reply that nobody asked for, a probe."""
    return claim(address, mac), claim(address, mac, REPLY), claim(address, mac, sender=NOWHERE)


def answers_of_strangers(*macs: str) -> list[bytes]:
    """To other clients; to these ones with wrong transaction ids; refusals of servers that have no say."""
    asked = [Packet(1, number, mac_of(number).hex(":")) for number in range(CROWD)]
    asked += [Packet(1, number, mac) for mac in macs for number in range(CROWD)]
    evil = Grant(LAN[99], more={Option.SERVER_ID: STRANGER.packed})
    answers = [p for a in asked for p in (evil.reply(a, Kind.OFFER), evil.reply(a, Kind.ACK), refusal(a, STRANGER))]
    return [broadcast_frame(replace(answer, flags=0x8000).encode()) for answer in answers]


def rogue_advertisements(router: IPv6Address, *options: bytes) -> list[bytes]:
    """The router resigns, with these options; and many others come with prefixes of their own."""
    frames = [wire6.advertisement_frame(wire6.Advertisement(0, 0, options), router, mac_of(0))]
    for number in range(1, CROWD):
        network = IPv6Network((int(ROGUE.network_address) + (number << 64), 64))
        advertised = wire6.Advertisement(0, 1800, (wire6.prefix(network, 0xC0, 7200 + number, 7200 + number),))
        frames.append(wire6.advertisement_frame(advertised, IPv6Address(f"fe80::bad:{number:x}"), mac_of(number)))
    return frames


@contextmanager
def flood(network: Network, frames: list[bytes], per_second: int = PER_SECOND) -> Iterator[None]:
    """These frames on the LAN, one after the other, again and again, as fast as the machine can where that is slower.
    Its own side does not hear them: servers are not deceived."""
    with open_namespace(f"/run/netns/{network.lan}") as namespace, namespace.visit():
        packets = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    packets.bind((LAN_BRIDGE, 0))
    over = threading.Event()

    def send() -> None:
        endless, begun, sent = itertools.cycle(frames), time.monotonic(), 0
        while not over.wait(PAUSE_SECONDS):  # the pace is what is tested
            while sent < (time.monotonic() - begun) * per_second and not over.is_set():
                packets.send(next(endless))
                sent += 1

    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield
    finally:
        over.set()
        sender.join()
        packets.close()
