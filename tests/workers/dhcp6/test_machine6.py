"""RFC 8415's client, state by state: no socket and no clock, the test tells it the time and what came."""

from dataclasses import replace
from ipaddress import IPv6Address
from itertools import pairwise

import pytest

from tests.netns.process.wire6 import INFINITE, Code, Kind, Option, Packet, ia_address, ia_na, status, wire_names
from tests.workers.dhcp6.client import (
    ADDRESS,
    ANOTHER,
    BEGUN,
    END,
    IDENTITY,
    LEASE,
    MAC,
    OTHER,
    PREFERRED,
    SERVER,
    T1,
    T2,
    VALID,
    Client,
    granting,
    holding,
    in_state,
    informing,
    rebooting,
    requesting,
    soliciting,
)
from workers.dhcp.effects import Configured, Granted, Offered, Refused, Unanswered, Unconfirmed, Unusable
from workers.dhcp.machine import MAX_UNRELEASED
from workers.dhcp6.codec import Answer, decode
from workers.dhcp6.machine import (
    CHOICE_SECONDS,
    MAX_OFFERS,
    RAND,
    REFRESH_SECONDS,
    REQUEST_TRIES,
    TABLE,
    Machine,
    Signal,
    State,
)
from workers.entry.handover import pack, unpack

RENEWALS = [State.RENEW, State.REBIND, State.REBOOT]
SERVER_ADDRESS = IPv6Address("2001:db8::53")
RAPID = (int(Option.RAPID_COMMIT), b"")


def refusing(code: Code, words: str = "no") -> tuple[int, bytes]:
    """An IA_NA without an address."""
    return ia_na(IDENTITY.iaid, 0, 0, status(code, words))


def granted(client: Client) -> list[IPv6Address]:
    """The addresses that it has said to be granted."""
    return [said.lease.address.ip for said in client.said if isinstance(said, Granted)]


def test_first_lease() -> None:
    """SOLICIT, ADVERTISE, REQUEST, REPLY; each carries what RFC 8415 wants, and the lease runs from the Reply on."""
    client = requesting()
    client.hear(Kind.REPLY, BEGUN + 0.9, granting())

    solicit, request = client.sent
    assert client.kinds == [Kind.SOLICIT, Kind.REQUEST]
    assert solicit.xid != request.xid
    assert {packet.option(Option.CLIENT_ID) for packet in client.sent} == {IDENTITY.duid}
    assert (solicit.option(Option.SERVER_ID), request.option(Option.SERVER_ID)) == (None, SERVER)
    assert (solicit.option(Option.RAPID_COMMIT), request.option(Option.RAPID_COMMIT)) == (b"", None)
    assert (solicit.addresses, request.addresses) == ([], [ADDRESS])
    assert solicit.option(Option.FQDN) == b"\1\3web"
    assert client.said == [Offered(ADDRESS), Granted(replace(LEASE, obtained=BEGUN + 0.9), fresh=True)]
    assert client.machine.state is State.BOUND
    assert not client.machine.unreleased


def test_requested_address() -> None:
    """It is the hint of the first Solicit."""
    client = Client(Machine(MAC, IDENTITY, ANOTHER))
    client.due(BEGUN)
    assert client.last.addresses == [ANOTHER]


def test_rapid_commit() -> None:
    """A Reply to the Solicit is a lease if it says so; without the option it is nothing (section 18.2.10)."""
    client = soliciting()
    client.hear(Kind.REPLY, BEGUN + 0.1, granting())
    assert client.said == []
    client.hear(Kind.REPLY, BEGUN + 0.1, granting(), RAPID)
    assert (granted(client), client.kinds) == ([ADDRESS], [Kind.SOLICIT])
    assert client.machine.state is State.BOUND


