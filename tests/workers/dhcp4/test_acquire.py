"""INIT-REBOOT: how a first lease begins with a remembered one. The wire is played, packet by packet."""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Interface
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import cast

import pytest

from tests.netns.process.wire import Kind, Option, Packet
from workers.contract.lease import Lease
from workers.contract.link import LinkKind, LinkSpec
from workers.contract.messages import ConflictCheck, EndpointSpec
from workers.dhcp4 import acquire as module
from workers.dhcp4 import tally
from workers.dhcp4.acquire import Acquired, Cancelled, acquire
from workers.dhcp4.codec import Answer, decode
from workers.dhcp4.packet_socket import PacketSocket
from workers.dhcp4.tally import NoLease
from workers.system.clock import boottime

BR0 = LinkSpec(LinkKind.BRIDGE, "br0")
MAC = "02:00:00:00:00:01"
SERVER = IPv4Address("192.0.2.1")
FORMER, FRESH = IPv4Interface("192.0.2.10/24"), IPv4Interface("192.0.2.20/24")
REBOOT_SECONDS = 0.1
Behaviour = Callable[[Packet], list[Packet]]


@dataclass
class PlayedWire:
    """A server's behaviour instead of a network."""

    behaviour: Behaviour
    sent: list[Packet] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    event: int = field(default_factory=lambda: os.eventfd(0, os.EFD_NONBLOCK))

    def fileno(self) -> int:
        """Readable while there are answers."""
        return self.event

    def broadcast(self, payload: bytes) -> None:
        """The server's answers wait from now on."""
        packet = Packet.decode(payload)
        self.sent.append(packet)
        for answer in self.behaviour(packet):
            self.answers.append(decode(answer.encode()))
            os.eventfd_write(self.event, 1)

    def receive(self) -> list[Answer]:
        """All of them."""
        with suppress(BlockingIOError):  # nothing has come
            os.eventfd_read(self.event)
        answers, self.answers = self.answers, []
        return answers


def reply(packet: Packet, kind: Kind, address: IPv4Interface = FORMER) -> Packet:
    """A server's answer."""
    options: dict[int, bytes] = {
        Option.MESSAGE_TYPE: bytes((kind,)),
        Option.SERVER_ID: SERVER.packed,
        Option.LEASE_TIME: (600).to_bytes(4, "big"),
        Option.SUBNET_MASK: address.netmask.packed,
    }
    yiaddr = IPv4Address(0) if kind is Kind.NAK else address.ip
    return Packet(2, packet.xid, packet.chaddr, yiaddr=yiaddr, options=options)


def willing(packet: Packet) -> list[Packet]:
    """Knows the former lease, and offers a fresh one to who asks for one."""
    if packet.kind is Kind.DISCOVER:
        return [reply(packet, Kind.OFFER, FRESH)]
    asked = IPv4Address(packet.options[Option.REQUESTED_ADDRESS])
    return [reply(packet, Kind.ACK, FRESH if asked == FRESH.ip else FORMER)]


def refusing(packet: Packet) -> list[Packet]:
    """Has forgotten the former lease."""
    if packet.kind is Kind.REQUEST and Option.SERVER_ID not in packet.options:
        return [reply(packet, Kind.NAK)]
    return willing(packet)


def silent(_: Packet) -> list[Packet]:
    """Is not there."""
    return []


@dataclass
class Client:
    """An endpoint that remembers a lease, or not."""

    remembered: Lease | None = field(default_factory=lambda: Lease(FORMER, SERVER, 600, boottime()))
    timeout: float = 5.0
    wires: list[PlayedWire] = field(default_factory=list)
    ends: tuple[Connection, Connection] = field(default_factory=Pipe)
    unreleased: list[Lease | None] = field(default_factory=list)

    def run(self, behaviour: Behaviour) -> tuple[Acquired, list[Packet]]:
        """The lease, and what was sent for it."""
        wire = PlayedWire(behaviour)
        self.wires.append(wire)
        requested = self.remembered.address.ip if self.remembered else None
        spec = EndpointSpec("n", "e", BR0, MAC, self.timeout, requested, "web", remembered=self.remembered)
        spec = replace(spec, conflict=ConflictCheck.OFF)
        return acquire(spec, self.ends[1], cast(PacketSocket, wire), self.unreleased.append), wire.sent

    def close(self) -> None:
        """Gives the descriptors back."""
        for end in self.ends:
            end.close()
        for wire in self.wires:
            os.close(wire.event)


