"""What a lease manager makes of its client's words; the client, the link and the wire are played."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Interface
from typing import cast

import pytest
from msgspec import structs

from workers.contract.client_identity import ClientIdentity
from workers.contract.lease import Family, Lease
from workers.contract.link import LinkKind, LinkSpec
from workers.contract.messages import Attach, ClientKind, ConflictCheck, EndpointSpec, LeaseObtained, Report
from workers.dhcp.effects import Granted, Refused
from workers.dhcp4.machine import Machine, State
from workers.dhcp4.udhcpc import ClientEvent, ClientOptions, GaveUp
from workers.endpoint import lease_manager as module
from workers.endpoint.clients import Renewal
from workers.endpoint.lease_manager import DECLINED_PAUSE_SECONDS, LeaseManager
from workers.system.clock import boottime

MAC, STRANGER = "02:00:00:00:00:01", "02:00:00:00:00:99"
SERVER = IPv4Address("192.0.2.1")
SPEC = EndpointSpec(
    "n", "e", LinkSpec(LinkKind.BRIDGE, "br0"), MAC, ClientIdentity.of_mac(MAC), 5.0, conflict=ConflictCheck.OFF
)
ATTACH = Attach("/run/netns/x", None, None)


@dataclass
class PlayedClients:
    """Whatever is started; `last_words` are those of the present client, which it says when it is ended."""

    machines: list[Machine] = field(default_factory=list)
    udhcpcs: list[tuple[float, ClientOptions]] = field(default_factory=list)
    last_words: list[ClientEvent] = field(default_factory=list)
    accepted: tuple[Lease, float] | None = None
    running: bool = True
    next_at: float | None = None

    def bind(self, options: Callable[[], ClientOptions], take: Callable[[ClientEvent], None], *_: object) -> None:
        self.options, self.take = options, take

    def start_native(self, _: str, machine: Machine) -> None:
        self.machines.append(machine)

    def start_udhcpc(self, at: float = 0.0) -> None:
        self.udhcpcs.append((at, self.options()))

    def finish(self) -> None:
        for event in self.last_words:
            self.take(event)

    def stop(self) -> None:
        """Nothing is to be ended."""

    def accept(self, lease: Lease, asleep: float) -> None:
        self.accepted = lease, asleep

    def renewal(self, lease: Lease) -> Renewal:
        """The next one, if it is expected at all."""
        return Renewal(b"renew", lease.t1 or 0.0, 0, 0)


@pytest.fixture(autouse=True)
def _played(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "Clients", PlayedClients)
    monkeypatch.setattr(module, "decline", lambda *_: None)
    monkeypatch.setattr("workers.link.placement.configure", lambda *_, **__: ())
    monkeypatch.setattr("workers.link.placement.follow_mtu", lambda *_: ())


def lease(host: int = 10, duration: int = 600) -> Lease:
    """One that runs from now on."""
    return Lease(IPv4Interface(f"192.0.2.{host}/24"), SERVER, duration, boottime())


def begun(reports: list[Report], claimant: str | None = None, **changes: object) -> tuple[LeaseManager, PlayedClients]:
    """A manager whose container has just started; `claimant` has answered the start's probe."""
    held = changes.pop("lease", lease())
    assert isinstance(held, Lease)
    manager = LeaseManager(replace(SPEC, **changes), held, reports.append, confirmed=True)  # type: ignore[arg-type]
    if claimant is not None:
        manager.on_conflict(claimant)
    manager.begin("eth0", ATTACH, 1500)
    return manager, cast(PlayedClients, manager.clients)


def restart_by_name(manager: LeaseManager) -> None:
    """The host name becomes known."""
    manager.rename("web")


def restart_by_move(manager: LeaseManager) -> None:
    """The container renames its link."""
    manager.move("lan7")


@pytest.mark.parametrize("restart", [restart_by_name, restart_by_move])
def test_last_words_count(restart: Callable[[LeaseManager], None]) -> None:
    """A client that is replaced may just have been granted another lease: it is the one that is kept."""
    reports: list[Report] = []
    manager, clients = begun(reports)
    granted = lease(20)
    clients.last_words = [Refused("no"), Granted(granted, fresh=True)]

    restart(manager)

    assert manager.lease == granted
    assert reports[-1] == LeaseObtained(granted)
    assert clients.udhcpcs[-1][1].requested == granted.address.ip
    manager.end()


