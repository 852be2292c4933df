"""The renewer's packets and clock: its peer is a real socket in a namespace of its own, its clock the test's."""

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Interface

import pytest

from tests.lab.command import run
from tests.netns.process.wire import Kind, Option, Packet
from workers.contract.lease import Lease
from workers.dhcp4 import renewer as module
from workers.dhcp4.lease_parser import parse_lease
from workers.dhcp4.renewer import Renewer
from workers.dhcp4.udhcpc import Event, EventKind
from workers.system.namespaces import new_namespace

MAC = "02:00:00:00:00:01"
SERVER, OTHER = IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2")
EVERYONE = IPv4Address("255.255.255.255")
BEGUN, DURATION = 1000.0, 800
T1, T2 = BEGUN + DURATION * 0.5, BEGUN + DURATION * 0.875
LEASE = Lease(IPv4Interface("192.0.2.10/24"), SERVER, DURATION, BEGUN)
IP_PKTINFO = 8


@dataclass
class Question:
    """A client's message as it came."""

    packet: Packet
    source: IPv4Address
    destination: IPv4Address


@dataclass
class Lan:
    """A server's socket, and the time that it is."""

    socket: socket.socket
    now: float = BEGUN
    renewers: list[Renewer] = field(default_factory=list)

    def renewer(self, lease: Lease = LEASE, hostname: str | None = None) -> Renewer:
        """One that takes this lease over now."""
        renewer = Renewer("lo", MAC, lease, hostname)
        self.renewers.append(renewer)
        return renewer

    def ask(self, renewer: Renewer, now: float) -> Question:
        """What is sent at that time."""
        self.now = now
        renewer.ask()
        data, (control, *_), _, (host, port) = self.socket.recvmsg(65536, 256)
        assert port == 68
        destination = struct.unpack("=I4s4s", control[2])[2]
        return Question(Packet.decode(data), IPv4Address(host), IPv4Address(destination))

    def answer(self, renewer: Renewer, packet: Packet) -> list[Event]:
        """What is reported of this answer."""
        self.socket.sendto(packet.encode(), (str(LEASE.address.ip), 68))
        return renewer.read_events()


def reply(question: Packet, kind: Kind = Kind.ACK, server: IPv4Address = SERVER, duration: int = DURATION) -> Packet:
    """A server's answer."""
    options: dict[int, bytes] = {
        Option.MESSAGE_TYPE: bytes((kind,)),
        Option.SERVER_ID: server.packed,
        Option.LEASE_TIME: duration.to_bytes(4, "big"),
        Option.SUBNET_MASK: LEASE.address.netmask.packed,
        Option.MESSAGE: b"no",
    }
    return Packet(2, question.xid, MAC, yiaddr=LEASE.address.ip, options=options)


@pytest.fixture(name="lan")
def _lan(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lan]:
    with new_namespace() as namespace, namespace.visit():
        run("ip", "link", "set", "lo", "up")
        for address in (SERVER, OTHER, LEASE.address.ip):
            run("ip", "addr", "add", f"{address}/24", "dev", "lo")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
            server.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
            server.settimeout(2)
            server.bind(("", 67))
            lan = Lan(server)
            monkeypatch.setattr(module, "boottime", lambda: lan.now)
            yield lan
            for renewer in lan.renewers:
                renewer.close()


def test_takes_over_at_once(lan: Lan) -> None:
    """The first REQUEST is due when the lease is taken over: unicast, from the address, in RENEWING's form."""
    renewer = lan.renewer(hostname="web")
    assert renewer.next_at == BEGUN
    question = lan.ask(renewer, BEGUN)
    packet = question.packet
    assert (question.source, question.destination) == (LEASE.address.ip, SERVER)
    assert (packet.kind, packet.ciaddr, packet.flags) == (Kind.REQUEST, LEASE.address.ip, 0)
    assert packet.options[Option.CLIENT_ID].hex(":") == f"01:{MAC}"
    assert packet.hostname == "web"
    # RFC 2131, table 5: neither of them while renewing.
    assert Option.REQUESTED_ADDRESS not in packet.options
    assert Option.SERVER_ID not in packet.options


