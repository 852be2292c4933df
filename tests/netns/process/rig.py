"""A machine and its LAN, an engine and the plugin, put together and taken down."""

import itertools
import os
import re
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import psutil

from tests.lab.command import PATIENCE_SECONDS, run, wait_until
from tests.lab.leaks import Belongings
from tests.lab.network import LAN, LAN_BRIDGE, Network
from tests.lab.process import spawn
from tests.netns.process.fakeengine import ENDED, MADE, Container, FakeEngine, callers
from tests.netns.process.plugin import NAMES, REPOSITORY, PluginProcess, assert_nothing_leaked, settled, started_plugin
from tests.netns.process.wire import EVERYONE, Capture, Kind

T = TypeVar("T")
NUMBERS = itertools.count(1)
SECOND_MACHINE = LAN[3]


class EngineDaemon:
    """The silent daemon whose pid the plugin finds by its socket; started anew it has another pid."""

    def __init__(self, directory: Path) -> None:
        self.socket = directory / "docker.sock"
        self.log = directory / "dockerd.log"
        self.start()

    def start(self, kind: str = "fakeengine", *arguments: str, made: socket.socket | None = None) -> None:
        """Returns when it listens: at a socket that somebody has made, as systemd does, or at its own."""
        program = [sys.executable, "-m", f"tests.netns.process.{kind}", str(self.socket), *arguments]
        handed_over = [] if made is None else [f"{MADE}={made.fileno()}"]
        self._process = spawn(["env", f"--chdir={REPOSITORY}", *handed_over, *program], self.log)
        wait_until(self.socket.exists, "the engine's socket")

    def stop(self) -> None:
        """As after `kill -9`, but that its socket is gone, too."""
        self._process.kill(signal.SIGKILL)
        wait_until(lambda: not self._process.alive, "the engine's end")
        self.socket.unlink()


@dataclass(slots=True)
class Rig:
    """A machine and its LAN, an engine, the plugin, the wire."""

    directory: Path
    machine: Network
    plugin: PluginProcess
    engine: FakeEngine
    daemon: EngineDaemon
    capture: Capture
    before: Belongings
    containers: list[Container] = field(default_factory=list)
    networks: list[str] = field(default_factory=list)
    native: set[str] = field(default_factory=set)
    first: PluginProcess = field(init=False)

    def __post_init__(self) -> None:
        self.first = self.plugin

    def network(self, **options: str) -> str:
        """A network on the LAN's bridge unless `bridge` or `parent` says otherwise."""
        network_id = self.engine.create_network(**options)
        self.networks.append(network_id)
        if options.get("client") == "native":
            self.native.add(network_id)
        return network_id

    def container(self, network_id: str | None = None, *, early_sandbox: bool = False) -> Container:
        """A container that is not started yet; on a network of its own if none is given."""
        network_id = network_id or self.network()
        container = Container(self.engine, self.machine, network_id, early_sandbox=early_sandbox)
        self.containers.append(container)
        return container

    def joined(
        self, network_id: str | None = None, own: Mapping[str, str] | None = None, *, early_sandbox: bool = False
    ) -> Container:
        """A container with these options of its own, in which the persistent client has confirmed the lease."""
        container = self.container(network_id, early_sandbox=early_sandbox)
        container.options = dict(own or {})
        container.start()
        self.wait_for_bound(container)
        return container

    def wait_for_bound(self, container: Container, more_than: int = 0) -> None:
        """Until the endpoint is joined and the server has confirmed its lease `more_than` times."""

        def bound() -> bool:
            view = container.view
            alive = view["worker_pid"] is not None and psutil.pid_exists(view["worker_pid"])
            return alive and view["phase"] == "joined" and self.confirmations(container) > more_than

        wait_until(bound, f"a bound lease of {container.endpoint_id[:12]}")

    def wait_for_frames(self, number: int, timeout: float = PATIENCE_SECONDS) -> None:
        """Until clients have sent so many messages."""
        wait_until(lambda: len(self.capture.frames()) >= number, f"{number} DHCP messages", timeout)

    def confirmations(self, container: Container) -> int:
        """How often the plugin has said that the persistent client's IPv4 lease was acknowledged.

        The native client keeps the first lease without asking once more.
        """
        first = r"first lease [\d.]+/|" if container.network_id in self.native else ""
        confirmed = rf"{first}lease of [\d./]+ confirmed by|address changed from [\d.]+/"
        pattern = rf"({confirmed}).* endpoint={container.endpoint_id[:12]}"
        return len(re.findall(pattern, self.plugin.log))

    def asked_all(self, container: Container) -> bool:
        """Whether a renewal of this container's lease went to all servers."""
        frames = self.capture.frames(container.mac, Kind.REQUEST)
        return any(f.destination == EVERYONE and f.packet.ciaddr == container.ip for f in frames)

    def renew(self, container: Container) -> None:
        """Makes the client renew now, as at half of its lease; returns when the server's answer was carried out.

        udhcpc does so at a signal, a native client when its worker dies.
        """
        before, view = self.confirmations(container), container.view
        if view["udhcpc_pid"] is None:
            os.kill(view["worker_pid"], signal.SIGKILL)
        else:
            os.kill(view["udhcpc_pid"], signal.SIGUSR1)
        wait_until(lambda: self.confirmations(container) > before, "the answer to a renewal")

    def restart_worker(self, container: Container) -> None:
        """`kill -9` of its worker; the successor has entered the sandbox at the end."""
        attached = f"attached network=.* endpoint={container.endpoint_id[:12]}"
        before = len(re.findall(attached, self.plugin.log))
        os.kill(container.view["worker_pid"], signal.SIGKILL)
        wait_until(lambda: len(re.findall(attached, self.plugin.log)) > before, "the next worker")

    def clean(self) -> None:
        """Every container and network goes, in the engine's way."""
        while self.containers:
            container = self.containers.pop()
            if self.plugin.running:
                container.stop()
            container.remove_sandbox()
        while self.networks:
            network_id = self.networks.pop()
            if self.plugin.running:
                self.engine.delete_network(network_id)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """For one test: capture and log begin with it, and nothing is left of it."""
        run("ip", "-n", self.machine.lan, "neigh", "flush", "dev", LAN_BRIDGE)
        self.capture.forget()
        self.plugin.forget()
        yield
        self.assert_nothing_left()

    def assert_nothing_left(self) -> None:
        """Containers and networks go, and the plugin, where it runs, holds what it held before there were any."""
        self.clean()
        if self.plugin.running:
            assert_nothing_leaked(self.plugin, self.engine, self.before)
        assert "Traceback" not in self.plugin.log, self.plugin.log
        killed = self.plugin is not self.first or not self.plugin.running  # while it was about to connect
        gone = {ENDED} if killed else set()
        assert callers(self.daemon.log) <= {NAMES["watcher"], *gone}


