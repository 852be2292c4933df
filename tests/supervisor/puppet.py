"""An endpoint whose worker and clock are played by the test: what it was told, what it reports, how it dies."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from multiprocessing.connection import Connection
from pathlib import Path
from signal import SIGKILL, Signals
from typing import cast

from supervisor.contract.errors import RequestError
from supervisor.contract.messages import Answer
from supervisor.domain.phases import Phase
from supervisor.endpoint.context import EndpointContext
from supervisor.endpoint.endpoint import Endpoint
from supervisor.engine.container_files import Identity
from supervisor.engine.facts import ContainerSeen, Engine, EngineFound
from supervisor.engine.identity import Identifier
from supervisor.runtime.channel import Channel
from supervisor.runtime.child import Child
from supervisor.runtime.child_states import ChildEvent, ChildState
from supervisor.runtime.forked import End, Target
from supervisor.runtime.loop import Callback, Loop, Timer
from supervisor.runtime.process_manager import ProcessManager
from supervisor.runtime.spare_worker import SpareWorker
from supervisor.state.bindings import Bindings
from supervisor.state.records import LeaseRecord, Origin
from supervisor.state.store import Store
from supervisor.state.tables import Snapshot
from tests.supervisor.samples import never
from workers.contract.client_identity import ClientIdentity
from workers.contract.lease import Family, Lease, Route
from workers.contract.link import LinkKind, LinkSpec
from workers.contract.messages import Attached, Begin, Command, Created, EndpointSpec, Left, Report, UseResolver

BR0 = LinkSpec(LinkKind.BRIDGE, "br0")
NETWORK, ENDPOINT = "n" * 64, "e" * 64
MAC = "02:00:00:00:00:01"
IPV4, NONE = frozenset({Family.IPV4}), frozenset[Family]()
PID = os.getpid()  # a process whose root we may look at
SANDBOX = "/nowhere/netns/1"
LEASE = Lease(IPv4Interface("192.0.2.10/24"), IPv4Address("192.0.2.1"), 600, 1.0, (IPv4Address("192.0.2.1"),))
BRIDGE_ROUTE = Route(IPv4Network("10.1.0.0/16"), IPv4Address("192.0.2.2"))
IDENTITY = Identity("c1", "web", "web-host")


class PlayedLoop(Loop):
    """Timers that are due when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.set: list[tuple[float, Timer]] = []

    def call_later(self, seconds: float, callback: Callback) -> Timer:
        """Remembers it."""
        timer = Timer(callback)
        self.set.append((self.now + seconds, timer))
        return timer

    def pass_time(self, seconds: float) -> None:
        """All that is due by then fires, in its order."""
        self.now += seconds
        for entry in sorted(self.set, key=lambda entry: entry[0]):
            if entry[0] <= self.now:
                self.set.remove(entry)
                entry[1].fire()


@dataclass
class Spawned:
    """A process that was asked for: its end of the channel, and what it was told first."""

    channel: Connection

    @cached_property
    def begin(self) -> Begin:
        """The first message."""
        begin = self.channel.recv()
        assert isinstance(begin, Begin)
        return begin

    def told(self) -> list[Command]:
        """What it was told since the last call."""
        assert self.begin.spec.endpoint_id == ENDPOINT
        commands = []
        while self.channel.poll():
            commands.append(self.channel.recv())
        return commands


class PlayedProcessManager(ProcessManager):
    """Makes no process."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self.spawned: list[Spawned] = []
        self.killed = 0
        self.disconnected = 0

    def spawn(
        self,
        child: Child,
        target: Target,
        *arguments: object,
        channel: Channel | None = None,
        ours: tuple[End, ...] = (),
        theirs: tuple[End, ...] = (),
        keep: End | None = None,
    ) -> None:
        """Remembers what was asked for."""
        child.advance(ChildEvent.SPAWN)
        child.channel, child.spawned, child.has_run = channel, time.monotonic(), True
        end, *others = theirs
        for other in others:
            other.close()
        self.spawned.append(Spawned(cast(Connection, end)))

    def kill(self, child: Child, number: Signals) -> None:
        """Remembers it; the test plays the death."""
        assert number == SIGKILL
        self.killed += 1

    def disconnect(self, child: Child) -> None:
        """Remembers it."""
        self.disconnected += 1


class NoSpare(SpareWorker):
    """Each process is one that was asked for."""

    def prepare(self) -> None:
        """Makes none."""


class KnownContainer(Identifier):
    """Finds the container that the test has put there."""

    def __init__(self) -> None:
        super().__init__(Engine())
        self.found: Identity | None = None
        self.returning = False
        self.starting = False
        self.running = False

    def comes_back(self, identity: Identity | None) -> bool:
        """As the test says."""
        return self.returning

    def is_starting(self, identity: Identity | None) -> bool:
        """As the test says."""
        return self.starting

    def runs(self, identity: Identity) -> bool:
        """As the test says."""
        return self.running

    def at_join(self, network_id: str, endpoint_id: str) -> Identity | None:
        """What the test has put there."""
        assert (network_id, endpoint_id) == (NETWORK, ENDPOINT)
        return self.found

    def stranger_at_join(self, network_id: str, endpoint_id: str, identity: Identity) -> str | None:
        """The one that the test has put there, if it is another one."""
        return None if self.found in (None, identity) else self.found.name

    def resolver_of(self, identity: Identity) -> UseResolver | None:
        """A container's file by its id."""
        return UseResolver(f"/{identity.id}", search=True)


