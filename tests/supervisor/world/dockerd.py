"""The played engine: its containers, its files, its requests in the order in which a real one makes them, and what its
API tells the watcher.

What the engine does is a row of generators, one for each of its threads. Each yields the condition on which it goes on.
"""

import itertools
from collections import deque
from collections.abc import Callable, Collection, Generator, Iterator, Set
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Interface

from supervisor.contract.errors import RequestError
from supervisor.contract.messages import (
    Answer,
    CreateEndpoint,
    CreateNetwork,
    DeleteEndpoint,
    EndpointCreated,
    EngineRequest,
    GetCapabilities,
    IpamPool,
    Join,
    Leave,
)
from supervisor.engine import facts
from supervisor.engine.container_files import Configuration, HostConfiguration, Identity, Place
from supervisor.engine.identity import ALWAYS, POLICIES
from tests.supervisor.world.host import EPOCH, ON_HOST, SERVER, Host
from tests.supervisor.world.processes import Life, Process, at_once

NETWORK, NETWORK_NAME, BRIDGE = "1" * 64, "lan", "br0"
OWN_NAME = "net-dhcp:latest"


class Undelivered(Exception):
    """The engine's own words: the plugin did not answer."""


Result = Answer | RequestError | Undelivered
Ask = Callable[[EngineRequest | GetCapabilities, Callable[[Result], None]], None]
Asking = Generator[Callable[[], object], None, Result]


@dataclass(eq=False)
class Container:
    """`mounted` is when its root was, in Unix seconds. `sandbox` is the path of one that is bound.

    `busy`: a thread of the engine starts, stops, connects or disconnects it.
    """

    id: str
    name: str
    policy: str
    chosen_id: str | None
    on_network: bool = True
    running: bool = False
    lives: bool = False
    was_stopped: bool = False
    mounted: float | None = None
    sandbox: str | None = None
    endpoint: str | None = None
    mac: str | None = None
    address: IPv4Interface | None = None
    ended: float = 0.0
    busy: bool = False
    connected_as: str | None = None

    @property
    def rests(self) -> bool:
        """Whether it is stopped, and has nothing that a start gives."""
        return not (self.busy or self.running or self.endpoint)

    @property
    def configuration(self) -> Configuration:
        """Its own file."""
        identity = Identity(self.id, self.name, f"{self.name}-host")
        place = Place(NETWORK_NAME, self.chosen_id, None)
        places = {NETWORK_NAME: place, NETWORK: place} if self.on_network else {}
        return Configuration(
            identity,
            running=self.running,
            pid=1 if self.lives else 0,
            ended=self.ended,
            places=places,
            was_stopped=self.was_stopped,
            exposed_ports=frozenset(),
            mac=None,
            storage_driver="overlay2",
        )


@dataclass(eq=False)
class Thread:
    """One of the engine's."""

    name: str
    life: Life
    ready: Callable[[], object] = at_once


@dataclass(frozen=True)
class RefusedJoin:
    """`after` is in seconds, from the answer to CreateEndpoint."""

    container: Container
    error: RequestError
    after: float