def test_declined_at_the_start() -> None:
    """Another address is asked for ten seconds later, and not the one that was declined (RFC 2131 section 3.1)."""
    _, clients = begun([], STRANGER)
    ((at, options),) = clients.udhcpcs
    assert DECLINED_PAUSE_SECONDS - 1 < at - boottime() <= DECLINED_PAUSE_SECONDS
    assert options.requested is None


def test_declined_with_the_native_client() -> None:
    """It begins anew then."""
    _, clients = begun([], STRANGER, client=ClientKind.NATIVE)
    (machine,) = clients.machines
    assert (machine.state, machine.requested) == (State.INIT, None)
    assert machine.next_at is not None
    assert DECLINED_PAUSE_SECONDS - 1 < machine.next_at - boottime() <= DECLINED_PAUSE_SECONDS


@pytest.mark.parametrize(
    ("client", "duration", "native"),
    [
        (ClientKind.UDHCPC, 600, False),
        (ClientKind.UDHCPC, 30, False),
        (ClientKind.UDHCPC, 29, True),
        (ClientKind.NATIVE, 600, True),
    ],
)
def test_who_renews(client: ClientKind, duration: int, native: bool) -> None:
    """udhcpc, unless the network says otherwise or the lease is too short for it. The native client rests at first."""
    held = lease(duration=duration)
    _, clients = begun([], client=client, lease=held)
    assert (len(clients.machines), len(clients.udhcpcs)) == ((1, 0) if native else (0, 1))
    for machine in clients.machines:
        assert machine.state is State.BOUND
        assert machine.next_at is not None
        assert machine.next_at >= held.obtained + duration / 2


def test_name_that_became_known_before_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """The native client tells it to the server at once."""
    monkeypatch.setattr(f"{__name__}.ATTACH", structs.replace(ATTACH, hostname="web"))
    _, clients = begun([], client=ClientKind.NATIVE)
    (machine,) = clients.machines
    assert machine.identity == ClientIdentity.of_mac(MAC, "web")
    assert machine.next_at is not None
    assert machine.next_at <= boottime()


def test_family() -> None:
    """What is told names the lease's family."""
    reports: list[Report] = []
    manager, clients = begun(reports)
    clients.take(Refused("no"))
    assert [getattr(report, "family", None) for report in reports] == [Family.IPV4]
    manager.end()


def test_renewal_that_needs_no_turn() -> None:
    """It is expected once the client has been granted the lease and that is on the link; only its time is new then."""
    reports: list[Report] = []
    manager, clients = begun(reports)
    assert manager.renewal() is None
    clients.take(Granted(manager.lease, fresh=True))
    assert manager.renewal() is not None
    granted, told = manager.lease, list(reports)

    manager.renewed(granted.obtained + 300, 7.0)

    assert manager.lease == granted.renewed(granted.obtained + 300)
    assert clients.accepted == (manager.lease, 7.0)
    assert (manager.next_at, manager.other_at) == (manager.lease.overdue_at(manager.lease.obtained), None)
    assert manager.renewal() is not None
    assert reports == told  # by the sleeper
    manager.end()


@pytest.mark.parametrize("event", [Refused("no"), GaveUp(), None], ids=str)
def test_renewal_that_needs_a_turn(event: ClientEvent | None) -> None:
    """Whatever else a client has told of, and a change of the link, has to be made good by the next renewal."""
    manager, clients = begun([])
    clients.take(Granted(manager.lease, fresh=True))
    if event is None:
        manager.check()
    else:
        clients.take(event)
    assert manager.renewal() is None
    clients.take(Granted(manager.lease, fresh=False))
    assert manager.renewal() is not None
    manager.end()


@pytest.mark.parametrize(("age", "native"), [(0, True), (700, False)])
def test_servers_are_asked_at_once(age: int, native: bool) -> None:
    """When the way to them is open again, by the native client, as udhcpc would soon give a lease up that still runs;
    one that has run out is asked for by another udhcpc."""
    manager, clients = begun([], lease=replace(lease(), obtained=boottime() - age))
    manager.ask()
    (_, *others), machines = clients.udhcpcs, clients.machines
    assert (len(machines), len(others)) == ((1, 0) if native else (0, 1))
    for machine in machines:
        assert machine.next_at is not None
        assert machine.next_at <= boottime()
    manager.end()
