"""The bindings do not grow for ever: ten thousand containers come, run for a moment, and are removed."""

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import cache
from ipaddress import IPv4Address, IPv4Interface
from typing import cast

import pytest

from supervisor.engine.identity import COMEBACK_SECONDS
from supervisor.state import bindings as module
from supervisor.state.bindings import FORGET_SECONDS, MOST_IDLE, Bindings
from supervisor.state.records import Binding
from supervisor.state.store import Store
from workers.contract.client_identity import ClientIdentity
from workers.contract.lease import Family, Lease
from workers.contract.link import LinkKind, LinkSpec
from workers.contract.messages import EndpointSpec

CONTAINERS = 10_000
MANY = 500
PAUSE_SECONDS = 2.0  # from one to the next
TICK_EVERY = 50  # containers
LEASE_SECONDS = 86400
NETWORK = "n" * 64
SERVER = IPv4Address("10.0.0.1")
BR0 = LinkSpec(LinkKind.BRIDGE, "br0")


@cache
def _address(number: int) -> IPv4Interface:
    return IPv4Interface(((10 << 24) + number, 8))


@cache
def _spec(number: int) -> EndpointSpec:
    mac = f"02:00:00:00:{number >> 8:02x}:{number & 255:02x}"
    return EndpointSpec(NETWORK, f"{number:064x}", BR0, mac, ClientIdentity.of_mac(mac), 10.0)


@dataclass
class Rows:
    """The table, in memory."""

    found: dict[tuple[str, str], Binding] = field(default_factory=dict)

    def put(self, one: Binding) -> None:
        """As the store."""
        self.found[one.network_id, one.key] = one

    def drop(self, _table: str, network_id: str, key: str) -> None:
        """As the store, but that the row must be there."""
        del self.found[network_id, key]

    together = staticmethod(nullcontext)


@dataclass
class World:
    """One plugin with its clocks, which are hurried."""

    rows: Rows
    memory: Bindings
    now: float = 0.0
    most: int = 0

    def spec(self, number: int) -> EndpointSpec:
        """Of a container's endpoint."""
        return _spec(number)

    def lease(self, number: int) -> Lease:
        """One of a day."""
        return Lease(_address(number), SERVER, LEASE_SECONDS, self.now)

    def tick(self) -> None:
        """What the supervisor does every five seconds, with a server that takes each release."""
        for one in self.memory.overdue():
            leases = self.memory.begin_release(one)
            self.memory.end_release(one.network_id, one.key, leases, leases.keys())
        self.memory.prune(())
        self.most = max(self.most, len(self.rows.found))
        assert len(self.rows.found) == len(list(self.memory))


@pytest.fixture(name="world")
def _world(monkeypatch: pytest.MonkeyPatch) -> World:
    rows = Rows()
    world, begun = World(rows, Bindings(cast(Store, rows))), time.time()
    monkeypatch.setattr(module, "boottime", lambda: world.now)
    monkeypatch.setattr(time, "time", lambda: begun + world.now)
    return world


def watched_and_kept(world: World, number: int) -> None:
    """`docker run --rm` with release=keep; the watcher tells of the removal."""
    key = f"container:{number}"
    world.memory.keep(world.spec(number), key, world.lease(number))
    world.memory.set_aside(world.spec(number), key, world.lease(number), give_back=False)
    world.memory.forget_container(str(number))


def waiting_when_removed(world: World, number: int) -> None:
    """Its lease is to be released when it is removed."""
    key = f"container:{number}"
    world.memory.set_aside(world.spec(number), key, world.lease(number), give_back=True)
    world.memory.forget_container(str(number))


def of_no_container(world: World, number: int) -> None:
    """A container that nobody knew, whose lease is released later."""
    key = f"endpoint:{number}:{world.lease(number).address.ip}"
    world.memory.set_aside(world.spec(number), key, world.lease(number), give_back=True)


def of_another_client(world: World, number: int) -> None:
    """One container that has another client identifier at each start, and so leaves its lease to the former one."""
    spec = replace(world.spec(0), client_identity=ClientIdentity(number.to_bytes(4)))
    world.memory.set_aside(spec, "id:web", world.lease(number), give_back=True)


def kept_of_another_client(world: World, number: int) -> None:
    """The same with release=keep."""
    spec = replace(world.spec(0), client_identity=ClientIdentity(number.to_bytes(4)))
    world.memory.set_aside(spec, "id:web", world.lease(number), give_back=False)


def called_differently(world: World, number: int) -> None:
    """With mac=name each name is an owner of its own, whether its container is there or not."""
    world.memory.keep(world.spec(number), f"name:{number}", world.lease(number))


def kept_and_called_differently(world: World, number: int) -> None:
    """The same with release=keep, and a lease that does not end."""
    lease = replace(world.lease(number), duration=None)
    world.memory.set_aside(world.spec(number), f"name:{number}", lease, give_back=False)


FEW = 200  # those whose release is due within two minutes, and some
LIVES = {
    watched_and_kept: 0,
    waiting_when_removed: FEW,
    of_no_container: FEW,
    of_another_client: FEW,
    kept_of_another_client: FEW,
    called_differently: MOST_IDLE,
    kept_and_called_differently: MOST_IDLE,
}


@pytest.mark.parametrize(("live", "bound"), LIVES.items(), ids=[live.__name__ for live in LIVES])
def test_ten_thousand(world: World, live: Callable[[World, int], None], bound: int) -> None:
    """However they live, the rows on disk and in memory stay within a bound at every moment."""
    for number in range(CONTAINERS):
        live(world, number)
        world.now += PAUSE_SECONDS
        if number % TICK_EVERY == 0:
            world.tick()
    assert world.most <= bound + TICK_EVERY


@pytest.mark.parametrize("give_back", [False, True], ids=["kept", "released"])
def test_nobody_watched(world: World, give_back: bool) -> None:
    """What the engine's list does not have any more is forgotten; who came after the list began, or runs, is not."""
    for number in range(MANY):
        world.memory.set_aside(world.spec(number), f"container:{number}", world.lease(number), give_back=give_back)
    world.now += 1
    listed = time.time()
    world.now += 1
    world.memory.keep(world.spec(MANY), f"container:{MANY}", world.lease(MANY))
    world.memory.forget_absent([], listed, set())
    assert len(world.rows.found) == MANY + 1
    world.memory.forget_absent(["7"], listed, {(NETWORK, "container:8")})
    world.now += COMEBACK_SECONDS
    world.tick()
    assert {key for _, key in world.rows.found} == {"container:7", "container:8", f"container:{MANY}"}


def test_who_is_there_stays(world: World) -> None:
    """Neither their number nor their age costs running containers their identities."""
    running = {(NETWORK, f"id:{number}") for number in range(2 * MOST_IDLE)}
    for number in range(2 * MOST_IDLE):
        world.memory.keep(world.spec(number), f"id:{number}", world.lease(number))
    world.now += 2 * FORGET_SECONDS
    world.memory.prune(running)
    assert world.rows.found.keys() == running
    world.memory.prune(())
    assert not world.rows.found


def test_kept_lease_that_runs_out(world: World) -> None:
    """It does not wait any longer than it runs; its owner's MAC address and address stay known."""
    world.memory.set_aside(world.spec(1), "id:web", world.lease(1), give_back=False)
    world.now += LEASE_SECONDS + 1
    world.tick()
    (seen,) = world.rows.found.values()
    assert (seen.leases, seen.addresses) == ({}, {Family.IPV4: "10.0.0.1"})
