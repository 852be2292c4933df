"""RFC 2131's client, state by state: no socket and no clock, the test tells it the time and what came."""

import copy
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Interface
from itertools import pairwise

import pytest

from tests.netns.process.wire import NOWHERE, Kind, Option, Packet
from workers.contract.client_identity import ClientIdentity
from workers.contract.lease import Lease
from workers.dhcp.effects import Granted, Offered, Refused, Send, Unconfirmed, Unusable
from workers.dhcp4.codec import decode
from workers.dhcp4.machine import FIRST_WAIT_SECONDS, JITTER, REQUEST_TRIES, TABLE, Effect, Machine, Signal, State

MAC = "02:00:00:00:00:01"
SERVER, OTHER = IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2")
ADDRESS, ANOTHER = IPv4Interface("192.0.2.10/24"), IPv4Interface("192.0.2.20/24")
BEGUN, DURATION = 1000.0, 8000
T1, T2, END = BEGUN + DURATION / 2, BEGUN + DURATION * 7 / 8, BEGUN + DURATION
IDENTITY = ClientIdentity.of_mac(MAC, "web")
LEASE = Lease(ADDRESS, SERVER, DURATION, BEGUN)


@dataclass
class Client:
    """A machine, what it has sent, and what it has said."""

    machine: Machine = field(default_factory=lambda: Machine(MAC, IDENTITY))
    sent: list[tuple[Packet, Send]] = field(default_factory=list)
    said: list[Effect] = field(default_factory=list)

    @property
    def last(self) -> Packet:
        """The message that it has sent last."""
        return self.sent[-1][0]

    @property
    def at(self) -> float:
        """When it wants to be called."""
        assert self.machine.next_at is not None
        return self.machine.next_at

    def due(self, now: float | None = None) -> None:
        """It is called, at its time if no other is given."""
        self._take(self.machine.due(self.at if now is None else now))

    def hear(self, kind: Kind, now: float, address: IPv4Interface = ADDRESS, **changes: object) -> None:
        """An answer to what it has sent last; `server` and `options` replace the usual ones."""
        server, options = changes.pop("server", SERVER), changes.pop("options", {})
        assert isinstance(server, IPv4Address)
        assert isinstance(options, dict)
        usual: dict[int, bytes] = {
            Option.MESSAGE_TYPE: bytes((kind,)),
            Option.SERVER_ID: server.packed,
            Option.LEASE_TIME: DURATION.to_bytes(4, "big"),
            Option.SUBNET_MASK: address.netmask.packed,
            Option.MESSAGE: b"no",
        }
        answer = Packet(2, self.last.xid, MAC, yiaddr=address.ip, options={**usual, **options})
        self._take(self.machine.receive(decode(replace(answer, **changes).encode()), now))  # type: ignore[arg-type]

    def _take(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Send):
                self.sent.append((Packet.decode(effect.payload), effect))
            else:
                self.said.append(effect)


def holding(lease: Lease = LEASE, *, confirm: bool = False) -> Client:
    """One that is BOUND."""
    client = Client()
    client.machine.hold(lease, BEGUN, confirm=confirm)
    return client


def requesting() -> Client:
    """One that has asked for an offer."""
    client = Client()
    client.due(BEGUN)
    client.hear(Kind.OFFER, BEGUN + 0.5)
    return client


def in_state(state: State) -> Client:
    """One in a state in which a server is asked about a lease."""
    if state is State.REQUESTING:
        return requesting()
    if state is State.REBOOTING:
        client = Client()
        client.machine.reboot(LEASE)
        client.due(BEGUN)
    else:
        client = holding()
        client.due(T1 if state is State.RENEWING else T2)
    assert client.machine.state is state
    return client


ASKING = [State.REBOOTING, State.REQUESTING, State.RENEWING, State.REBINDING]


def test_first_lease() -> None:
    """DISCOVER, OFFER, REQUEST, ACK; the lease runs from the moment in which the REQUEST was sent."""
    client = requesting()
    client.hear(Kind.ACK, BEGUN + 0.9)

    (discover, _), (request, way) = client.sent
    assert (discover.kind, request.kind, discover.xid) == (Kind.DISCOVER, Kind.REQUEST, request.xid)
    assert IPv4Address(request.options[Option.REQUESTED_ADDRESS]) == ADDRESS.ip
    assert IPv4Address(request.options[Option.SERVER_ID]) == SERVER
    assert (way.source, way.to, request.ciaddr) == (None, None, NOWHERE)
    assert client.said == [Offered(ADDRESS.ip), Granted(replace(LEASE, obtained=BEGUN + 0.5), fresh=True)]
    assert client.machine.state is State.BOUND
    assert not client.machine.unreleased


