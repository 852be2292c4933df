"""What servers and routers say in words: nothing of it reaches a lease but names, and an error shows it inert."""

import string
from ipaddress import IPv6Address
from typing import cast

import pytest

from tests.netns.process import wire6
from tests.netns.process.scripted import Grant
from tests.netns.process.wire import Kind, Packet
from tests.workers.dhcp6.client import IDENTITY, MAC, SERVER, granting
from workers.contract.client_identity import legal_hostname
from workers.contract.link import LinkKind, LinkSpec
from workers.contract.messages import EndpointSpec
from workers.dhcp4 import codec as codec4
from workers.dhcp4.first_lease import Exchange4
from workers.dhcp4.lease_parser import parse_lease as parse_lease4
from workers.dhcp4.machine import Machine
from workers.dhcp4.packet_socket import PacketSocket
from workers.dhcp4.udhcpc import Records, understood
from workers.dhcp6 import codec as codec6
from workers.dhcp6 import router_advertisement
from workers.dhcp6.lease_parser import Refusal
from workers.dhcp6.lease_parser import parse_lease as parse_lease6

HOSTILE = {
    "newline": "web\nnameserver 192.0.2.66",
    "carriage return": "web\r\n",
    "escape sequence": "\x1b]0;owned\x07\x1b[2J",
    "NUL": "web\0evil",
    "10 kB": "a" * 10_000,
    "10 kB of escapes": "\x1b" * 10_000,
    "blank": "web evil",
    "shell": "$(reboot);`id`",
    "no ASCII": "wéb\u2028",
}
SPEC = EndpointSpec("n", "e", LinkSpec(LinkKind.BRIDGE, "br0"), MAC, IDENTITY, 5.0)
LEGAL = set(string.ascii_letters + string.digits + "-_.")
hostile = pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)


def is_inert(text: str) -> bool:
    """Whether it can be shown on a terminal, and has an end."""
    return text.isprintable() and len(text) < 1000


def are_names(names: tuple[str, ...]) -> bool:
    """Whether a resolver may get them."""
    return all(set(name) <= LEGAL and len(name) <= 253 for name in names)


def label(text: str) -> bytes:
    """As much of it as a name in DNS's form can have."""
    raw = text.encode()[:63]
    return bytes([len(raw)]) + raw + b"\0"


@hostile
def test_dhcpv4(text: str) -> None:
    """Domain, search list, and the words of a refusal; options longer than 255 octets come in parts (RFC 3396)."""
    options = [(15, text.encode()), (119, label(text)), (56, text.encode())]
    parts = [(code, value[i : i + 255]) for code, value in options for i in range(0, len(value), 255)]
    area = b"".join(bytes((code, len(part))) + part for code, part in parts)
    reply = Grant().reply(Packet(1, 1, MAC), Kind.ACK).encode()
    answer = codec4.decode(reply[:-1] + area + reply[-1:])
    assert are_names(parse_lease4(answer.values, 0.0).search_list)

    machine = Machine(MAC, IDENTITY)
    machine.due(0.0)
    asked = Packet.decode(machine.due(1.0)[-1].payload)  # type: ignore[union-attr]
    offer = codec4.decode(Grant().reply(asked, Kind.OFFER).encode())
    machine.receive(offer, 1.0)
    nak = Grant().reply(asked, Kind.NAK).encode()
    machine.receive(codec4.decode(nak[:-1] + area + nak[-1:]), 1.0)
    error = str(Exchange4(SPEC, machine, cast(PacketSocket, None)).failure())
    assert "were refused by the server" in error
    assert is_inert(error)


@hostile
def test_udhcpc(text: str) -> None:
    """The same from udhcpc, whose script ends a value with a NUL."""
    value = text.replace("\0", "")
    record = f"bound\0ip=192.0.2.10\0domain={value}\0search={value}\0lease=60\0\0".encode()
    for event in Records().feed(record):
        granted = understood(event, 0.0)
        assert are_names(granted.lease.search_list)  # type: ignore[union-attr]
    for event in Records().feed(f"nak\0message={value}\0\0".encode()):
        assert is_inert(repr(understood(event, 0.0)))


@hostile
def test_dhcpv6(text: str) -> None:
    """The search list, and the words of a status."""
    ids = [(int(wire6.Option.CLIENT_ID), IDENTITY.duid), (int(wire6.Option.SERVER_ID), SERVER)]
    names = (int(wire6.Option.SEARCH), label(text))
    granted = codec6.decode(wire6.Packet(wire6.Kind.REPLY, 1, [*ids, names, granting()]).encode())
    assert are_names(parse_lease6(granted, IDENTITY.iaid, 0.0).search_list)
    refused = codec6.decode(wire6.Packet(wire6.Kind.REPLY, 1, [*ids, wire6.status(2, text)]).encode())
    with pytest.raises(Refusal) as refusal:
        parse_lease6(refused, IDENTITY.iaid, 0.0)
    assert is_inert(str(refusal.value))


@hostile
def test_router_advertisement(text: str) -> None:
    """The search list."""
    area = label(text) + bytes(-len(label(text)) % 8)
    option = bytes([31, 1 + len(area) // 8, 0, 0]) + (60).to_bytes(4) + area
    advertised = wire6.Advertisement(options=(option,)).encode()
    heard = router_advertisement.decode(advertised, IPv6Address("fe80::1"), router_advertisement.HOP_LIMIT)
    assert are_names(heard.search)


@hostile
def test_host_name(text: str) -> None:
    """A server gets the nearest legal name, or none."""
    assert are_names((legal_hostname(text) or "",))
