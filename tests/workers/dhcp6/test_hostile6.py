"""100,000 mutated packets, and a machine that hears anything at any time: nothing but the expected exceptions."""

import random
from contextlib import suppress
from ipaddress import IPv6Address

import pytest

from supervisor.ops.views import view_messages
from tests.netns.process.wire6 import Code, Kind, Option, ia_address, ia_na, status
from tests.workers.dhcp6.client import ADDRESS, ANOTHER, BEGUN, IDENTITY, LEASE, MAC, OTHER, SERVER, Client, granting
from tests.workers.dhcp6.mutations import mutated, seeds
from workers.contract.exchange import taken
from workers.dhcp.errors import InvalidLease, Malformed
from workers.dhcp.machine import MAX_UNRELEASED
from workers.dhcp6.codec import MAX_ADDRESSES, MAX_DOMAINS, Answer
from workers.dhcp6.lease_parser import Refusal, parse_lease
from workers.dhcp6.machine import MAX_OFFERS, State
from workers.dhcp6.packet_socket import parse_packet
from workers.dhcp6.router_advertisement import RouterAdvertisement, identifier_of, slaac_lease

PACKETS, PARTS = 100_000, 4
STEPS = 6_000


def is_usable(address: IPv6Address) -> bool:
    """Whether a container may get it."""
    return not (address.is_multicast or address.is_link_local or address.is_unspecified or address.is_loopback)


@pytest.mark.parametrize("part", range(PARTS))
def test_mutated_packets(part: int) -> None:
    """Each is an answer, an advertisement or Malformed; a lease that comes of one has an address and sane times.
    Operators see what is not malformed."""
    seed = 8415 + part
    print(f"seed {seed}")
    leases = 0
    for data in mutated(PACKETS // PARTS, seed):
        with suppress(Malformed, InvalidLease, Refusal):
            message = parse_packet(data, MAC)
            (seen,) = view_messages(taken())
            assert seen.kind == (message.kind.name if isinstance(message, Answer) else "ROUTER-ADVERT")
            assert len(message.dns) <= MAX_ADDRESSES
            assert len(message.search) <= MAX_DOMAINS
            if isinstance(message, Answer):
                lease = parse_lease(message, IDENTITY.iaid, BEGUN, (ADDRESS,))
            else:
                made = slaac_lease(message, identifier_of(MAC), BEGUN)
                assert message.source.is_link_local
                if made is None:
                    continue
                lease = made
            leases += 1
            assert is_usable(lease.address.ip)
            assert lease.duration != 0
            if lease.t1 is not None and lease.t2 is not None and lease.expires is not None:
                assert BEGUN <= lease.t1 <= lease.t2 <= lease.expires
    assert leases > PACKETS / PARTS / 10


def test_seeds_are_good() -> None:
    """What is mutated has been read in every part before."""
    reply, refusal, advertise, advertisement = [parse_packet(data, MAC) for data in seeds()]
    assert isinstance(reply, Answer)
    assert isinstance(refusal, Answer)
    assert isinstance(advertise, Answer)
    assert isinstance(advertisement, RouterAdvertisement)
    assert reply.search == ("lan.test", "example.org")
    assert (reply.refresh, reply.sol_max_rt, reply.inf_max_rt) == (600, 600, 600)
    assert refusal.status.words == "no"
    assert (advertise.preference, advertise.rapid_commit) == (7, True)
    assert (advertisement.mtu, advertisement.dns, advertisement.search) == (1400, (ADDRESS,), ("lan.test",))


def test_anything_at_any_time() -> None:
    """Whatever it hears in whatever state, the machine goes on: it has a next time, and its memory is bounded."""
    seed = 1808
    print(f"seed {seed}")
    source = random.Random(seed)  # noqa: S311  no secret: the same in each run
    client, now, seen = Client(), BEGUN, set()
    for _ in range(STEPS):
        if client.machine.next_at is None or source.random() < 0.01:
            client, now = _beginning(source, now), now + 1
        if not client.sent or source.random() < 0.5:
            now = max(now, client.machine.next_at or now)
            client.due(now)
        else:
            now += source.random() * source.choice((0.01, 1, 100))
            client.hear(
                source.choice((Kind.ADVERTISE, Kind.REPLY, Kind.REPLY)), now, *_options(source), server=_server(source)
            )
        machine = client.machine
        seen.add(machine.state)
        assert machine.state in (State.BOUND, State.INFORMED) or machine.next_at is not None
        assert (machine.lease is not None) or machine.state is not State.BOUND
        assert len(machine.unreleased) <= MAX_UNRELEASED
        assert len(machine._offers) <= MAX_OFFERS
    assert seen == set(State)


def _beginning(source: random.Random, now: float) -> Client:
    client = Client()
    match source.randrange(4):
        case 0:
            client.machine.reboot(LEASE.renewed(now))
        case 1:
            client.machine.hold(LEASE.renewed(now), now, confirm=source.random() < 0.5)
        case 2:
            client.machine.hold(LEASE.renewed(now), now, confirm=False)
            client.machine.moved(now)
        case _ if source.random() < 0.3:
            client.machine.inform(now)
        case _:
            pass
    return client


def _server(source: random.Random) -> bytes:
    return source.choice((SERVER, SERVER, OTHER))


def _options(source: random.Random) -> list[tuple[int, bytes]]:
    addresses = [ia_address(a, *source.choice(((0, 0), (0, 50), (100, 200)))) for a in (ADDRESS, ANOTHER)]
    codes = [*Code, 99]
    every = [
        granting(),
        granting(ANOTHER, 20, 30),
        ia_na(IDENTITY.iaid, 0, 0, *addresses),
        ia_na(IDENTITY.iaid, 0, 0, status(source.choice(codes))),
        ia_na(IDENTITY.iaid, 9, 8, *addresses),
        status(source.choice(codes), "words"),
        (int(Option.RAPID_COMMIT), b""),
        (int(Option.PREFERENCE), bytes([source.choice((0, 9, 255))])),
    ]
    return source.sample(every, source.randint(0, 4))