def test_secs_of_the_request_is_the_discovers() -> None:
    """RFC 2131 section 4.4.1."""
    client = Client()
    client.due(BEGUN)
    client.due(BEGUN + 3)
    client.hear(Kind.OFFER, BEGUN + 5)
    client.due(BEGUN + 7)
    seconds = [int.from_bytes(send.payload[8:10], "big") for _, send in client.sent]
    assert seconds == [0, 3, 3, 3]


def test_retransmission() -> None:
    """Twice as long each time, each time a little otherwise, up to the longest wait (section 4.1)."""
    client = Client(Machine(MAC, IDENTITY, longest_wait=4.0))
    now, waits = BEGUN, []
    for _ in range(5):
        client.due(now)
        waits.append(client.at - now)
        now = client.at
    for wait, usual in zip(waits, (1, 2, 4, 4, 4), strict=True):
        assert usual * (1 - JITTER) * FIRST_WAIT_SECONDS <= wait <= usual * (1 + JITTER) * FIRST_WAIT_SECONDS
    assert len(set(waits)) == len(waits)
    assert {packet.kind for packet, _ in client.sent} == {Kind.DISCOVER}


@pytest.mark.parametrize("state", ASKING)
def test_refusal(state: State) -> None:
    """A NAK of the server that is asked ends each of the states; the next DISCOVER asks for another lease."""
    client = in_state(state)
    client.hear(Kind.NAK, T2 + 1)
    assert client.machine.state is State.INIT
    assert client.said[-1] == Refused("no")
    client.due()
    assert client.last.kind is Kind.DISCOVER
    assert Option.REQUESTED_ADDRESS not in client.last.options
    assert client.machine.remembered is None


@pytest.mark.parametrize("state", ASKING)
def test_refusal_of_another_server(state: State) -> None:
    """It says nothing about a lease that is not its own, in none of the states."""
    client = in_state(state)
    client.hear(Kind.NAK, T2 + 1, server=OTHER)
    assert client.machine.state is state
    assert not [said for said in client.said if isinstance(said, Refused)]


@pytest.mark.parametrize("state", [State.REBOOTING, State.RENEWING, State.REBINDING])
def test_acknowledgement_of_another_server(state: State) -> None:
    """It may extend the lease that we hold, but gives us no other address in its place."""
    client = in_state(state)
    client.hear(Kind.ACK, T2 + 1, IPv4Interface("192.0.2.66/24"), server=OTHER)
    assert (client.machine.state, client.said) == (state, [])
    client.hear(Kind.ACK, T2 + 1, server=OTHER)
    assert client.machine.state is State.BOUND


def test_answers_of_others() -> None:
    """Another transaction, another client, an OFFER that comes too late, and an ACK of a server that is not asked."""
    client = requesting()
    client.hear(Kind.ACK, BEGUN + 1, xid=client.last.xid ^ 1)
    client.hear(Kind.ACK, BEGUN + 1, chaddr="02:00:00:00:00:02")
    client.hear(Kind.OFFER, BEGUN + 1, ANOTHER)
    client.hear(Kind.ACK, BEGUN + 1, server=OTHER)
    assert client.machine.state is State.REQUESTING
    assert client.said == [Offered(ADDRESS.ip)]


@pytest.mark.parametrize(
    "address", ["0.0.0.0/24", "224.0.0.1/24", "255.255.255.255/24", "192.0.2.255/24", "192.0.2.0/24"]
)
@pytest.mark.parametrize("kind", [Kind.OFFER, Kind.ACK])
def test_address_that_no_host_can_have(kind: Kind, address: str) -> None:
    """It is like no answer, and the next one counts."""
    client = Client()
    client.due(BEGUN)
    if kind is Kind.ACK:
        client.hear(Kind.OFFER, BEGUN)
    state = client.machine.state
    client.hear(kind, BEGUN, IPv4Interface(address))
    assert client.machine.state is state
    assert isinstance(client.said[-1], Unusable)
    client.hear(kind, BEGUN)
    assert client.machine.state is (State.BOUND if kind is Kind.ACK else State.REQUESTING)