def test_rests_until_t1(lan: Lan) -> None:
    """After an ACK the next REQUEST is due at half of the new lease, in another transaction."""
    renewer = lan.renewer()
    first = lan.ask(renewer, BEGUN + 10)
    (event,) = lan.answer(renewer, reply(first.packet))
    assert event.kind is EventKind.RENEW
    lease = parse_lease(event.values, lan.now)
    assert (lease.address, lease.server, lease.duration) == (LEASE.address, SERVER, DURATION)
    renewer.accept(lease)
    assert renewer.next_at == BEGUN + 10 + DURATION / 2
    second = lan.ask(renewer, T1 + 10)
    assert (second.destination, second.packet.xid != first.packet.xid) == (SERVER, True)


def test_silence(lan: Lan) -> None:
    """Unicast until T2, broadcast from then on, ever more often."""
    renewer = lan.renewer()
    renewer.accept(LEASE)
    assert renewer.next_at == T1
    seen = []
    now = T1
    while now < BEGUN + DURATION:
        question = lan.ask(renewer, now)
        seen.append((now, question.destination))
        assert question.source == LEASE.address.ip
        before, now = now, renewer.next_at
        assert 2 <= now - before <= 60
    unicast = [now for now, to in seen if to == SERVER]
    broadcast = [now for now, to in seen if to == EVERYONE]
    assert unicast + broadcast == [now for now, _ in seen]
    assert unicast[0] == T1
    assert unicast[-1] < T2 <= broadcast[0]
    assert len(unicast) >= 5
    assert len(broadcast) >= 4


def test_unconfirmed_is_asked_more_often(lan: Lan) -> None:
    """A lease that was taken over is confirmed soon after a server that was silent is back."""
    renewer = lan.renewer(replace(LEASE, duration=86400))
    now = BEGUN
    for _ in range(5):
        lan.ask(renewer, now)
        assert renewer.next_at is not None
        assert renewer.next_at - now <= 10
        now = renewer.next_at


def test_infinite_lease(lan: Lan) -> None:
    """It is confirmed once, and never renewed."""
    renewer = lan.renewer(replace(LEASE, duration=None))
    question = lan.ask(renewer, BEGUN)
    (event,) = lan.answer(renewer, reply(question.packet, duration=0xFFFFFFFF))
    lease = parse_lease(event.values, lan.now)
    assert lease.duration is None
    renewer.accept(lease)
    assert renewer.next_at is None


def test_another_server(lan: Lan) -> None:
    """The next REQUEST goes to whoever sent the last ACK; to everyone where no server is known."""
    renewer = lan.renewer(replace(LEASE, server=None))
    question = lan.ask(renewer, BEGUN)
    assert question.destination == EVERYONE
    (event,) = lan.answer(renewer, reply(question.packet, server=OTHER))
    renewer.accept(parse_lease(event.values, lan.now))
    assert lan.ask(renewer, T1).destination == OTHER


def test_refusal(lan: Lan) -> None:
    """A NAK is reported with the server's words."""
    renewer = lan.renewer()
    question = lan.ask(renewer, BEGUN)
    (event,) = lan.answer(renewer, reply(question.packet, Kind.NAK))
    assert (event.kind, event.values["message"]) == (EventKind.NAK, "no")


def test_words_of_others(lan: Lan) -> None:
    """Another transaction, another client, an OFFER and garbage are no answer; what follows them is."""
    renewer = lan.renewer()
    question = lan.ask(renewer, BEGUN)
    good = reply(question.packet)
    for packet in (replace(good, xid=good.xid ^ 1), replace(good, chaddr="02:00:00:00:00:02"), replace(good, op=1)):
        assert lan.answer(renewer, packet) == []
    assert lan.answer(renewer, reply(question.packet, Kind.OFFER)) == []
    lan.socket.sendto(b"garbage", (str(LEASE.address.ip), 68))
    lan.socket.sendto(b"", (str(LEASE.address.ip), 68))
    assert renewer.read_events() == []
    assert [e.kind for e in lan.answer(renewer, good)] == [EventKind.RENEW]


def test_no_way_to_the_server(lan: Lan) -> None:
    """A REQUEST that cannot be sent, as without a route, is one that was not answered."""
    renewer = lan.renewer(replace(LEASE, server=IPv4Address("203.0.113.1")))
    renewer.ask()
    assert renewer.next_at is not None
    assert renewer.next_at > BEGUN


def test_interface_that_is_gone(lan: Lan) -> None:
    """Without its interface there is no renewer, and no descriptor of it either."""
    with pytest.raises(OSError, match="No such device"):
        Renewer("gone0", MAC, LEASE, None)