def test_second_rapid_commit() -> None:
    """A lease that another server has committed besides is given back."""
    client = soliciting()
    client.hear(Kind.REPLY, BEGUN + 0.1, granting(), RAPID)
    client.hear(Kind.REPLY, BEGUN + 0.2, granting(), RAPID)
    assert not client.machine.unreleased
    client.hear(Kind.REPLY, BEGUN + 0.2, granting(ANOTHER), RAPID, server=OTHER)
    assert [(one.server, one.address.ip) for one in client.machine.unreleased] == [(OTHER, ANOTHER)]
    assert granted(client) == [ADDRESS]


def test_several_servers() -> None:
    """The others get a moment after the first one; the highest preference counts, then the first to answer."""
    client = soliciting()
    client.hear(Kind.ADVERTISE, BEGUN + 0.004, granting())
    assert client.at == pytest.approx(BEGUN + 0.004 + CHOICE_SECONDS)
    client.hear(Kind.ADVERTISE, BEGUN + 0.006, granting(ANOTHER), (Option.PREFERENCE, b"\5"), server=OTHER)
    client.hear(Kind.ADVERTISE, BEGUN + 0.007, granting(ANOTHER), (Option.PREFERENCE, b"\5"), server=b"third")
    client.due()
    assert client.last.option(Option.SERVER_ID) == OTHER
    assert client.said == [Offered(ANOTHER)]


def test_repeated_solicit() -> None:
    """The first Advertise after it is taken at once (section 18.2.1)."""
    client = soliciting()
    client.due()
    client.hear(Kind.ADVERTISE, BEGUN + 2, granting())
    assert client.last.kind is Kind.REQUEST


def test_best_preference() -> None:
    """255 is taken at once."""
    client = soliciting()
    client.hear(Kind.ADVERTISE, BEGUN + 0.1, granting(), (Option.PREFERENCE, b"\xff"))
    assert client.last.kind is Kind.REQUEST


def test_next_server() -> None:
    """The others are asked where the best one refuses or falls silent; what it may have leased is remembered."""
    client = soliciting()
    client.hear(Kind.ADVERTISE, BEGUN, granting(), (Option.PREFERENCE, b"\2"))
    client.hear(Kind.ADVERTISE, BEGUN, granting(ANOTHER), (Option.PREFERENCE, b"\1"), server=OTHER)
    client.hear(Kind.ADVERTISE, BEGUN, granting(), server=b"third")
    client.due()
    client.hear(Kind.REPLY, BEGUN + 1, refusing(Code.NO_ADDRS_AVAIL))
    assert client.last.option(Option.SERVER_ID) == OTHER
    assert [(one.server, one.address.ip) for one in client.machine.unreleased] == [(OTHER, ANOTHER)]
    for _ in range(REQUEST_TRIES):
        client.due()
    assert client.last.option(Option.SERVER_ID) == b"third"
    client.hear(Kind.REPLY, BEGUN + 9, granting(), server=b"third")
    assert [(one.server, one.address.ip) for one in client.machine.unreleased] == [(OTHER, ANOTHER)]
    assert granted(client) == [ADDRESS]


def test_memory_is_bounded() -> None:
    """Servers that offer and never grant do not fill it."""
    client = Client()
    for number in range(3 * MAX_UNRELEASED):
        client.due(BEGUN + 100 * number)
        client.hear(Kind.ADVERTISE, BEGUN, granting(ADDRESS + number), server=bytes([1, number]))
        client.hear(Kind.ADVERTISE, BEGUN, granting(ADDRESS + number), server=bytes([2, number]))
        while client.machine.state is not State.INIT:
            client.due()
    assert len(client.machine.unreleased) == MAX_UNRELEASED
    client.due(BEGUN)
    for number in range(3 * MAX_OFFERS):
        client.hear(Kind.ADVERTISE, BEGUN, granting(), server=bytes([1, number]))
    assert len(client.machine._offers) == MAX_OFFERS