class Dockerd:
    """`version` is the major one. `ask` takes a request to the plugin. Everything is killed with `kill`."""

    def __init__(self, host: Host, version: int, ask: Ask) -> None:
        self._host = host
        self._ask = ask
        self.version = version
        self.pid = 0
        self.began = 0.0
        self.api = False
        self.containers: dict[str, Container] = {}
        self.stored: dict[str, str] = {}  # the name of each endpoint's container
        self.threads: list[Thread] = []
        self._queue: deque[object] = deque()  # of those that wait for the network's lock, or have it
        self._events: list[deque[facts.Fact]] = []
        self._numbers = itertools.count(1)
        self.refused_joins: list[RefusedJoin] = []

    # What the plugin sees of it.

    @property
    def is_up(self) -> bool:
        """Whether it runs."""
        return self.pid != 0

    def leads_to(self, path: str, sandbox: str) -> bool:
        """Whether this path is that of a sandbox, by way of the dockerd that runs."""
        return self.is_up and path == f"/proc/{self.pid}/root{sandbox}"

    def named(self, name: str) -> Container:
        """A container that exists."""
        return next(one for one in self.containers.values() if one.name == name)

    def watch(self, process: Process, report: Callable[[Process, object], None]) -> Life:
        """The life of the plugin's watcher."""
        while True:
            yield lambda: self.is_up
            pid = self.pid
            report(process, facts.EngineFound(pid))
            yield partial(self._is_told_or_over, pid)
            events = deque[facts.Fact]()
            self._events.append(events)
            for fact in self._everything() if self.api and self.pid == pid else ():
                yield at_once
                if self.pid != pid:
                    break
                report(process, fact)
            while self.pid == pid and self.api:
                yield partial(self._is_told_more_or_over, events, pid)
                if events and self.pid == pid:
                    report(process, events.popleft())
            self._events.remove(events)
            report(process, facts.EngineLost("the engine closed the stream of events"))
            yield at_once

    def _is_told_or_over(self, pid: int) -> bool:
        return self.api or self.pid != pid

    def _is_told_more_or_over(self, events: Collection[facts.Fact], pid: int) -> bool:
        return bool(events) or self.pid != pid

    def _everything(self) -> Iterator[facts.Fact]:
        version = f"{self.version}.1.0"
        yield facts.EngineConnected("/var/lib/docker", "overlay2", OWN_NAME, version)
        yield facts.NetworkSeen(NETWORK, NETWORK_NAME, None, (), OWN_NAME, "null", {"bridge": BRIDGE})
        yield facts.NetworksListed()
        began = EPOCH + self._host.clock.now
        for container in tuple(self.containers.values()):
            if container.id not in self.containers:
                yield facts.ContainerGone(container.id)
                continue
            yield (seen := self._seen(container))
            if container.running and container.endpoint and container.sandbox:
                given = (container.sandbox, container.mac, container.address, None, SERVER)
                options = {} if container.connected_as is None else {"id": container.connected_as}
                yield facts.EndpointSeen(seen, NETWORK, container.endpoint, *given, options)
        yield facts.ContainersListed(began)

    def _seen(self, container: Container) -> facts.ContainerSeen:
        endpoints = () if container.endpoint is None else (container.endpoint,)
        return facts.ContainerSeen(container.id, container.name, f"{container.name}-host", endpoints)

    def _tell(self, fact: facts.Fact) -> None:
        for events in self._events:
            events.append(fact)

    # What its users, and fate, do to it.

    def create(self, policy: str, chosen_id: str | None) -> Container:
        """A container on the network, which was never started."""
        number = next(self._numbers)
        container = Container(f"{number:064x}", f"c{number}", policy, chosen_id)
        self.containers[container.id] = container
        return container

    def remove(self, container: Container) -> None:
        """One that does not run."""
        del self.containers[container.id]
        self._tell(facts.ContainerGone(container.id))

    def begin(self, name: str, container: Container, life: Life) -> None:
        """A thread that works on a container."""
        container.busy = True

        def work() -> Life:
            yield from life
            container.busy = False

        self.threads.append(Thread(f"{name} {container.name}", work()))

    def start_container(self, container: Container) -> None:
        """As a user does."""
        self.begin("start", container, self._start(container))

    def stop_container(self, container: Container, *, by_user: bool) -> None:
        """As a user does it, or by its own end."""
        container.was_stopped = by_user or container.was_stopped
        self.begin("stop", container, self._stop(container))

    def connect(self, container: Container, chosen_id: str | None) -> None:
        """A running container to the network."""
        self.begin("connect", container, self._connect(container, chosen_id))

    def disconnect(self, container: Container) -> None:
        """A running container from the network."""
        self.begin("disconnect", container, self._disconnect(container))

    def kill(self) -> None:
        """SIGKILL. Its containers live on."""
        self.pid, self.api = 0, False
        self.threads.clear()
        self._queue.clear()
        for container in self.containers.values():
            container.busy = False

    def boot(self, *, live_restore: bool) -> None:
        """It starts anew."""
        self.pid, self.began = next(self._numbers), EPOCH + self._host.clock.now
        self.threads.append(Thread("boot", self._boot(live_restore=live_restore)))

    def plugin_started(self) -> None:
        """It makes a driver of it."""
        if self.is_up:
            self.threads.append(Thread("register", self._register()))

    def step(self, thread: Thread) -> None:
        """The thread goes on."""
        try:
            thread.ready = next(thread.life)
        except StopIteration:
            self.threads.remove(thread)

    # What it does.

    def _request(self, body: EngineRequest | GetCapabilities) -> Asking:
        answers: list[Result] = []

        def answered(answer: Result) -> None:
            assert not answers, "a request was answered twice"
            answers.append(answer)

        self._ask(body, answered)
        yield lambda: answers
        return answers[0]

    def _register(self) -> Life:
        yield from self._request(GetCapabilities())

    def create_network(self) -> None:
        """With the plugin as its driver."""
        self.threads.append(Thread("network", self._create_network()))

    def _create_network(self) -> Life:
        answer = yield from self._request(CreateNetwork(NETWORK, {"bridge": BRIDGE}, (IpamPool("null", "0.0.0.0/0"),)))
        assert not isinstance(answer, RequestError | Undelivered), answer

    def _boot(self, *, live_restore: bool) -> Life:
        """What the last one has left goes, and what ran is started again before the API answers."""
        for one in self.containers.values():
            if one.lives and not live_restore:
                self._die(one)
        back = [one for one in self.containers.values() if one.on_network and _comes_back(one)]
        for one in self.containers.values():
            if not one.lives:
                one.was_stopped = one.was_stopped or one.running
                one.running, one.sandbox = False, None
        yield at_once
        yield from self._clean_up()
        for one in back:
            if not one.lives and not one.busy:
                one.was_stopped = False
                self.start_container(one)
        starts = [thread for thread in self.threads if thread.name.startswith("start")]
        yield lambda: not any(thread in self.threads for thread in starts)
        self.api = True

    def _clean_up(self) -> Life:
        """Endpoints of containers that do not live go."""
        known = {one.endpoint for one in self.containers.values() if one.lives}
        for endpoint in [one for one in self.stored if one not in known]:
            yield from self._request(Leave(NETWORK, endpoint))
            yield from self._request(DeleteEndpoint(NETWORK, endpoint))
            del self.stored[endpoint]
            for one in self.containers.values():
                if one.endpoint == endpoint:
                    one.endpoint = None

    def _die(self, container: Container) -> None:
        """Its processes end, and with them its sandbox and the link in there."""
        container.lives = False
        if container.endpoint is not None and self._host.links.get(container.endpoint) not in (None, ON_HOST):
            del self._host.links[container.endpoint]

    def _start(self, container: Container) -> Life:
        container.mounted, container.was_stopped = EPOCH + self._host.clock.now, False
        if self.version >= facts.SANDBOX_FIRST:
            container.sandbox = self._new_sandbox()
        yield at_once
        fails = False
        if container.on_network:
            fails = yield from self._make_endpoint(container, container.chosen_id)
        if fails:
            container.mounted = container.sandbox = None
            return
        container.running = container.lives = True

    def _connect(self, container: Container, chosen_id: str | None) -> Life:
        container.on_network = True
        fails = yield from self._make_endpoint(container, chosen_id)
        container.on_network = not fails

    def _make_endpoint(
        self, container: Container, chosen_id: str | None
    ) -> Generator[Callable[[], object], None, bool]:
        """Whether it fails. One request for an endpoint of a network at a time."""
        endpoint = f"{next(self._numbers):012x}{'e' * 52}"
        yield from self._lock()
        options = {} if chosen_id is None else {"id": chosen_id}
        answer = yield from self._request(CreateEndpoint(NETWORK, endpoint, None, None, options))
        if not isinstance(answer, EndpointCreated):
            self._queue.popleft()
            return True
        self.stored[endpoint] = container.name
        container.endpoint, container.connected_as = endpoint, chosen_id
        container.mac, container.address = answer.mac, answer.address
        self._queue.popleft()
        made = self._host.clock.now
        yield at_once
        sandbox = container.sandbox or self._new_sandbox()
        answer = yield from self._request(Join(NETWORK, endpoint, sandbox))
        if isinstance(answer, RequestError | Undelivered):
            if isinstance(answer, RequestError):
                self.refused_joins.append(RefusedJoin(container, answer, self._host.clock.now - made))
            yield from self._request(DeleteEndpoint(NETWORK, endpoint))
            self._forget_endpoint(container)
            return True
        yield at_once
        place = self._host.links.get(endpoint)
        assert place == ON_HOST, f"the link of {container.name} is not there: {place}"
        container.sandbox = self._host.links[endpoint] = sandbox
        self._tell(self._seen(container))
        return False

    def _stop(self, container: Container) -> Life:
        container.lives = False
        yield at_once
        if container.endpoint is not None:
            yield from self._end_endpoint(container)
        self._die(container)
        container.running, container.mounted, container.sandbox = False, None, None
        container.ended = EPOCH + self._host.clock.now
        if not container.was_stopped and container.policy in POLICIES:
            yield at_once
            yield from self._start(container)

    def _disconnect(self, container: Container) -> Life:
        if container.endpoint is not None:
            yield from self._end_endpoint(container)
        container.on_network = False

    def _end_endpoint(self, container: Container) -> Life:
        endpoint = container.endpoint
        assert endpoint is not None
        yield from self._request(Leave(NETWORK, endpoint))
        if endpoint in self._host.links:
            self._host.links[endpoint] = ON_HOST
        yield at_once
        yield from self._request(DeleteEndpoint(NETWORK, endpoint))
        self._forget_endpoint(container)

    def _forget_endpoint(self, container: Container) -> None:
        assert container.endpoint is not None
        del self.stored[container.endpoint]
        container.endpoint = container.mac = container.address = None
        self._tell(self._seen(container))

    def _lock(self) -> Life:
        """The network's; they get it in the order in which they come."""
        ticket = object()
        self._queue.append(ticket)
        yield lambda: self._queue[0] is ticket

    def _new_sandbox(self) -> str:
        return f"/run/docker/netns/{next(self._numbers):012x}"