def test_lease_of_no_time() -> None:
    """A lease of 0 s is no lease."""
    client = Client()
    client.due(BEGUN)
    client.hear(Kind.OFFER, BEGUN, options={Option.LEASE_TIME: bytes(4)})
    assert client.machine.state is State.SELECTING
    assert client.said == [Unusable("the server granted a lease of 0 s")]


def test_offer_without_a_server() -> None:
    """There is nobody whom it could be asked for."""
    client = Client()
    client.due(BEGUN)
    client.hear(Kind.OFFER, BEGUN, options={Option.SERVER_ID: b""})
    assert client.said == [Unusable("what was offered names no server (option 54)")]


def test_silence_after_an_offer() -> None:
    """After some tries another OFFER is asked for; what may have been leased is not forgotten over the next one."""
    client = requesting()
    for _ in range(REQUEST_TRIES):
        assert client.last.kind is Kind.REQUEST
        client.due()
    client.due()
    assert client.last.kind is Kind.DISCOVER
    client.hear(Kind.OFFER, client.at, ANOTHER, server=OTHER)
    assert {(one.server, one.address.ip) for one in client.machine.unreleased} == {
        (SERVER, ADDRESS.ip),
        (OTHER, ANOTHER.ip),
    }
    client.hear(Kind.ACK, client.at, ANOTHER, server=OTHER)
    assert [one.address.ip for one in client.machine.unreleased] == [ADDRESS.ip]


def test_ack_for_another_address() -> None:
    """What is granted is what the ACK says."""
    client = requesting()
    client.hear(Kind.ACK, BEGUN + 1, ANOTHER)
    granted = client.said[-1]
    assert isinstance(granted, Granted)
    assert granted.lease.address == ANOTHER


def test_declined() -> None:
    """A DHCPDECLINE has the fields of table 5, and the next DISCOVER does not ask for that address."""
    client = Client(Machine(MAC, IDENTITY, ADDRESS.ip))
    client.due(BEGUN)
    client.hear(Kind.OFFER, BEGUN)
    client._take(client.machine.decline(LEASE, "02:00:00:00:00:99", BEGUN + 9))
    (decline, send) = client.sent[-1]
    assert (decline.kind, decline.flags, decline.ciaddr, send.source) == (Kind.DECLINE, 0, NOWHERE, None)
    assert send.payload[8:10] == bytes(2)  # secs
    assert IPv4Address(decline.options[Option.REQUESTED_ADDRESS]) == ADDRESS.ip
    assert IPv4Address(decline.options[Option.SERVER_ID]) == SERVER
    allowed = {Option.MESSAGE_TYPE, Option.REQUESTED_ADDRESS, Option.SERVER_ID, Option.CLIENT_ID, Option.MESSAGE}
    assert set(decline.options) <= allowed
    assert not client.machine.unreleased
    client.due()
    assert client.last.kind is Kind.DISCOVER
    assert Option.REQUESTED_ADDRESS not in client.last.options


def test_reboot() -> None:
    """INIT-REBOOT asks everyone for what is remembered; after silence it may be used (section 3.2)."""
    client = in_state(State.REBOOTING)
    assert (client.last.kind, client.last.ciaddr) == (Kind.REQUEST, NOWHERE)
    assert Option.SERVER_ID not in client.last.options
    client.due()
    client.due()
    assert client.said == [Unconfirmed(LEASE)]
    assert (client.machine.state, client.machine.remembered) == (State.BOUND, LEASE)


def test_renewal() -> None:
    """At T1 its server is asked from the address, at T2 everyone; at the end a new lease, for the same address."""
    client = holding()
    assert T1 <= client.at <= T1 + (T2 - T1) * 0.05
    while client.machine.state is not State.SELECTING:
        client.due()
    renewing = [way for packet, way in client.sent if packet.ciaddr == ADDRESS.ip and way.to == SERVER]
    rebinding = [way for packet, way in client.sent if packet.ciaddr == ADDRESS.ip and way.to is None]
    assert {way.source for way in (*renewing, *rebinding)} == {ADDRESS.ip}
    assert len(renewing) >= 3
    assert len(rebinding) >= 3
    assert client.last.kind is Kind.DISCOVER
    assert IPv4Address(client.last.options[Option.REQUESTED_ADDRESS]) == ADDRESS.ip
    forbidden = (Option.REQUESTED_ADDRESS, Option.SERVER_ID)
    assert not [p for p, way in client.sent if way.source and any(o in p.options for o in forbidden)]


