"""The first IPv6 address. The wire is played, packet by packet, and so is the clock."""

import errno
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from ipaddress import IPv6Address, IPv6Interface, IPv6Network
from typing import Any, ClassVar, cast

import pytest

from tests.netns.process.wire6 import Advertisement, Code, Kind, Option, Packet, ia_na, prefix, rdnss, status
from tests.workers.dhcp6.client import ADDRESS, ANOTHER, IDENTITY, LEASE, MAC, SERVER, granting
from workers.acd.probe import PROBE_SECONDS, AddressProbe
from workers.contract.client_identity import ClientIdentity
from workers.contract.errors import NoLease
from workers.contract.lease import Lease6
from workers.contract.link import LinkKind, LinkSpec
from workers.contract.messages import LAST_AFTER_SECONDS, ConflictCheck, EndpointSpec, Ipv6
from workers.dhcp import first_lease as shared
from workers.dhcp.first_lease import Acquired
from workers.dhcp6 import codec, router_advertisement
from workers.dhcp6.codec import Answer
from workers.dhcp6.first_lease import MAX_ROUTERS, Exchange6, machine_for
from workers.dhcp6.machine import State
from workers.dhcp6.packet_socket import PacketSocket6
from workers.dhcp6.router_advertisement import RouterAdvertisement, eui64
from workers.diagnosis import causes

SECONDS = 5.0
BEGUN = 100.0
DELAY = 0.001  # of each answer
ROUTER, SECOND_ROUTER = IPv6Address("fe80::1"), IPv6Address("fe80::3")
ROUTER_MAC, STRANGER = "02:00:00:00:00:fe", "02:00:00:00:00:99"
NETWORK = IPv6Network("2001:db8:1::/64")
PREFIX = prefix(NETWORK, 0xC0, 600, 300)
DNS, DNS_OF_ROUTER = IPv6Address("2001:db8::53"), IPv6Address("2001:db8::54")
M, O = 0x80, 0x40  # noqa: E741  the RFC's names
OUR_SLAAC = eui64(NETWORK, MAC)
SPEC = EndpointSpec(
    *("n", "e", LinkSpec(LinkKind.BRIDGE, "br0"), MAC, IDENTITY, SECONDS), ipv6=Ipv6.DHCP, conflict=ConflictCheck.OFF
)
Behaviour = Callable[[Packet], list[Packet]]


def reply(packet: Packet, kind: Kind, *options: tuple[int, bytes]) -> Packet:
    """A server's answer."""
    return Packet(kind, packet.xid, [(Option.CLIENT_ID, IDENTITY.duid), (Option.SERVER_ID, SERVER), *options])


def willing(packet: Packet) -> list[Packet]:
    """Grants one address to all, without rapid commit, and tells a name server."""
    if packet.kind is Kind.SOLICIT:
        return [reply(packet, Kind.ADVERTISE, granting())]
    if packet.kind is Kind.INFORMATION_REQUEST:
        return [reply(packet, Kind.REPLY, (Option.DNS, DNS.packed))]
    return [reply(packet, Kind.REPLY, granting())]


def silent(_: Packet) -> list[Packet]:
    """Is not there."""
    return []


def advertised(
    *options: bytes, flags: int = 0, lifetime: int = 1800, router: IPv6Address = ROUTER
) -> RouterAdvertisement:
    """What a router says."""
    message = Advertisement(flags, lifetime, options).encode()
    return router_advertisement.decode(message, router, 255, ROUTER_MAC)


@dataclass
class PlayedWire:
    """Servers' behaviour and what routers answer, instead of a network."""

    behaviour: Behaviour
    routers: list[RouterAdvertisement]
    sent: list[Packet] = field(default_factory=list)
    heard: list[Answer | RouterAdvertisement] = field(default_factory=list)
    solicitations: int = 0

    def fileno(self) -> int:
        """Of nothing."""
        return -1

    def send(self, payload: bytes) -> None:
        """The servers' answers wait from now on."""
        packet = Packet.decode(payload)
        self.sent.append(packet)
        self.heard += [codec.decode(answer.encode(), ROUTER_MAC) for answer in self.behaviour(packet)]

    def solicit_router(self) -> None:
        """The routers answer."""
        self.solicitations += 1
        self.heard += self.routers

    def receive(self) -> list[Answer | RouterAdvertisement]:
        """All that came."""
        heard, self.heard = self.heard, []
        return heard

    @property
    def kinds(self) -> list[Kind]:
        """The messages that were sent to servers."""
        return [packet.kind for packet in self.sent]