class Answers(list[Answer | RequestError]):
    """What came back to one caller; it is a `Respond`."""

    def __call__(self, result: Answer | RequestError) -> None:
        """Takes an answer."""
        self.append(result)


class Puppet:
    """An endpoint with all strings in the test's hands."""

    def __init__(
        self,
        *,
        identity: Identity | None = None,
        engine_pid: int | None = PID,
        mac: str | None = None,
        address: IPv4Interface | None = None,
        key: str | None = None,
        requested: IPv4Address | None = None,
        lease_dns: bool = False,
    ) -> None:
        """`mac` and `address` are those that Docker has filled in; `key` says whose identity it has."""
        self.loop = PlayedLoop()
        self.process_manager = PlayedProcessManager(self.loop)
        self.engine = Engine()
        self.container = KnownContainer()
        self.ended: list[str] = []
        self.exits: list[int] = []
        if engine_pid is not None:
            self.engine.learn(EngineFound(engine_pid))
        self.store = Store(Path("/nowhere"), Snapshot, never)
        self.store.problem = "no disk in this test"
        self.bindings = Bindings(self.store)
        context = EndpointContext(
            self.process_manager,
            NoSpare(self.process_manager, PlayedLoop()),
            self.loop,
            self.engine,
            self.container,
            self.store,
            self.bindings,
            lambda spec: self.ended.append(spec.endpoint_id),
            lambda _, status: self.exits.append(status),
            lambda _: None,
        )
        origin = Origin(given_mac=mac is not None, given_address=address is not None, key=key)
        self.spec = EndpointSpec(
            NETWORK, ENDPOINT, BR0, MAC, ClientIdentity.of_mac(MAC), 10.0, requested, lease_dns=lease_dns
        )
        self.endpoint = Endpoint(self.spec, origin, identity, context)

    @property
    def worker(self) -> Spawned:
        """The latest one."""
        return self.process_manager.spawned[-1]

    @property
    def state(self) -> str:
        """The endpoint's phase."""
        return self.endpoint.phase

    @property
    def ipv4(self) -> LeaseRecord:
        """The endpoint's IPv4 lease."""
        return self.endpoint.leases[Family.IPV4]

    def ask(self, request: Callable[..., None], *arguments: object) -> Answers:
        """A request of the engine's."""
        answers = Answers()
        request(*arguments, answers)
        return answers

    def report(self, report: Report) -> None:
        """The worker's."""
        if self.endpoint.worker.child.state is ChildState.STARTING:
            self.endpoint.worker.child.advance(ChildEvent.READY)
        self.endpoint.worker.child.on_message(report)

    def die(self, status: int = -9) -> None:
        """The worker's process ends."""
        self._close()
        self.endpoint.worker.child.advance(ChildEvent.EXIT)
        self.endpoint.worker.child.on_exit(status)

    def learn(self, hostname: str, *, endpoints: tuple[str, ...] = (ENDPOINT,)) -> None:
        """The watcher has seen the container."""
        self.engine.learn(ContainerSeen("c1", "web", hostname, endpoints))
        self.endpoint.engine_changed()

    def close(self) -> None:
        """Gives the descriptors back."""
        self._close()
        for spawned in self.process_manager.spawned:
            spawned.channel.close()

    def _close(self) -> None:
        if self.endpoint.worker.child.channel is not None:
            self.endpoint.worker.child.channel.close()
            self.endpoint.worker.child.channel = None


def attach_path(puppet: Puppet) -> str:
    """Where the worker finds SANDBOX."""
    return str(Path(f"/proc/{puppet.engine.pid}/root{SANDBOX}"))


def bring_to(puppet: Puppet, phase: Phase) -> None:
    """Plays the engine and the worker until the endpoint is there, and forgets what was told on the way."""
    endpoint, row = puppet.endpoint, list(Phase)
    steps: dict[Phase, Callable[[], object]] = {
        Phase.CREATING: lambda: puppet.ask(endpoint.create),
        Phase.CREATED: lambda: puppet.report(Created((LEASE,), (BRIDGE_ROUTE,))),
        Phase.JOINING: lambda: puppet.ask(endpoint.join, SANDBOX),
        Phase.JOINED: lambda: puppet.report(Attached("eth0")),
        Phase.LEAVING: lambda: puppet.ask(endpoint.leave),
        Phase.LEFT: lambda: puppet.report(Left(IPV4)),
        Phase.DELETING: lambda: puppet.ask(endpoint.delete),
    }
    for step in row[1 : row.index(phase) + 1]:
        steps[step]()
        assert endpoint.phase is step
    puppet.worker.told()
