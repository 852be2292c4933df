"""The first lease, with or without a remembered one. The wire is played, packet by packet."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Interface, IPv6Address
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import ClassVar, cast

import pytest

from tests.lab.command import SLACK_SECONDS
from tests.netns.process.wire import Kind, Option, Packet
from workers.acd.probe import AddressProbe
from workers.contract.client_identity import ClientIdentity
from workers.contract.errors import NoLease
from workers.contract.lease import Family, Lease
from workers.contract.link import LinkKind, LinkSpec
from workers.contract.messages import ConflictCheck, EndpointSpec
from workers.dhcp import first_lease as shared
from workers.dhcp.machine import REBOOT_TRIES
from workers.dhcp4 import first_lease, machine
from workers.dhcp4.codec import Answer, decode
from workers.dhcp4.first_lease import Exchange4, machine_for
from workers.dhcp4.machine import Machine
from workers.dhcp4.packet_socket import PacketSocket
from workers.diagnosis import causes
from workers.endpoint.acquisition import Acquired, Cancelled, acquire
from workers.system.clock import boottime

BR0 = LinkSpec(LinkKind.BRIDGE, "br0")
MAC = "02:00:00:00:00:01"
SERVER = IPv4Address("192.0.2.1")
ROUTER, STRANGER = "02:00:00:00:00:fe", "02:00:00:00:00:99"
FORMER, FRESH = IPv4Interface("192.0.2.10/24"), IPv4Interface("192.0.2.20/24")
RUN_OUT = Lease(FORMER, SERVER, 600, boottime() - 601)
REBOOT_WAIT_SECONDS = 0.15
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

    def send(self, payload: bytes) -> None:
        """The server's answers wait from now on."""
        packet = Packet.decode(payload)
        self.sent.append(packet)
        for answer in self.behaviour(packet):
            self.answers.append(decode(answer.encode(), ROUTER))
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


class PlayedProbe(AddressProbe):
    """Neighbours that have answered as soon as they are asked."""

    owners: ClassVar[dict[IPv4Address | IPv6Address, str]] = {}
    asked: IPv4Address | IPv6Address | None = None

    @property
    def address(self) -> IPv4Address | IPv6Address | None:
        """No socket hears its claims."""
        return self.asked

    def forget(self) -> None:
        """As if a socket were closed."""
        super().forget()
        self.asked = None

    def probe(self, interface: str, address: IPv4Address | IPv6Address, asker: object = None) -> None:
        """Their MAC is there before any server's answer."""
        self.forget()
        self.asked = address
        self._heard = [self.owners[address]] if address in self.owners else []


@dataclass
class Client:
    """An endpoint that remembers a lease, or not."""

    remembered: Lease | None = field(default_factory=lambda: Lease(FORMER, SERVER, 600, boottime()))
    timeout: float = 2 * SLACK_SECONDS
    drop_expired: bool = False
    wires: list[PlayedWire] = field(default_factory=list)
    ends: tuple[Connection, Connection] = field(default_factory=Pipe)
    machine: Machine | None = None

    @property
    def unreleased(self) -> list[tuple[object, object]]:
        """Server and address of what may have been leased besides."""
        assert self.machine is not None
        return [(one.server, one.address.ip) for one in self.machine.unreleased]

    def run(self, behaviour: Behaviour) -> tuple[Acquired, list[Packet]]:
        """The lease, and what was sent for it."""
        wire = PlayedWire(behaviour)
        self.wires.append(wire)
        requested = self.remembered.address.ip if self.remembered else None
        identity = ClientIdentity.of_mac(MAC, "web")
        spec = EndpointSpec("n", "e", BR0, MAC, identity, self.timeout, requested, remembered=self.remembered)
        spec = replace(spec, conflict=ConflictCheck.OFF, drop_expired=self.drop_expired)
        self.machine = machine_for(spec)
        exchange = Exchange4(spec, self.machine, cast(PacketSocket, wire))
        return acquire(spec, {Family.IPV4: exchange}, self.ends[1])[Family.IPV4], wire.sent

    def close(self) -> None:
        """Gives the descriptors back."""
        for end in self.ends:
            end.close()
        for wire in self.wires:
            os.close(wire.event)