@dataclass
class GoneWire(PlayedWire):
    """Its socket tells once that the link is gone."""

    is_gone: bool = False

    def receive(self) -> list[Answer | RouterAdvertisement]:
        """Raises OSError."""
        if self.is_gone:
            self.is_gone = False
            raise OSError(errno.ENETDOWN, "Network is down")
        return super().receive()


class PlayedProbe(AddressProbe):
    """Neighbours that have answered as soon as they are asked."""

    owners: ClassVar[dict[IPv6Address, str]] = {}
    now: ClassVar[float] = BEGUN
    asked: IPv6Address | None = None

    @property
    def address(self) -> IPv6Address | None:
        """No socket hears its claims."""
        return self.asked

    def forget(self) -> None:
        """As if a socket were closed."""
        super().forget()
        self.asked = None

    def probe(self, interface: str, address: object, asker: object = None) -> None:
        """Their MAC is there at once."""
        assert isinstance(address, IPv6Address)
        self.forget()
        self.asked = address
        self._heard = [self.owners[address]] if address in self.owners else []
        self.settled_at = self.now + PROBE_SECONDS


@dataclass
class Search:
    """One exchange and how long it took."""

    spec: EndpointSpec
    wire: PlayedWire
    exchange: Exchange6
    seconds: float = 0.0

    @property
    def result(self) -> Acquired[Lease6]:
        """What it has found."""
        assert self.exchange.acquired is not None
        return self.exchange.acquired


def search(
    behaviour: Behaviour = silent, *routers: RouterAdvertisement, seconds: float = SECONDS, **changes: object
) -> Search:
    """Runs until it has found something, or the time is over."""
    spec = replace(SPEC, **changes)  # type: ignore[arg-type]
    wire = PlayedWire(behaviour, list(routers))
    exchange = Exchange6(spec, machine_for(spec, BEGUN), cast(PacketSocket6, wire), "eth0", BEGUN)
    now = BEGUN
    while exchange.acquired is None and now < BEGUN + seconds:
        PlayedProbe.now = now
        exchange.step(now)
        now = now + DELAY if wire.heard else max(now, exchange.next_at or math.inf)
    return Search(spec, wire, exchange, now - BEGUN)


@pytest.fixture(autouse=True)
def _played(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "AddressProbe", PlayedProbe)
    monkeypatch.setattr(PlayedProbe, "owners", {})
    monkeypatch.setattr(causes, "diagnose", lambda *_, **__: ())
    monkeypatch.setattr(causes, "port_security", lambda: None)


def test_dhcp() -> None:
    """Four messages and one router solicitation; the router that was heard is known, its prefix makes no address."""
    found = search(willing, advertised(PREFIX, flags=M))
    assert found.wire.kinds == [Kind.SOLICIT, Kind.REQUEST]
    assert (found.result.lease.address.ip, found.result.confirmed) == (ADDRESS, True)
    assert found.result.lease.router == ROUTER
    assert found.wire.solicitations == 1
    assert found.seconds < 0.05


@pytest.mark.parametrize("mode", [Ipv6.DHCP, Ipv6.ONLY])
def test_dhcp_does_not_wait_for_a_router(mode: Ipv6) -> None:
    """No router needs to answer, and nothing that one says keeps the client from asking."""
    found = search(willing, ipv6=mode)
    assert found.result.lease.router is None
    assert search(willing, advertised(), ipv6=mode).result.lease.address.ip == ADDRESS


def test_slaac() -> None:
    """The address of the MAC in the advertised prefix, and no word to a DHCPv6 server, even with the flags set."""
    found = search(willing, advertised(PREFIX, rdnss(60, DNS_OF_ROUTER), flags=M | O), ipv6=Ipv6.SLAAC)
    lease = found.result.lease
    assert (lease.address.ip, lease.slaac, lease.dns) == (OUR_SLAAC, True, (DNS_OF_ROUTER,))
    assert found.wire.kinds == []


def test_router_that_answers_late() -> None:
    """The solicitation is repeated after one second, and after three."""
    found = search(silent, ipv6=Ipv6.SLAAC)
    assert found.exchange.acquired is None
    assert found.wire.solicitations == 3
    found.wire.heard.append(advertised(PREFIX))
    found.exchange.step(BEGUN + 4.5)
    assert found.result.lease.address.ip == OUR_SLAAC