def test_a_minute_is_the_floor() -> None:
    """Half of what is left is waited for, a minute at least (section 4.4.5)."""
    client = holding()
    times = []
    while client.machine.state is not State.SELECTING:
        times.append(client.at)
        client.due()
    waits = [after - before for before, after in pairwise(times)]
    at_boundaries = [w for w, end in zip(waits, times[1:], strict=True) if end in (T2, END)]
    assert min(w for w in waits if w not in at_boundaries) >= 60 * (1 - JITTER)
    assert max(waits) <= (T2 - T1) / 2 * (1 + JITTER)


def test_expiry_counts_from_the_request() -> None:
    """Each try is a transaction of its own: the answer to it grants from when it was sent, a late one nothing."""
    client = holding()
    client.due(T1 + 10)
    first = client.last.xid
    client.due(T1 + 500)
    client.hear(Kind.ACK, T1 + 501, xid=first)
    assert client.machine.state is State.RENEWING
    client.hear(Kind.ACK, T1 + 502)
    assert client.said == [Granted(replace(LEASE, obtained=T1 + 500), fresh=False)]


def test_taken_over() -> None:
    """A lease that another process kept is confirmed at once, and soon again where nobody answers."""
    client = holding(confirm=True)
    for _ in range(5):
        before = client.at
        client.due()
        assert client.sent[-1][1].to == SERVER
        assert client.at - before <= 10


def test_for_ever() -> None:
    """An infinite lease that was taken over is confirmed once, and never renewed."""
    client = holding(replace(LEASE, duration=None), confirm=True)
    client.due()
    client.hear(Kind.ACK, BEGUN, options={Option.LEASE_TIME: b"\xff" * 4})
    assert client.machine.next_at is None


@pytest.mark.parametrize(
    ("t1", "t2", "kept"),
    [
        (100, 200, (100, 200)),
        (100, None, (100, None)),
        (200, 100, (None, None)),
        (100, 9000, (None, None)),
        (0, 0, (None, None)),
    ],
)
def test_times_of_the_server(t1: int, t2: int | None, kept: tuple[int | None, int | None]) -> None:
    """Options 58 and 59 count where T1 < T2 < lease, else the RFC's defaults."""
    client = requesting()
    options = {Option.RENEWAL_TIME: t1.to_bytes(4, "big")} | (
        {} if t2 is None else {Option.REBINDING_TIME: t2.to_bytes(4, "big")}
    )
    client.hear(Kind.ACK, BEGUN + 1, options=options)
    granted = client.said[-1]
    assert isinstance(granted, Granted)
    assert (granted.lease.renewal, granted.lease.rebinding) == kept
    assert client.at >= granted.lease.obtained + (kept[0] or DURATION / 2)


def test_useless_answer_to_a_renewal() -> None:
    """The lease goes on, and the server is asked again within seconds."""
    client = in_state(State.RENEWING)
    client.hear(Kind.ACK, T1 + 1, IPv4Interface("0.0.0.0/24"))
    assert isinstance(client.said[-1], Unusable)
    assert client.at <= T1 + 10
    assert client.machine.lease == LEASE


def test_suspend() -> None:
    """A host that sleeps past T2 asks everyone, one that sleeps past the end asks for a lease."""
    for now, state in ((T2 + 1, State.REBINDING), (END + 1, State.INIT)):
        client = holding()
        client.due(now)
        assert client.machine.state is state


def test_every_state_has_a_way_out() -> None:
    """A state in which nothing is due would be one for ever."""
    left = {state for (state, _), (following, _) in TABLE.items() if following is not state}
    assert left == set(State)
    assert all(any(s is state and signal is not Signal.NAK for s, signal in TABLE) for state in State)


def test_what_is_not_in_the_table_changes_nothing() -> None:
    """Whatever comes in a state for which it is not meant."""
    for state in State:
        for kind in (Kind.OFFER, Kind.ACK, Kind.NAK):
            client = requesting()
            client.machine.state = state
            if (state, Signal[kind.name]) not in TABLE:
                before = copy.deepcopy(client.machine)
                client.hear(kind, BEGUN)
                assert client.machine == before