@pytest.fixture(name="client")
def _client(monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    monkeypatch.setattr(machine, "REBOOT_WAIT_SECONDS", REBOOT_WAIT_SECONDS)
    monkeypatch.setattr(machine, "FIRST_WAIT_SECONDS", 0.2)
    monkeypatch.setattr(first_lease, "likely_cause", lambda *_, **__: "none of this test's")
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
    assert (acquired.lease, acquired.confirmed) == (client.remembered, False)
    assert kinds(sent) == [Kind.REQUEST] * REBOOT_TRIES
    assert REBOOT_TRIES * REBOOT_WAIT_SECONDS <= boottime() - begun < SLACK_SECONDS


def test_answer_that_waits_when_a_message_is_due(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine comes late to both: the answer counts, and no message is sent again."""
    monkeypatch.setattr(machine, "FIRST_WAIT_SECONDS", 1e-6)
    client.remembered = None
    assert kinds(client.run(willing)[1]) == [Kind.DISCOVER, Kind.REQUEST]


def test_answer_that_waits_when_the_time_is_over(client: Client) -> None:
    """A busy machine comes late to it: it counts all the same."""
    client.remembered, client.timeout = None, 0.1

    def busy(packet: Packet) -> list[Packet]:
        if packet.kind is Kind.REQUEST:
            time.sleep(client.timeout)  # in which nothing runs
        return willing(packet)

    assert client.run(busy)[0].lease.address == FRESH


@pytest.mark.parametrize("remembered", [None, RUN_OUT], ids=["none", "run out"])
def test_nothing_to_begin_with(client: Client, remembered: Lease | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a valid lease a start begins with a DISCOVER, and fails where no server answers, unless with
    `expired=keep` there is one that has run out."""
    monkeypatch.setattr(machine, "FIRST_WAIT_SECONDS", SLACK_SECONDS)  # one DISCOVER, on a busy machine, too
    client.remembered, client.drop_expired = remembered, True
    assert kinds(client.run(willing)[1]) == [Kind.DISCOVER, Kind.REQUEST]
    client.timeout = 0.1
    with pytest.raises(NoLease, match="DISCOVER sent, 0 answers"):
        client.run(silent)
    client.drop_expired = False
    assert kinds(client.run(willing)[1]) == [Kind.DISCOVER, Kind.REQUEST]
    if remembered is None:
        with pytest.raises(NoLease, match="DISCOVER sent, 0 answers"):
            client.run(silent)
    else:
        acquired, sent = client.run(silent)
        assert (acquired.lease, acquired.confirmed, kinds(sent)) == (remembered, False, [Kind.DISCOVER])


def test_run_out_and_asked_for(client: Client) -> None:
    """A server that offers it and falls silent does not keep a container from its last address: what it may have
    leased is not given back, as the container uses it. One that refuses does."""
    client.remembered, client.timeout = RUN_OUT, 0.6

    def offering(packet: Packet) -> list[Packet]:
        return [reply(packet, Kind.OFFER)] if packet.kind is Kind.DISCOVER else []

    assert not client.run(offering)[0].confirmed
    assert not client.unreleased
    with pytest.raises(NoLease, match="refused"):
        client.run(lambda packet: offering(packet) or [reply(packet, Kind.NAK)])


@pytest.mark.parametrize("owner", [None, STRANGER])
def test_run_out_and_in_use(client: Client, monkeypatch: pytest.MonkeyPatch, owner: str | None) -> None:
    """Its address is used only if no other machine has it. Servers are asked on then, and the error says who has it."""
    monkeypatch.setattr(shared, "AddressProbe", PlayedProbe)
    monkeypatch.setattr(PlayedProbe, "owners", {FORMER.ip: owner} if owner else {})
    client.remembered, client.timeout = RUN_OUT, 0.1
    if owner is None:
        assert client.run(silent)[0].lease == RUN_OUT
    else:
        with pytest.raises(
            NoLease, match=f"none of this test's; and the last address, {FORMER.ip}, is in use by {owner}"
        ):
            client.run(silent)


def test_server_that_answers_others(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names a server that was heard to answer another client, and does not blame the host."""
    client.remembered, client.timeout = None, 0.1
    monkeypatch.setattr(first_lease, "likely_cause", causes.likely_cause)
    monkeypatch.setattr(causes, "diagnose", lambda *_, **__: ())
    words = rf"0 answers\): the DHCP server {SERVER} answers others \(1 answers seen\), but not"
    with pytest.raises(NoLease, match=words):
        client.run(lambda packet: [replace(reply(packet, Kind.OFFER), chaddr="02:00:00:00:00:99")])


def test_what_a_request_may_have_brought(client: Client) -> None:
    """From its REQUEST on an offered lease may be ours, though no answer is heard."""
    client.remembered, client.timeout = None, 0.1
    with pytest.raises(NoLease, match="none answered"):
        client.run(lambda packet: willing(packet) if packet.kind is Kind.DISCOVER else [])
    assert client.unreleased == [(SERVER, FRESH.ip)]


def test_what_a_refusal_leaves(client: Client) -> None:
    """After a NAK there is nothing to be given back."""
    client.remembered, client.timeout = None, 0.1
    with pytest.raises(NoLease, match="refused"):
        client.run(lambda packet: [reply(packet, Kind.OFFER if packet.kind is Kind.DISCOVER else Kind.NAK, FRESH)])
    assert not client.unreleased


def test_two_servers_that_fall_silent(client: Client) -> None:
    """What either of them may have leased is remembered, although a later OFFER was asked for."""
    client.remembered, client.timeout = None, 5.0
    offers = iter((FORMER, FRESH))

    def fickle(packet: Packet) -> list[Packet]:
        if packet.kind is Kind.DISCOVER:
            return [reply(packet, Kind.OFFER, next(offers))]
        asked = IPv4Address(packet.options[Option.REQUESTED_ADDRESS])
        return [reply(packet, Kind.ACK, FRESH)] if asked == FRESH.ip else []

    acquired, _ = client.run(fickle)
    assert acquired.lease.address == FRESH
    assert client.unreleased == [(SERVER, FORMER.ip)]


@pytest.mark.parametrize("owner", [ROUTER, STRANGER])
def test_remembered_address_that_somebody_answers_for(
    client: Client, monkeypatch: pytest.MonkeyPatch, owner: str
) -> None:
    """A router that answers for everybody is known by the ACK; anybody else has the address: it is declined."""
    monkeypatch.setattr(shared, "AddressProbe", PlayedProbe)
    monkeypatch.setattr(PlayedProbe, "owners", {FORMER.ip: owner})

    acquired, sent = client.run(willing)

    if owner == ROUTER:
        assert (kinds(sent), acquired.lease.address) == ([Kind.REQUEST], FORMER)
    else:
        assert (kinds(sent)[:3], acquired.lease.address) == ([Kind.REQUEST, Kind.DECLINE, Kind.DISCOVER], FRESH)
        assert Option.REQUESTED_ADDRESS not in sent[2].options


def test_ack_for_another_address(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is probed for like one that was offered, and declined where somebody has it."""
    monkeypatch.setattr(shared, "AddressProbe", PlayedProbe)
    monkeypatch.setattr(PlayedProbe, "owners", {FORMER.ip: STRANGER})
    client.remembered = None
    first = iter((FORMER,))

    def fickle(packet: Packet) -> list[Packet]:
        kind = Kind.OFFER if packet.kind is Kind.DISCOVER else Kind.ACK
        return [reply(packet, kind, next(first, FRESH) if kind is Kind.ACK else FRESH)]

    acquired, sent = client.run(fickle)

    assert kinds(sent) == [Kind.DISCOVER, Kind.REQUEST, Kind.DECLINE, Kind.DISCOVER, Kind.REQUEST]
    assert IPv4Address(sent[2].options[Option.REQUESTED_ADDRESS]) == FORMER.ip
    assert acquired.lease.address == FRESH


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