@pytest.mark.parametrize(
    ("flags", "kinds", "address", "dns"),
    [
        (M, [Kind.SOLICIT, Kind.REQUEST], ADDRESS, ()),
        (M | O, [Kind.SOLICIT, Kind.REQUEST], ADDRESS, ()),
        (O, [Kind.INFORMATION_REQUEST], OUR_SLAAC, (DNS,)),
        (0, [], OUR_SLAAC, (DNS_OF_ROUTER,)),
    ],
)
def test_auto(flags: int, kinds: list[Kind], address: IPv6Address, dns: tuple[IPv6Address, ...]) -> None:
    """M: an address from DHCPv6; O: name servers from it; neither: all from the router."""
    found = search(willing, advertised(PREFIX, rdnss(60, DNS_OF_ROUTER), flags=flags), ipv6=Ipv6.AUTO)
    assert found.wire.kinds == kinds
    assert (found.result.lease.address.ip, found.result.lease.dns) == (address, dns)


def test_auto_without_configuration() -> None:
    """Where no server answers the question for name servers, the address waits a second for them, no more."""
    found = search(silent, advertised(PREFIX, rdnss(60, DNS_OF_ROUTER), flags=O), ipv6=Ipv6.AUTO)
    assert (found.result.lease.address.ip, found.result.lease.dns) == (OUR_SLAAC, (DNS_OF_ROUTER,))
    assert found.seconds == pytest.approx(1.0, abs=0.01)


def test_auto_without_a_router() -> None:
    """No server is asked before a router says that there is one."""
    found = search(willing, ipv6=Ipv6.AUTO)
    assert (found.exchange.acquired, found.wire.kinds) == (None, [])


def test_remembered() -> None:
    """One Rebind makes a start, also with `auto` and before any router was heard."""
    for mode in (Ipv6.DHCP, Ipv6.AUTO):
        found = search(willing, ipv6=mode, remembered6=replace(LEASE, obtained=BEGUN))
        assert found.wire.kinds == [Kind.REBIND]
        assert (found.result.lease.address.ip, found.result.confirmed) == (ADDRESS, True)


def test_remembered_but_no_server() -> None:
    """It is used after a second, unconfirmed."""
    found = search(silent, remembered6=replace(LEASE, obtained=BEGUN))
    assert (found.result.lease.address.ip, found.result.confirmed) == (ADDRESS, False)
    assert found.seconds == pytest.approx(1.0)


def test_remembered_slaac() -> None:
    """A router's prefix confirms it; where no router answers for a second it is used as it was."""
    remembered = Lease6(IPv6Interface(OUR_SLAAC), b"", 600, BEGUN, 300, slaac=True)
    found = search(silent, ipv6=Ipv6.SLAAC, remembered6=remembered)
    assert (found.result.lease, found.result.confirmed) == (remembered, False)
    assert found.seconds == pytest.approx(1.0)
    other = replace(remembered, address=IPv6Interface("2001:db8:9::1"))
    found = search(silent, advertised(PREFIX), ipv6=Ipv6.SLAAC, remembered6=other)
    assert (found.result.lease.address.ip, found.result.confirmed) == (OUR_SLAAC, True)
    assert search(willing, ipv6=Ipv6.DHCP, remembered6=remembered).result.lease.address.ip == ADDRESS


@pytest.mark.parametrize(
    ("conflict", "seconds"), [(ConflictCheck.OFF, 0), (ConflictCheck.DETECT, 0), (ConflictCheck.WAIT, PROBE_SECONDS)]
)
@pytest.mark.parametrize("mode", [Ipv6.DHCP, Ipv6.SLAAC])
def test_how_long_others_are_waited_for(mode: Ipv6, conflict: ConflictCheck, seconds: float) -> None:
    """Only `wait` costs time, and then all that a neighbour may need."""
    found = search(willing, advertised(PREFIX), ipv6=mode, conflict=conflict)
    assert seconds <= found.seconds < seconds + 0.05


def test_address_in_use() -> None:
    """The server is told, and gives another one."""
    addresses = iter((ADDRESS, ADDRESS, ANOTHER, ANOTHER))
    PlayedProbe.owners[ADDRESS] = STRANGER

    def answer(packet: Packet) -> list[Packet]:
        if packet.kind is Kind.DECLINE:
            return []
        kind = Kind.ADVERTISE if packet.kind is Kind.SOLICIT else Kind.REPLY
        return [reply(packet, kind, granting(next(addresses)))]

    found = search(answer, conflict=ConflictCheck.WAIT)
    assert found.result.lease.address.ip == ANOTHER
    assert found.wire.kinds[:3] == [Kind.SOLICIT, Kind.REQUEST, Kind.DECLINE]
    assert found.wire.sent[2].addresses == [ADDRESS]