def test_solicit_again() -> None:
    """Twice as long each time, each time a little otherwise; the first wait is longer than 1 s (section 15)."""
    client, waits, now = Client(), [], BEGUN
    for _ in range(10):
        client.due(now)
        waits.append(client.at - now)
        now = client.at
    assert 1 < waits[0] <= 1 + RAND
    for before, wait in pairwise(waits[:7]):
        assert 2 - RAND <= wait / before <= 2 + RAND
    assert all(120 * (1 - RAND) <= wait <= 120 * (1 + RAND) for wait in waits[8:])
    assert len({packet.xid for packet in client.sent}) == 1
    elapsed = [int.from_bytes(packet.option(Option.ELAPSED) or b"") for packet in client.sent]
    assert elapsed[0] == 0
    assert elapsed[1] == int(waits[0] * 100)
    assert client.said == [Unanswered()]


@pytest.mark.parametrize(("seconds", "longest"), [(60, 60), (86400, 86400), (59, 120), (86401, 120)])
def test_sol_max_rt(seconds: int, longest: int) -> None:
    """A server sets the longest wait, even one that has no address; values out of range are ignored (section 21.24)."""
    client = soliciting()
    limit = (Option.SOL_MAX_RT, seconds.to_bytes(4))
    client.hear(Kind.ADVERTISE, BEGUN, limit, refusing(Code.NO_ADDRS_AVAIL, "none left"))
    assert client.said == [Unusable("the server granted nothing: NO_ADDRS_AVAIL 'none left'")]
    now = BEGUN
    for _ in range(20):
        now = client.at
        client.due(now)
    assert longest * (1 - RAND) <= client.at - now <= longest * (1 + RAND)


@pytest.mark.parametrize("state", [State.REQUEST, *RENEWALS])
def test_answers_of_others(state: State) -> None:
    """Another transaction or another client means nothing."""
    client = in_state(state)
    client.hear(Kind.REPLY, BEGUN + 1, granting(), xid=client.last.xid ^ 1)
    reply = [(Option.CLIENT_ID, b"me"), (Option.SERVER_ID, SERVER), granting()]
    client.take(client.machine.receive(_answer(client, reply), BEGUN + 1))
    client.hear(Kind.ADVERTISE, BEGUN + 1, granting(ANOTHER))
    assert client.machine.state is state
    assert not granted(client)


def _answer(client: Client, options: list[tuple[Option, bytes] | tuple[int, bytes]]) -> Answer:
    packet = Packet(Kind.REPLY, client.last.xid, [(int(code), value) for code, value in options])
    return decode(packet.encode())


@pytest.mark.parametrize("state", [State.REQUEST, State.RENEW])
def test_answer_of_a_server_that_was_not_asked(state: State) -> None:
    """Request and Renew are for one server."""
    client = in_state(state)
    client.hear(Kind.REPLY, T1 + 1, granting(), server=OTHER)
    assert client.machine.state is state


@pytest.mark.parametrize("state", [State.REBIND, State.REBOOT])
def test_lease_of_another_server(state: State) -> None:
    """It may extend the lease that we hold, but gives us no other address in its place."""
    client = in_state(state)
    client.hear(Kind.REPLY, T2 + 1, granting(ANOTHER), server=OTHER)
    assert (client.machine.state, client.said) == (state, [])
    client.hear(Kind.REPLY, T2 + 1, granting(), server=OTHER)
    assert client.machine.state is State.BOUND


def test_renewal() -> None:
    """Renew at T1 to the server, Rebind at T2 to all; another server may extend the lease then."""
    client = holding()
    assert T1 <= client.at <= T1 + 0.02 * (T2 - T1)
    client.due()
    assert (client.kinds, client.last.addresses) == ([Kind.RENEW], [ADDRESS])
    assert client.last.option(Option.SERVER_ID) == SERVER
    while client.machine.state is State.RENEW:
        client.due()
    assert client.last.option(Option.SERVER_ID) is None
    assert client.kinds.count(Kind.REBIND) == 1
    client.hear(Kind.REPLY, T2 + 5, granting(), server=OTHER)
    (said,) = client.said
    assert said == Granted(replace(LEASE, obtained=T2 + 5, server=OTHER), fresh=False)