def _comes_back(container: Container) -> bool:
    ran = container.running or container.lives
    return container.policy == ALWAYS or (container.policy in POLICIES and ran and not container.was_stopped)


class Files:
    """What MountedRoots and NetworkStore find; nothing before the plugin knows dockerd's pid."""

    def __init__(self, dockerd: Dockerd, engine: facts.Engine) -> None:
        self._dockerd = dockerd
        self._engine = engine

    @property
    def _all(self) -> list[Container]:
        is_there = self._engine.pid is not None and self._engine.pid == self._dockerd.pid
        return list(self._dockerd.containers.values()) if is_there else []

    def configurations(self, *, but: Set[str] = frozenset()) -> Iterator[Configuration]:
        """Of those that are mounted."""
        return (one.configuration for one in self._all if one.mounted is not None and one.id not in but)

    def untold(self, *, but: Set[str]) -> Iterator[Configuration]:
        """None: overlay2 tells."""
        return iter(())

    def everyone(self) -> Iterator[Configuration]:
        """Of all."""
        return (one.configuration for one in self._all)

    def named(self, name: str) -> Configuration | None:
        """Of the one with this name."""
        return next((one.configuration for one in self._all if one.name == name), None)

    def configuration(self, container_id: str) -> Configuration | None:
        """Of the one with this id."""
        return next((one.configuration for one in self._all if one.id == container_id), None)

    def host_configuration(self, container_id: str) -> HostConfiguration | None:
        """The same."""
        found = next((one for one in self._all if one.id == container_id), None)
        if found is None:
            return None
        return HostConfiguration(found.policy, NETWORK_NAME, frozenset(), publishes_all=False, dns=frozenset())

    def resolver_of(self, _container_id: str) -> None:
        """No container has one."""

    def since(self, container_id: str) -> float | None:
        """When its root was mounted."""
        return next((one.mounted for one in self._all if one.id == container_id), None)

    def names(self, _network_id: str) -> dict[str, str] | None:
        """The store's."""
        return dict(self._dockerd.stored) if self._engine.pid == self._dockerd.pid else None

    def name(self, _network_id: str, endpoint_id: str) -> str | None:
        """The same."""
        return self._dockerd.stored.get(endpoint_id) if self._engine.pid == self._dockerd.pid else None

    def with_sandbox(self) -> frozenset[str] | None:
        """Those whose sandbox is bound."""
        if self._engine.pid != self._dockerd.pid:
            return None
        return frozenset(one.id for one in self._all if one.sandbox is not None)