def test_router_that_answers_for_all() -> None:
    """The machine that the server's answer came from does not have the address (RFC 4389)."""
    PlayedProbe.owners[ADDRESS] = ROUTER_MAC
    assert search(willing, conflict=ConflictCheck.WAIT).result.lease.address.ip == ADDRESS


def test_all_addresses_in_use() -> None:
    """After three the search ends."""
    PlayedProbe.owners[ADDRESS] = STRANGER
    with pytest.raises(NoLease, match=f"3 addresses in a row .* br0 are in use already: {ADDRESS} by {STRANGER}"):
        search(willing, conflict=ConflictCheck.WAIT)


def test_slaac_without_a_mac() -> None:
    """An ipvlan's address ends with its token, which is no reserved identifier; the error about it says so."""
    changes: dict[str, Any] = {
        "link": LinkSpec(LinkKind.IPVLAN, "eth0"),
        "client_identity": ClientIdentity.of_seed("web"),
        "ipv6": Ipv6.SLAAC,
        "conflict": ConflictCheck.DETECT,
    }
    found = search(silent, advertised(PREFIX), **changes)
    address, token = found.result.lease.address.ip, found.spec.token
    assert token is not None
    assert address == NETWORK.network_address + int(token)
    assert 0x80 <= token.packed[8] <= 0xBF  # reserved ones begin with 0, 2 and fd (RFC 5453)
    PlayedProbe.owners[address] = STRANGER
    with pytest.raises(NoLease, match=f"{address}, which follows from the client's identity, is in use on eth0"):
        search(silent, advertised(PREFIX), **changes)


def test_slaac_address_in_use() -> None:
    """There is no other one: the error says why."""
    PlayedProbe.owners[OUR_SLAAC] = STRANGER
    with pytest.raises(
        NoLease, match=f"{OUR_SLAAC}, which follows from the MAC address, is in use on br0 by {STRANGER}"
    ):
        search(silent, advertised(PREFIX), ipv6=Ipv6.SLAAC, conflict=ConflictCheck.DETECT)


def refusing(packet: Packet) -> list[Packet]:
    """Offers and does not grant."""
    if packet.kind is Kind.SOLICIT:
        return willing(packet)
    return [reply(packet, Kind.REPLY, ia_na(IDENTITY.iaid, 0, 0, status(Code.NO_ADDRS_AVAIL, "sold out")))]


def exhausted(packet: Packet) -> list[Packet]:
    """Has nothing to offer."""
    return [reply(packet, Kind.ADVERTISE, status(Code.NO_ADDRS_AVAIL, "sold out"))]


@pytest.mark.parametrize(
    ("mode", "behaviour", "routers", "words"),
    [
        (
            Ipv6.DHCP,
            silent,
            (),
            "no ADVERTISE on br0 in 5 s (3 SOLICIT sent, 0 answers): no router advertisement was seen: ",
        ),
        (Ipv6.DHCP, silent, (advertised(PREFIX),), "(M flag off): use -o ipv6=slaac"),
        (
            Ipv6.DHCP,
            silent,
            (advertised(),),
            "the router fe80::1 says that there is no DHCPv6 server for addresses (M flag",
        ),
        (Ipv6.DHCP, silent, (advertised(flags=M),), "(M flag), but none answers"),
        (Ipv6.DHCP, exhausted, (), "3 answers): the server granted nothing: NO_ADDRS_AVAIL 'sold out'"),
        (Ipv6.DHCP, refusing, (), "requests were refused by the server, last with NO_ADDRS_AVAIL 'sold out'"),
        (
            Ipv6.DHCP,
            lambda packet: willing(packet) if packet.kind is Kind.SOLICIT else [],
            (),
            "no REPLY on br0 in 5 s (1 SOLICIT sent, 1 answers): 3 REQUEST sent for what was offered, none answered",
        ),
        (
            Ipv6.SLAAC,
            silent,
            (),
            "with a prefix for SLAAC on br0 in 5 s (3 router solicitations sent, 0 routers heard): no router adv",
        ),
        (
            Ipv6.SLAAC,
            silent,
            (advertised(flags=M),),
            "the router fe80::1 advertises no /64 with the A flag: use -o ipv6=true",
        ),
        (
            Ipv6.AUTO,
            silent,
            (advertised(),),
            "no /64 with the A flag: configure one on the router",
        ),
        (Ipv6.AUTO, silent, (advertised(flags=M),), "no ADVERTISE on br0 in 5 s"),
    ],
)
def test_failure(mode: Ipv6, behaviour: Behaviour, routers: tuple[RouterAdvertisement, ...], words: str) -> None:
    """The error says what was awaited, what was sent and seen, and what to do."""
    found = search(behaviour, *routers, ipv6=mode)
    assert found.exchange.acquired is None
    assert words in str(found.exchange.failure())


