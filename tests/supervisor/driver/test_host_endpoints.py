"""The host's endpoints: when one is made, made again and removed, and what it is told of containers."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path

import pytest

from supervisor.contract.messages import CreateEndpoint
from supervisor.domain.options import NetworkOptions
from supervisor.domain.phases import Phase
from supervisor.driver.host_access import RETRY_SECONDS, HostAccess
from supervisor.driver.networks import Networks
from supervisor.driver.orphans import Orphans
from supervisor.driver.registry import Registry
from supervisor.endpoint.context import EndpointContext
from supervisor.endpoint.endpoint import Endpoint
from supervisor.endpoint.host_endpoint import HostEndpoint
from supervisor.engine.facts import Engine
from supervisor.engine.identity import Identifier
from supervisor.runtime.child_states import ChildEvent
from supervisor.runtime.jobs import Jobs
from supervisor.state.bindings import Bindings
from supervisor.state.records import Network
from supervisor.state.store import Store
from supervisor.state.tables import Snapshot
from tests.supervisor.puppet import (
    LEASE,
    NETWORK,
    Answers,
    NoSpare,
    PlayedLoop,
    PlayedProcessManager,
)
from tests.supervisor.samples import never
from workers.contract.lease import Lease
from workers.contract.link import LinkKind, LinkSpec, MacvlanMode
from workers.contract.messages import (
    Attach,
    Attached,
    Command,
    Created,
    CreateFailed,
    Delete,
    Deleted,
    LeaseObtained,
    Reach,
    Report,
    SandboxGone,
)

OPTIONS = NetworkOptions(parent="eth0", mode=LinkKind.MACVLAN, macvlan_mode=MacvlanMode.VEPA, host_access=True)
HOSTS = replace(LEASE, duration=None)
FIRST, SECOND = IPv4Address("192.0.2.20"), IPv4Address("192.0.2.21")


def lease_of(address: IPv4Address) -> Lease:
    """A container's."""
    return Lease(IPv4Interface((address, 24)), LEASE.server, 600, 1.0)


@dataclass
class Played:
    """The host's access over endpoints whose workers and clock are played."""

    loop: PlayedLoop = field(default_factory=PlayedLoop)

    def __post_init__(self) -> None:
        self.processes = PlayedProcessManager(self.loop)
        store = Store(Path("/nowhere"), Snapshot, never)
        store.problem = "no disk in this test"
        engine, self.bindings = Engine(), Bindings(store)
        self.networks = Networks(Jobs(self.processes, self.loop), engine, store, 0)
        self.networks.load((Network(NETWORK, OPTIONS),))
        orphans = Orphans(Jobs(self.processes, self.loop), self.loop, self.bindings, 0)
        spare = NoSpare(self.processes, PlayedLoop())
        context = EndpointContext(self.processes, spare, self.loop, engine, Identifier(engine), store, self.bindings)
        self.endpoints = Registry(context, orphans, 0)
        self.access = HostAccess(self.loop, engine, self.networks, self.endpoints, self.bindings)

    @property
    def host(self) -> HostEndpoint:
        """The host's endpoint, which is there."""
        found = self.endpoints.host_on(NETWORK)
        assert found is not None
        return found

    def told(self) -> list[Command]:
        """What the first worker, the host's, was told since the last call, after its Begin."""
        spawned = self.processes.spawned[0]
        assert spawned.begin.spec.link.on_host
        commands: list[Command] = []
        while spawned.channel.poll():
            commands.append(spawned.channel.recv())
        return commands

    def report(self, endpoint: Endpoint, *reports: Report) -> None:
        """Of its worker; what follows after the present event is done, too."""
        for report in reports:
            endpoint.worker.child.on_message(report)
        self.loop.pass_time(0)

    def container(self, name: str, address: IPv4Address) -> Endpoint:
        """One that the engine has just joined."""
        endpoint = self.endpoints.admit(CreateEndpoint(NETWORK, name, None, None, {}), OPTIONS)
        endpoint.create(Answers())
        self.report(endpoint, Created((lease_of(address),), ()))
        endpoint.join("/nowhere/netns/1", Answers())
        return endpoint

    def exit(self, endpoint: Endpoint) -> None:
        """Its worker ends in order."""
        child = endpoint.worker.child
        assert child.channel is not None
        child.channel.close()
        child.channel = None
        child.advance(ChildEvent.READY)
        child.advance(ChildEvent.EXIT)
        child.on_exit(0)
        self.loop.pass_time(0)

    def close(self) -> None:
        """Gives the descriptors back."""
        for endpoint in self.endpoints:
            if endpoint.worker.child.channel is not None:
                endpoint.worker.child.channel.close()
        for spawned in self.processes.spawned:
            spawned.channel.close()