def at_once(*calls: Callable[[], T]) -> list[T]:
    """The results of calls that are made at the same time."""
    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]


def hang(worker: int) -> list[psutil.Process]:
    """Stops an endpoint's worker with its turn, if it has one, and returns what it has stopped, the worker as the last.

    In this order they can be killed: a turn ends with its worker.
    """
    sleeper = psutil.Process(worker)
    sleeper.suspend()  # before its children are listed: it forks no further one, nor reaps one that ends
    wait_until(lambda: sleeper.status() == psutil.STATUS_STOPPED, "a worker that hangs")
    turns = [child for child in sleeper.children() if child.name() != "busybox"]
    for turn in turns:
        turn.suspend()
    return [*turns, sleeper]


@contextmanager
def machine_of(name: str) -> Iterator[Network]:
    """Two namespaces, gone at the end."""
    machine = Network(name)
    try:
        machine.up()
        yield machine
    finally:
        machine.down()


@contextmanager
def machine_beside(machine: Network) -> Iterator[Network]:
    """Another machine on the same LAN."""
    other = machine.neighbour(SECOND_MACHINE)
    try:
        other.up_machine()
        yield other
    finally:
        other.down_machine()


@contextmanager
def rig_in(directory: Path, beside: Network | None = None) -> Iterator[Rig]:
    """The whole, with the check that the plugin holds at the end what it held at the start.

    With `beside` it is another machine on the LAN of that one.
    """
    with ExitStack() as stack:
        alone = machine_of(f"p{os.getpid()}-{next(NUMBERS)}") if beside is None else machine_beside(beside)
        machine = stack.enter_context(alone)
        daemon = EngineDaemon(directory)
        stack.callback(daemon.stop)
        plugin = stack.enter_context(started_plugin(machine, directory))
        capture = Capture(machine.lan)
        stack.callback(capture.close)
        engine = FakeEngine(plugin.socket)
        wait_until(lambda: _plugged(machine), "the cable between machine and LAN")
        before = settled(plugin, engine)
        rig = Rig(directory, machine, plugin, engine, daemon, capture, before)
        stack.callback(rig.clean)
        yield rig
        rig.assert_nothing_left()


def _plugged(machine: Network) -> bool:
    """The kernel lets a new port forward up to a second after it was raised; no packet may be lost by that."""
    ports = (run("bridge", "-n", name, "link", "show") for name in (machine.host, machine.lan))
    return all("state forwarding" in port for port in ports)