def test_renew_again() -> None:
    """After 10 s, doubled up to 600 s, and never beyond T2 (section 18.2.4)."""
    client, waits = holding(), []
    client.due(T1)
    now = T1
    while client.machine.state is State.RENEW:
        waits.append(client.at - now)
        now = client.at
        client.due()
    assert 9 <= waits[0] <= 11
    assert max(waits) <= 660
    assert now == T2


def test_short_lease_is_asked_for_more_than_once() -> None:
    """Between T1 and T2 of a lease of 40 s there are several Renews, and Rebinds before its end."""
    client = holding(replace(LEASE, duration=40, preferred=25, renewal=10, rebinding=25))
    while client.machine.state is not State.INIT:
        client.due()
    assert client.kinds.count(Kind.RENEW) >= 2
    assert client.kinds.count(Kind.REBIND) >= 2


def test_end() -> None:
    """A lease that nobody extends has run out; the next Solicit asks for its address."""
    client = holding()
    while client.machine.state is not State.INIT:
        client.due()
    assert client.at == END
    client.due()
    assert (client.last.kind, client.last.addresses) == (Kind.SOLICIT, [ADDRESS])
    client.hear(Kind.REPLY, END + 1, granting(), RAPID)
    assert client.said[-1] == Granted(replace(LEASE, obtained=END + 1), fresh=True)


@pytest.mark.parametrize("state", RENEWALS)
def test_renumbered(state: State) -> None:
    """A new address beside one whose lifetime is 0, or that is deprecated, is the lease from now on."""
    for preferred, valid in ((0, 0), (0, 100)):
        client = in_state(state)
        old, new = ia_address(ADDRESS, preferred, valid), ia_address(ANOTHER, PREFERRED, VALID)
        client.hear(Kind.REPLY, T2, ia_na(IDENTITY.iaid, 0, 0, old, new))
        assert granted(client) == [ANOTHER]
        assert client.machine.state is State.BOUND


@pytest.mark.parametrize("state", RENEWALS)
def test_ended_by_its_server(state: State) -> None:
    """A lifetime of 0 without a new address, or the server's word, leads to a Solicit without a hint."""
    ended = ia_na(IDENTITY.iaid, 0, 0, ia_address(ADDRESS, 0, 0))
    for answer in (ended, refusing(Code.NOT_ON_LINK), status(Code.NOT_ON_LINK)):
        client = in_state(state)
        client.hear(Kind.REPLY, T2, answer)
        assert client.machine.state is State.INIT
        assert isinstance(client.said[-1], Refused)
        assert client.machine.remembered is None
        client.due()
        assert (client.last.kind, client.last.addresses) == (Kind.SOLICIT, [])


@pytest.mark.parametrize("state", RENEWALS)
def test_server_that_has_lost_the_lease(state: State) -> None:
    """NoBinding is answered by a Request for the same address (section 18.2.10.1); the lease goes on meanwhile, and is
    not released as one that nobody has heard of."""
    client = in_state(state)
    client.hear(Kind.REPLY, T2, refusing(Code.NO_BINDING))
    assert not client.machine.unreleased
    assert client.last.kind is Kind.REQUEST
    assert (client.last.option(Option.SERVER_ID), client.last.addresses) == (SERVER, [ADDRESS])
    assert client.machine.lease == LEASE
    client.hear(Kind.REPLY, T2 + 1, granting())
    assert client.said == [Granted(replace(LEASE, obtained=T2 + 1), fresh=False)]