@pytest.fixture(name="played")
def _played() -> Iterator[Played]:
    played = Played()
    yield played
    played.close()


def bring_up(played: Played) -> HostEndpoint:
    """The host's worker has the lease and its link."""
    played.access.ensure()
    host = played.host
    played.report(host, Created((HOSTS,), ()), Attached(host.spec.container_link))
    return host


def test_made_once(played: Played) -> None:
    """It is a link of the network's kind that stays on the host, and gets the lease as soon as that is there."""
    host = bring_up(played)
    played.access.ensure()

    assert len(played.processes.spawned) == 1
    assert host.spec.link == LinkSpec(LinkKind.MACVLAN, "eth0", MacvlanMode.VEPA, on_host=True)
    assert (host.phase, host.interface) == (Phase.JOINED, f"dh-{NETWORK[:12]}")
    (attach, _) = played.told()
    assert isinstance(attach, Attach)
    assert attach.arrived


def test_none_without_the_option(played: Played) -> None:
    """Other networks have none."""
    played.networks.load((Network(NETWORK, NetworkOptions(parent="eth0", mode=LinkKind.MACVLAN)),))
    played.access.ensure()
    assert len(played.endpoints) == 0


def test_failure_is_told_and_tried_again(played: Played) -> None:
    """What went wrong is a problem until a later try succeeds."""
    played.access.ensure()
    host = played.host
    played.report(host, CreateFailed("no DHCPOFFER"))
    played.exit(host)
    (problem,) = played.access.problems
    assert problem == f"the host does not reach the containers of network {NETWORK[:12]}: no DHCPOFFER"
    played.access.ensure()
    assert len(played.processes.spawned) == 1

    played.loop.pass_time(RETRY_SECONDS)
    bring_up(played)

    assert len(played.processes.spawned) == 2
    assert not played.access.problems


def test_told_of_containers(played: Played) -> None:
    """It reaches each container from Join to Leave, at the address that this has then; told once, after the answer."""
    host = bring_up(played)
    assert played.told()[-1] == Reach(frozenset())

    container = played.container("first", FIRST)
    assert played.told() == []
    played.loop.pass_time(0)
    assert played.told() == [Reach(frozenset({FIRST}))]
    played.container("second", SECOND)
    played.loop.pass_time(0)
    assert played.told() == [Reach(frozenset({FIRST, SECOND}))]

    played.report(container, Attached("eth0"), LeaseObtained(lease_of(FIRST + 9)))
    assert played.told() == [Reach(frozenset({FIRST + 9, SECOND}))]
    container.leave(Answers())
    played.loop.pass_time(0)
    assert played.told() == [Reach(frozenset({SECOND}))]
    assert host.phase is Phase.JOINED


def test_made_again_when_it_has_gone(played: Played) -> None:
    """The next one asks for the lease of the last one, and waits for that one's worker: their links have one name."""
    host = bring_up(played)
    played.report(host, SandboxGone())
    assert played.told()[-1] == Delete()
    played.report(host, Deleted())
    played.access.ensure()
    assert played.endpoints.host_on(NETWORK) is None

    played.exit(host)

    assert played.host.spec.mac == host.spec.mac
    assert played.host.spec.remembered == HOSTS


def test_not_wanted_any_more(played: Played) -> None:
    """If its network is removed while it is being made, that is no problem of the host's."""
    played.access.ensure()
    played.networks.delete(NETWORK)
    host = played.host
    host.delete()
    played.report(host, CreateFailed("the endpoint was deleted while it was being made"))
    played.exit(host)
    assert not played.access.problems
    assert len(played.processes.spawned) == 1


def test_goes_with_its_network(played: Played) -> None:
    """Also with one that was forgotten; nothing remains to be tried."""
    host = bring_up(played)
    played.networks.delete(NETWORK)
    played.access.ensure()
    assert played.told()[-1] == Delete()
    played.report(host, Deleted())
    played.exit(host)
    assert len(played.endpoints) == 0
    assert len(played.processes.spawned) == 1
    assert played.endpoints.networks() == set()
