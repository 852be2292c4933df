"""A worker is the same after each turn, with all that it may have open and whatever it waits for."""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from multiprocessing import Pipe
from pathlib import Path
from types import MethodType
from typing import Any

import pytest

from tests.netns.lan import run
from tests.workers.entry.parts import PARTS
from workers.acd.probe import AddressProbe
from workers.contract.client_identity import ClientIdentity
from workers.contract.lease import Family, Lease, Lease6, Route
from workers.contract.link import LinkKind, LinkSpec
from workers.contract.messages import Attach, EndpointSpec, Ipv6, Left, UseResolver
from workers.dhcp.first_lease import Acquired
from workers.dhcp4.machine import Machine
from workers.dhcp4.udhcpc import Start
from workers.dhcp6.router_advertisement import Prefix, RouterAdvertisement
from workers.endpoint.worker import Worker
from workers.entry.handover import MAKERS, pack, unpack
from workers.link.endpoint_link import EndpointLink
from workers.link.placement6 import Placement6
from workers.netlink.operations import Netlink
from workers.resolver.forwarder import Forwarder, Question
from workers.resolver.resolver import Resolver
from workers.system.clock import boottime
from workers.system.namespaces import new_namespace

pytestmark = pytest.mark.netns

MAC, STRANGER = "02:00:00:00:00:01", "02:00:00:00:00:99"
SERVER, SERVER6 = IPv4Address("192.0.2.1"), IPv6Address("fe80::1")
IDENTITY = ClientIdentity.of_mac(MAC, "web")
PREFIX = Prefix(IPv6Network("2001:db8::/64"), on_link=True, autonomous=True, valid=600, preferred=300)


ROUTES = Route(IPv4Network("198.51.100.0/24"), SERVER), Route(IPv4Network("203.0.113.0/24"))


def lease(host: int = 10) -> Lease:
    """One that runs, with all that a server can say."""
    rest = ((SERVER,), ROUTES, ROUTES[::-1], (SERVER,), "lan", 1400, 290, 520, (SERVER,), ("lan", "example.org"))
    return Lease(IPv4Interface(f"192.0.2.{host}/24"), SERVER, 600, boottime(), *rest)


def lease6(host: int = 16) -> Lease6:
    """One that runs, with all that a server can say."""
    rest = (300, 140, 230, (SERVER6,), ("lan",), SERVER6)
    return Lease6(IPv6Interface(IPv6Address("2001:db8::") + host), b"server", 600, boottime(), *rest)


SPEC = EndpointSpec(
    *("n", "e", LinkSpec(LinkKind.BRIDGE, "br0", vlan=7), MAC, IDENTITY, 10.0, SERVER),
    skip_routes=True,
    remembered=lease(30),
    mark=3,
    ipv6=Ipv6.AUTO,
    requested6=SERVER6,
    remembered6=lease6(31),
    gateway=SERVER,
    mtu=1300,
)


@pytest.fixture(name="worker")
def _worker() -> Iterator[Worker]:
    """One that is in a sandbox, where the link is called eth0."""
    supervisor, channel = Pipe()
    with new_namespace() as sandbox, sandbox.visit(), supervisor:
        run("ip link set lo up")
        run(f"ip link add eth0 address {MAC} type veth peer name port")
        run("ip link set port up")
        run("ip link set eth0 up")
        worker = Worker(SPEC, channel, [lease(), lease6()], {Family.IPV4})
        worker._interface = "eth0"
        for manager in (worker._ipv4, worker._ipv6):
            assert manager is not None
            manager._interface = "eth0"
        yield worker


def in_the_host(worker: Worker) -> None:
    """The link is on its way, another machine claims the addresses, and a Leave is not reported yet."""
    worker._attach = Attach("/run/netns/x", "web", SERVER, arrived=True)
    worker._left = Left(frozenset({Family.IPV4}))
    worker._sandbox.watch()
    with Netlink() as netlink:
        worker._landmark = netlink.link("eth0")
    worker.bind()
    for family, one in ((Family.IPV4, lease()), (Family.IPV6, lease6())):
        probe = worker._probes[family] = AddressProbe(MAC, enabled=True)
        probe.probe("eth0", one.address.ip)
        probe._heard.append(STRANGER)
        probe.interrupt()


def with_udhcpc(worker: Worker) -> None:
    """It has said half a word, and its lease is defended; another one is probed for."""
    manager = worker._ipv4
    assert manager is not None
    manager._placement.joined, manager._placement.mtu_limit, manager._placement._put = SERVER, 1400, manager.lease
    manager._claimant = STRANGER
    manager._timers.begin(manager.lease, boottime())
    manager._defend()
    manager._defence._claimed = SERVER, 5.0
    manager._examination.begin("eth0", lease(11))
    manager._settling.begin("eth0", lease(14))
    manager.clients.start_udhcpc()
    manager.clients.accept(manager.lease, 3.0)
    manager.clients._backoff.failed(1.0)
    manager.clients._ended.append(4321)
    client = manager.clients._client
    assert client is not None
    client.granted, client._begun, client._log_rest, client._records._pending = b"renew", True, b"udhc", b"bou"