@pytest.mark.parametrize("state", [State.REBIND, State.REBOOT])
def test_refusal_of_another_server(state: State) -> None:
    """It counts only if the lease's own server stays silent until the next message is due."""
    client = in_state(state)
    client.hear(Kind.REPLY, T2 + 0.1, refusing(Code.NO_BINDING), server=OTHER)
    assert (client.machine.state, client.said) == (state, [])
    client.hear(Kind.REPLY, T2 + 0.2, granting())
    assert client.machine.state is State.BOUND

    client = in_state(state)
    client.hear(Kind.REPLY, T2 + 0.1, refusing(Code.NO_BINDING), server=OTHER)
    while client.machine.state is state:
        client.due()
    assert client.machine.state is State.INIT
    assert client.said == [Refused("NO_BINDING 'no'")]


@pytest.mark.parametrize("state", [State.RENEW, State.REBIND])
@pytest.mark.parametrize("code", [Code.UNSPEC_FAIL, Code.NO_ADDRS_AVAIL, Code.USE_MULTICAST, 77])
def test_trouble_of_the_server(state: State, code: Code) -> None:
    """It does not end a lease: the server is asked again soon."""
    for answer in (refusing(code), status(code)):
        client = in_state(state)
        client.hear(Kind.REPLY, T2, answer)
        assert isinstance(client.said[-1], Unusable)
        assert client.machine.lease == LEASE
        assert client.at <= T2 + 5


@pytest.mark.parametrize(
    "answer",
    [
        (),
        (ia_na(IDENTITY.iaid ^ 1, 0, 0, ia_address(ADDRESS, PREFERRED, VALID)),),
        (ia_na(IDENTITY.iaid, 0, 0),),
        (ia_na(IDENTITY.iaid, 200, 100, ia_address(ADDRESS, PREFERRED, VALID)),),
        (ia_na(IDENTITY.iaid, 0, 0, ia_address(ADDRESS, VALID, PREFERRED)),),
        *((granting(IPv6Address(a)),) for a in ("::", "::1", "ff02::1", "fe80::1", "::ffff:192.0.2.1")),
    ],
)
@pytest.mark.parametrize("state", [State.REQUEST, *RENEWALS])
def test_unusable_answer(state: State, answer: tuple[tuple[int, bytes], ...]) -> None:
    """It is like no answer, and the next one counts."""
    client = in_state(state)
    client.hear(Kind.REPLY, T2, *answer)
    assert client.machine.state is state
    assert isinstance(client.said[-1], Unusable)
    client.hear(Kind.REPLY, T2, granting())
    assert client.machine.state is State.BOUND


@pytest.mark.parametrize("code", [Code.NO_ADDRS_AVAIL, Code.NOT_ON_LINK, Code.NO_BINDING])
def test_refused_request(code: Code) -> None:
    """The search begins anew, without the address and after a pause, and nothing is left to be given back."""
    for answer in (refusing(code), status(code, "no")):
        client = requesting()
        client.hear(Kind.REPLY, BEGUN + 1, answer)
        assert (client.machine.state, client.at) == (State.INIT, BEGUN + 2)
        assert client.said[-1] == Refused(f"{code.name} 'no'")
        assert not client.machine.unreleased
        client.due()
        assert client.last.addresses == []


def test_silence_after_an_offer() -> None:
    """After some tries the search begins anew; what may have been leased is not forgotten."""
    client = requesting()
    for _ in range(REQUEST_TRIES):
        client.due()
    assert client.machine.state is State.INIT
    assert client.kinds.count(Kind.REQUEST) == REQUEST_TRIES
    assert [(one.server, one.address.ip) for one in client.machine.unreleased] == [(SERVER, ADDRESS)]


def test_remembered() -> None:
    """The first message is a Rebind for it, which any server may answer."""
    client = rebooting()
    assert (client.last.kind, client.last.addresses) == (Kind.REBIND, [ADDRESS])
    client.hear(Kind.REPLY, BEGUN + 0.1, granting(), server=OTHER)
    assert client.said == [Granted(replace(LEASE, obtained=BEGUN + 0.1, server=OTHER), fresh=False)]
    assert client.machine.remembered is None