def test_two_routers() -> None:
    """The one with the higher preference counts, one that is no default router last, then the first one."""
    first, second = advertised(PREFIX), advertised(PREFIX, flags=0x08, router=SECOND_ROUTER)
    assert search(willing, first, second).result.lease.router == SECOND_ROUTER
    assert search(willing, first, advertised(PREFIX, router=SECOND_ROUTER)).result.lease.router == ROUTER
    assert search(willing, advertised(lifetime=0), second).result.lease.router == SECOND_ROUTER


def test_many_routers() -> None:
    """A LAN full of them does not fill our memory."""
    routers = [advertised(router=ROUTER + number) for number in range(10 * MAX_ROUTERS)]
    found = search(silent, *routers, ipv6=Ipv6.SLAAC)
    assert len(found.exchange._routers) == MAX_ROUTERS


def test_what_a_request_may_have_brought() -> None:
    """From its Request on an offered lease may be ours, though no answer is heard; it is given back."""
    found = search(lambda packet: willing(packet) if packet.kind is Kind.SOLICIT else [])
    assert [(one.server, one.address.ip) for one in found.exchange.machine.unreleased] == [(SERVER, ADDRESS)]
    found.exchange.release_others()
    assert (found.wire.kinds[-1], found.wire.sent[-1].addresses) == (Kind.RELEASE, [ADDRESS])
    assert not found.exchange.machine.unreleased


def test_granted_as_the_link_goes() -> None:
    """An answer that nobody had read when the link went is read at the end: its lease is given back."""
    wire = GoneWire(lambda packet: [reply(packet, Kind.REPLY, (Option.RAPID_COMMIT, b""), granting())], [])
    exchange = Exchange6(SPEC, machine_for(SPEC, BEGUN), cast(PacketSocket6, wire), "eth0", BEGUN)
    exchange.step(BEGUN)
    wire.is_gone = True
    exchange.close()
    assert exchange.machine.granted is not None
    assert exchange.machine.granted.address.ip == ADDRESS


def test_machine_of_a_remembered_slaac_address() -> None:
    """There is no server that could be asked for it."""
    remembered = Lease6(IPv6Interface(OUR_SLAAC), b"", None, BEGUN, slaac=True)
    assert machine_for(replace(SPEC, remembered6=remembered), BEGUN).state is State.INIT


@pytest.mark.parametrize(
    ("changes", "owner", "used"),
    [
        ({}, None, True),
        ({"ipv6": Ipv6.AUTO}, None, True),
        ({"drop_expired": True}, None, False),
        ({}, STRANGER, False),
        ({"remembered6": replace(LEASE, address=IPv6Interface(OUR_SLAAC), obtained=-1e6, slaac=True)}, None, False),
    ],
    ids=["keep", "auto", "drop", "in use", "slaac"],
)
def test_run_out(changes: dict[str, Any], owner: str | None, used: bool) -> None:
    """If no server answers for a while, the last address of one is used, unless another machine has it. One that was
    made of a prefix is not: without a router it would lead nowhere."""
    PlayedProbe.owners |= {ADDRESS: owner} if owner else {}
    found = search(silent, **{"remembered6": replace(LEASE, obtained=-1e6)} | changes)
    if used:
        assert (found.result.lease.address.ip, found.result.confirmed) == (ADDRESS, False)
        assert found.seconds == pytest.approx(LAST_AFTER_SECONDS + PROBE_SECONDS)
    else:
        assert found.exchange.acquired is None
        assert (f"; and the last address, {ADDRESS}, is in use by {owner}" in str(found.exchange.failure())) is bool(
            owner
        )
    assert found.exchange.machine.granted is None
    assert set(found.wire.kinds) <= {Kind.SOLICIT}


@pytest.mark.parametrize("behaviour", [refusing, willing])
def test_run_out_and_answered(behaviour: Behaviour) -> None:
    """What a server refuses is not used, and where one answers, its word counts."""
    found = search(behaviour, remembered6=replace(LEASE, obtained=-1e6))
    assert (found.exchange.acquired is not None and found.result.confirmed) is (behaviour is willing)
