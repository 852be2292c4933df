"""What the filters of the DHCP sockets let through: the kernel applies them to any datagram, also between two sockets
of this process."""

import socket
import struct
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network

import pytest

from tests.netns.process import wire6
from tests.netns.process.scripted import Grant
from tests.netns.process.wire import Kind, Packet, broadcast_frame
from workers.dhcp4 import packet_socket as sockets4
from workers.dhcp6 import packet_socket as sockets6
from workers.system.packet_filter import Instruction, attach, equal

MAC, OTHER = "02:00:00:00:00:01", "02:00:00:00:00:02"
SENT = Packet(1, 0x01020304, MAC)
FRAME_HEADER, UDP_HEADER = 14, 8
ADDRESS = IPv6Address("fe80::1")


def passes(program: Sequence[Instruction], packet: bytes) -> bool:
    """Whether a socket with that program receives it."""
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with near, far:
        attach(far, program)
        far.setblocking(False)
        near.send(packet)
        try:
            return bool(far.recv(1))
        except BlockingIOError:
            return False


def answer(**changes: object) -> bytes:
    """An ACK to SENT, or to another message."""
    return Grant().reply(replace(SENT, **changes), Kind.ACK).encode()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("payload", "ours"),
    [
        (answer(), True),
        (answer(xid=0x01020305), False),
        (answer(chaddr=OTHER), False),
        (answer()[:20], False),
        (b"", False),
    ],
)
def test_answers_to_what_was_sent(payload: bytes, ours: bool) -> None:
    """Over a packet socket and over UDP."""
    packet = broadcast_frame(payload)[FRAME_HEADER:]
    assert passes(sockets4._answers_filter(SENT.encode()), packet) == ours
    checks = sockets4.answers_checks(SENT.encode(), UDP_HEADER)
    assert passes(equal(*checks), packet[20:]) == ours
    assert passes(sockets4.FILTER, packet)


def test_other_ports_and_longer_headers() -> None:
    """The ports are behind the header's own length."""
    packet = broadcast_frame(answer())[FRAME_HEADER:]
    program = sockets4._answers_filter(SENT.encode())
    assert passes(program, b"\x46" + packet[1:20] + bytes(4) + packet[20:])
    assert not passes(program, packet[:20] + struct.pack("!HH", 67, 69) + packet[24:])
    assert not passes(program, packet[:20] + struct.pack("!HH", 66, 68) + packet[24:])
    assert not passes(program, packet[:9] + b"\x06" + packet[10:])


def test_ipv6() -> None:
    """Advertises and Replies with the last transaction id, router advertisements, and questions for our address."""
    program = sockets6._filter(ADDRESS, (7).to_bytes(3))

    def message(kind: wire6.Kind, xid: int) -> bytes:
        return wire6.answer_frame(wire6.Packet(kind, xid), MAC)[FRAME_HEADER:]

    for kind in (wire6.Kind.ADVERTISE, wire6.Kind.REPLY):
        assert passes(program, message(kind, 7))
        assert not passes(program, message(kind, 8))
    assert not passes(program, message(wire6.Kind.SOLICIT, 7))
    advertisement = wire6.Advertisement(options=(wire6.prefix(IPv6Network("fd00::/64"), 0xC0, 60, 60),))
    assert passes(program, wire6.advertisement_frame(advertisement, ADDRESS, b"\x02" * 6)[FRAME_HEADER:])
    for target, asked in ((ADDRESS, True), (ADDRESS + 1, False)):
        claim = wire6.neighbour_advertisement(target, b"\x02" * 6)[FRAME_HEADER:]
        assert not passes(program, claim)
        assert passes(program, claim[:40] + b"\x87" + claim[41:]) == asked