def test_remembered_but_no_server() -> None:
    """A lease that still runs is used without an answer after a second."""
    client = rebooting()
    while client.machine.state is State.REBOOT:
        client.due()
    assert client.said == [Unconfirmed(LEASE)]
    assert client.kinds == [Kind.REBIND] * 2
    assert client.machine.remembered == LEASE


def test_taken_over() -> None:
    """A lease that another process held is renewed at once; a silent server is asked every ten seconds."""
    client = holding(confirm=True)
    client.due()
    assert client.last.kind is Kind.RENEW
    for _ in range(20):
        before = client.at
        client.due()
        assert client.at - before <= 11
    client = holding(LEASE.renewed(BEGUN - VALID), confirm=True)
    client.due(BEGUN)
    assert client.machine.state is State.INIT


def test_moved() -> None:
    """After a link change all servers are asked whether the address fits; silence and SUCCESS leave it as it was."""
    for answer in (status(Code.SUCCESS), None):
        client = in_state(State.CONFIRM)
        assert (client.last.kind, client.last.addresses) == (Kind.CONFIRM, [ADDRESS])
        assert client.last.option(Option.SERVER_ID) is None
        if answer:
            client.hear(Kind.REPLY, BEGUN + 1, answer, server=OTHER)
        while client.machine.state is State.CONFIRM:
            client.due()
        assert (client.machine.state, client.machine.lease, client.said) == (State.BOUND, LEASE, [])
        assert T1 <= client.at <= T2


def test_moved_to_another_network() -> None:
    """NotOnLink of any server ends the lease."""
    client = in_state(State.CONFIRM)
    client.hear(Kind.REPLY, BEGUN + 1, status(Code.NOT_ON_LINK, "other link"), server=OTHER)
    assert client.said == [Refused("NOT_ON_LINK 'other link'")]
    assert client.machine.state is State.INIT


def test_confirm_lasts_ten_seconds() -> None:
    """CNF_MAX_RD."""
    client, last = in_state(State.CONFIRM), 0.0
    while client.machine.state is State.CONFIRM:
        last = client.at
        client.due()
    assert last == BEGUN + 10
    assert 3 <= client.kinds.count(Kind.CONFIRM) <= 5


@pytest.mark.parametrize("state", [State.INIT, State.SOLICIT, State.REQUEST])
def test_moved_without_a_lease(state: State) -> None:
    """There is nothing to confirm."""
    client = Client() if state is State.INIT else in_state(state)
    client.machine.moved(BEGUN)
    assert client.machine.state is state


@pytest.mark.parametrize(("valid", "preferred"), [(INFINITE, INFINITE), (INFINITE, 100)])
def test_infinite(valid: int, preferred: int) -> None:
    """A lease without an end is never renewed."""
    client = requesting()
    client.hear(Kind.REPLY, BEGUN, granting(ADDRESS, preferred, valid))
    assert client.machine.next_at is None
    assert client.machine.lease is not None
    assert client.machine.lease.runs(BEGUN + 1e9)


@pytest.mark.parametrize(
    ("t1", "t2", "preferred", "valid", "expected"),
    [
        (0, 0, 100, 200, (50, 80)),
        (10, 20, 100, 200, (10, 20)),
        (0, 60, 100, 200, (50, 60)),
        (70, 0, 100, 200, (70, 80)),
        (90, 0, 100, 200, (50, 80)),
        (INFINITE, INFINITE, 100, 200, (50, 80)),
        (0, 0, 0, 200, (100, 160)),
        (0, 0, 1, 1, (1, 1)),
        (30, 200, 100, 200, (50, 80)),
    ],
)
def test_times(t1: int, t2: int, preferred: int, valid: int, expected: tuple[int, int]) -> None:
    """The server's T1 and T2, or shares of the preferred lifetime; a deprecated address counts by its valid one."""
    client = requesting()
    client.hear(Kind.REPLY, BEGUN, ia_na(IDENTITY.iaid, t1, t2, ia_address(ADDRESS, preferred, valid)))
    lease = client.machine.lease
    assert lease is not None
    assert (lease.renewal, lease.rebinding) == expected