@pytest.fixture(name="client")
def _client(monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    monkeypatch.setattr(module, "REBOOT_SECONDS", REBOOT_SECONDS)
    monkeypatch.setattr(tally, "likely_cause", lambda _: "none of this test's")
    client = Client()
    yield client
    client.close()


def kinds(packets: list[Packet]) -> list[Kind]:
    """Of messages, in order."""
    return [packet.kind for packet in packets]


def test_acknowledged(client: Client) -> None:
    """One REQUEST in INIT-REBOOT's form and one ACK make a start; the lease is the server's new one."""
    acquired, (request,) = client.run(willing)
    assert (acquired.confirmed, acquired.lease.address, acquired.lease.duration) == (True, FORMER, 600)
    assert (request.kind, request.chaddr, request.ciaddr) == (Kind.REQUEST, MAC, IPv4Address(0))
    assert IPv4Address(request.options[Option.REQUESTED_ADDRESS]) == FORMER.ip
    assert Option.SERVER_ID not in request.options  # RFC 2131 section 4.3.2
    assert request.hostname == "web"


def test_refused(client: Client) -> None:
    """After a NAK a fresh lease is obtained in another transaction, which does not ask for what was refused."""
    acquired, sent = client.run(refusing)
    assert (acquired.confirmed, acquired.lease.address) == (True, FRESH)
    assert kinds(sent) == [Kind.REQUEST, Kind.DISCOVER, Kind.REQUEST]
    assert Option.REQUESTED_ADDRESS not in sent[1].options
    assert sent[0].xid != sent[1].xid == sent[2].xid


def test_silence(client: Client) -> None:
    """Where no server answers, what is remembered is used, unconfirmed, after a moment and without a DISCOVER."""
    begun = boottime()
    acquired, sent = client.run(silent)
    assert acquired == Acquired(cast(Lease, client.remembered), confirmed=False, watch=None)
    assert kinds(sent) == [Kind.REQUEST] * module.REBOOT_TRIES
    assert REBOOT_SECONDS <= boottime() - begun < REBOOT_SECONDS + 0.5


@pytest.mark.parametrize("remembered", [None, Lease(FORMER, SERVER, 600, boottime() - 601)], ids=["none", "run out"])
def test_nothing_to_begin_with(client: Client, remembered: Lease | None) -> None:
    """Without a valid lease a start begins with a DISCOVER, and fails where no server answers."""
    client.remembered = remembered
    assert kinds(client.run(willing)[1]) == [Kind.DISCOVER, Kind.REQUEST]
    client.timeout = 0.1
    with pytest.raises(NoLease, match="1 DISCOVER sent, 0 answers"):
        client.run(silent)


def test_what_a_request_may_have_brought(client: Client) -> None:
    """From its REQUEST on an offered lease is owed, though no answer is heard."""
    client.remembered, client.timeout = None, 0.1
    with pytest.raises(NoLease, match="none answered"):
        client.run(lambda packet: willing(packet) if packet.kind is Kind.DISCOVER else [])
    assert [(lease.address, lease.server) for lease in client.unreleased if lease] == [(FRESH, SERVER)]


def test_what_a_refusal_leaves(client: Client) -> None:
    """After a NAK nothing is owed."""
    client.remembered, client.timeout = None, 0.1
    with pytest.raises(NoLease, match="refused"):
        client.run(lambda packet: [reply(packet, Kind.OFFER if packet.kind is Kind.DISCOVER else Kind.NAK, FRESH)])
    assert client.unreleased[-1] is None


def test_infinite_lease(client: Client) -> None:
    """It is remembered for ever."""
    client.remembered = replace(cast(Lease, client.remembered), duration=None, obtained=0.0)
    assert not client.run(silent)[0].confirmed


def test_words_of_others(client: Client) -> None:
    """Answers to other clients, in other transactions, or an OFFER that nobody asked for, decide nothing."""

    def confused(packet: Packet) -> list[Packet]:
        nak, offer = reply(packet, Kind.NAK), reply(packet, Kind.OFFER)
        return [replace(nak, xid=nak.xid ^ 1), replace(nak, chaddr="02:00:00:00:00:02"), offer]

    acquired, sent = client.run(confused)
    assert (acquired.confirmed, set(kinds(sent))) == (False, {Kind.REQUEST})


def test_cancelled(client: Client) -> None:
    """The supervisor's word ends it at once, before a lease that was only remembered is used."""
    client.ends[0].send("delete")
    with pytest.raises(Cancelled):
        client.run(silent)