def with_native_clients(worker: Worker) -> None:
    """They ask, over packet sockets, and one of them has been offered a lease."""
    for_v4, for_v6 = worker._ipv4, worker._ipv6
    assert for_v4 is not None
    assert for_v6 is not None
    machine = Machine(MAC, IDENTITY, SERVER)
    machine.remembered = machine.lease = machine._asked_for = lease(12)
    machine._note(lease(13))
    for_v4.clients.start_native("eth0", machine)
    for_v4.due()
    for_v6._run()
    assert for_v6._client is not None
    other = for_v6._client._machine
    other.requested = other.remembered = None
    other.resort_to(lease6(18), boottime())
    other._asked_for, other.requested = lease6(17), SERVER6
    other._offers.append((3, lease6(19)))
    for_v6._client._machine.next_at = 0.0
    for_v6._claimant = STRANGER
    for_v6._examination.begin("eth0", lease6(20))
    for_v6._settling.begin("eth0", lease6(21))
    for_v6.due()


def renewing(worker: Worker) -> None:
    """Its own client asks the server of its lease; the kernel makes the IPv6 address."""
    for_v4, for_v6 = worker._ipv4, worker._ipv6
    assert for_v4 is not None
    assert for_v6 is not None
    machine = Machine(MAC, IDENTITY)
    machine.hold(replace(lease(), obtained=boottime() - 400), boottime(), confirm=True)
    for_v4.clients.start_native("eth0", machine)
    for_v4.due()
    for_v6.lease = replace(lease6(), slaac=True, server=b"")
    for_v6._run()


def searching(worker: Worker) -> None:
    """No IPv6 address was found until now, but a router, and a server has offered something."""
    manager = worker._ipv6
    assert manager is not None
    manager.lease = None
    manager._run()
    search = manager._search
    assert search is not None
    told = (True, True, 1800, 1, 1500, (PREFIX,), (SERVER6,), ("lan",))
    search._routers["fe80::1"] = RouterAdvertisement(SERVER6, *told)
    search._lease = search._last = lease6(21)
    search._last_owner, search._configured_by, search._remembered_at = STRANGER, 8.0, 9.0
    search._declined.append("an address")
    search._probe.probe("eth0", search._lease.address.ip)


def resolving(worker: Worker) -> None:
    """A question is open."""
    worker._resolver = resolver = Resolver("e", UseResolver("/etc/resolv.conf", search=True))
    resolver._done = ("192.0.2.1",), ("lan",)
    resolver.forwarder = forwarder = Forwarder(["192.0.2.1", "2001:db8::1"])
    question = Question(("127.0.0.1", 7), 7, b"packet", 1.0, b"\x03lan\0\0\1\0\1", docker=b"words", lan=b"others")
    forwarder._begin(question)


STATES: tuple[Callable[[Worker], None], ...] = (
    in_the_host,
    with_udhcpc,
    with_native_clients,
    renewing,
    searching,
    resolving,
)


def picture(thing: Any, opened: list[Any]) -> object:  # noqa: ANN401  anything
    """What an object and all of its parts are, whichever process has them; `opened` gets what it has open."""
    if type(thing) in MAKERS:
        opened.append(thing)
        return type(thing), Path(f"/proc/self/fd/{thing.fileno()}").readlink()
    if isinstance(thing, MethodType):
        return thing.__func__, type(thing.__self__)
    if type(thing) in PARTS or isinstance(thing, EndpointLink | Placement6 | Start | Acquired):
        return type(thing), {name: picture(getattr(thing, name), opened) for name in attributes(thing)}
    if isinstance(thing, Mapping):
        return {key: picture(value, opened) for key, value in thing.items()}
    return [picture(one, opened) for one in thing] if isinstance(thing, list | tuple) else thing


def disturb(thing: Any) -> None:  # noqa: ANN401  anything
    """Gives each plain field of a worker and its parts another value."""
    if isinstance(thing, Mapping):
        thing = [*thing.values()]
    if isinstance(thing, list | tuple):
        for one in thing:
            disturb(one)
    if type(thing) not in PARTS or thing.__dataclass_params__.frozen:
        return
    for field in fields(thing):
        value = getattr(thing, field.name)
        if type(value) in (bool, int, float, str):
            setattr(thing, field.name, not value if isinstance(value, bool) else value + type(value)(1))
        disturb(value)


def attributes(thing: object) -> set[str]:
    """The names of all that an object has."""
    declared = getattr(thing, "__struct_fields__", ()) or getattr(thing, "__dataclass_fields__", {}).keys()
    return {*(name for name in declared if hasattr(thing, name)), *getattr(thing, "__dict__", ())}


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
def test_same_after_a_turn(worker: Worker, state: Callable[[Worker], None]) -> None:
    """It has the same attributes with the same values, the same sockets, and its callbacks are its own."""
    state(worker)
    disturb(worker)
    packed, numbers = pack(worker)

    again = unpack(packed, [os.dup(number) for number in numbers], Worker)
    again.bind()

    opened: list[Any] = []
    assert picture(again, opened) == picture(worker, opened)
    assert again.sources().keys().isdisjoint(worker.sources())
    assert [one.__name__ for one in again.sources().values()] == [one.__name__ for one in worker.sources().values()]
    assert again._next_at == worker._next_at
    for one in opened:
        one.close()