def test_several_addresses() -> None:
    """Of several the one that was asked for is taken, if it is not deprecated."""
    addresses = [ia_address(a, PREFERRED, VALID) for a in (ANOTHER, ADDRESS)]
    client = requesting()
    client.hear(Kind.REPLY, BEGUN, ia_na(IDENTITY.iaid, 0, 0, *addresses))
    assert granted(client) == [ADDRESS]
    client = requesting()
    client.hear(Kind.REPLY, BEGUN, ia_na(IDENTITY.iaid, 0, 0, ia_address(ADDRESS, 0, VALID), *addresses[:1]))
    assert granted(client) == [ANOTHER]


def test_decline() -> None:
    """The server is told, and the search begins anew without that address."""
    client = requesting()
    client.hear(Kind.REPLY, BEGUN + 1, granting())
    client.take(client.machine.decline(LEASE, MAC, BEGUN + 1))
    assert (client.last.kind, client.last.addresses) == (Kind.DECLINE, [ADDRESS])
    assert client.last.option(Option.SERVER_ID) == SERVER
    assert not client.machine.unreleased
    client.due()
    assert (client.last.kind, client.last.addresses) == (Kind.SOLICIT, [])


def test_declined_memory() -> None:
    """A remembered address that another machine has is ours no more."""
    client = rebooting()
    client.hear(Kind.REPLY, BEGUN, granting())
    client.machine.remembered = LEASE
    client.take(client.machine.decline(LEASE, MAC, BEGUN))
    assert client.machine.remembered is None


def test_information() -> None:
    """Without an address: name servers and search list, asked for anew after the refresh time."""
    client = informing()
    assert client.last.option(Option.IA_NA) is None
    wanted = client.last.option(Option.REQUESTED) or b""
    assert {int.from_bytes(wanted[i : i + 2]) for i in range(0, len(wanted), 2)} >= {23, 24, 32, 83}
    client.hear(
        Kind.REPLY,
        BEGUN + 1,
        (Option.DNS, SERVER_ADDRESS.packed),
        (Option.SEARCH, wire_names("lan.test")),
        (Option.REFRESH, (1000).to_bytes(4)),
    )
    assert client.said == [Configured((SERVER_ADDRESS,), ("lan.test",), 1000)]
    assert (client.machine.state, client.at) == (State.INFORMED, BEGUN + 1001)
    client.due()
    assert client.kinds == [Kind.INFORMATION_REQUEST] * 2


@pytest.mark.parametrize(("refresh", "seconds"), [(None, REFRESH_SECONDS), (1, 600), (INFINITE, None)])
def test_refresh_time(refresh: int | None, seconds: int | None) -> None:
    """Without one a day, at least ten minutes, and for ever where the server says so (section 21.23)."""
    client = informing()
    client.hear(Kind.REPLY, BEGUN, *([] if refresh is None else [(int(Option.REFRESH), refresh.to_bytes(4))]))
    assert client.said == [Configured((), (), seconds)]
    assert client.machine.next_at == (None if seconds is None else BEGUN + seconds)


def test_every_state_goes_on() -> None:
    """Each state has a time at which it is left or repeated, and each signal leads to a state of the table."""
    for state in State:
        assert any(known is state and signal in (Signal.DUE, Signal.T1) for known, signal in TABLE)
    assert {following for following, _ in TABLE.values()} <= {state for state, _ in TABLE}


@pytest.mark.parametrize("state", [State.SOLICIT, State.REQUEST, State.CONFIRM, State.INFORM, *RENEWALS])
def test_handed_over(state: State) -> None:
    """A machine goes on in another process, in the middle of an exchange."""
    client = in_state(state)
    packed, numbers = pack(client.machine)
    client.machine = unpack(packed, numbers, Machine)
    client.hear(Kind.REPLY, T2, granting(), RAPID)
    assert client.machine.state in (State.BOUND, State.INFORMED)
