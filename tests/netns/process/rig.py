"""The plugin started as the engine starts it, on a machine of its own; what it holds, to tell whether it leaks."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import psutil

from tests.lab.command import run, wait_until
from tests.lab.network import Network, inside
from tests.lab.process import spawn
from tests.netns.process.fakeengine import Container, FakeEngine
from tests.netns.process.wire import Capture

T = TypeVar("T")
REPOSITORY = Path(__file__).parents[3]
# As the image starts it, but for -I, with which modules of the current directory are not found.
COMMAND = (sys.executable, "-E", "-s", "-m", "supervisor")
PATIENCE_SECONDS = 15.0
RANDOM = re.compile(r"(?<=gunicorn-)\w+|\d+")  # of sockets and pipes, of the file by which gunicorn's worker lives
SAMPLES = 5
NAMES = {"api": "nd-api", "watcher": "nd-watcher"}


@dataclass(frozen=True, slots=True)
class Holdings:
    """What must be the same after a test as before: links of the machine, descriptors and threads, processes."""

    links: frozenset[str]
    descriptors: tuple[str, ...]
    threads: int
    api_descriptors: tuple[tuple[str, ...], ...]
    processes: tuple[str, ...]


class PluginProcess:
    """The supervisor and all below it; its log goes to a file."""

    def __init__(self, machine: Network, directory: Path) -> None:
        self.socket = directory / "plugin.sock"
        self.log_file = directory / "plugin.log"
        self._machine = machine
        self._engine_socket = directory / "docker.sock"
        self.begun = time.monotonic()
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                inside(machine.host, *COMMAND, *self._options(directory / "state")),
                cwd=REPOSITORY,
                env={"PATH": os.environ["PATH"], "LOG_LEVEL": "INFO"},
                stdout=log,
                stderr=log,
            )

    def _options(self, state: Path) -> list[str]:
        return ["--socket", str(self.socket), "--engine", str(self._engine_socket), "--state", str(state)]

    @property
    def log(self) -> str:
        """All that it has printed."""
        return self.log_file.read_text()

    @property
    def running(self) -> bool:
        """Has it not ended?"""
        return self.process.poll() is None

    def connectable(self) -> bool:
        """Does the socket take connections?"""
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self.socket)) == 0

    def tree(self) -> list[psutil.Process]:
        """Its processes, the supervisor first."""
        root = psutil.Process(self.process.pid)
        return [root, *root.children(recursive=True)]

    def pids(self, name: str) -> list[int]:
        """The processes of that name, the parent before its child."""
        return [p.pid for p in self.tree() if _name(p) == name]

    def holdings(self) -> Holdings:
        """Raises psutil.NoSuchProcess if one has ended meanwhile."""
        root, *others = self.tree()
        return Holdings(
            frozenset(self._machine.links()),
            _descriptors(root.pid),
            root.num_threads(),
            tuple(_descriptors(pid) for pid in self.pids(NAMES["api"])),
            tuple(sorted(p.name() for p in others)),
        )

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Its exit status; killed if it takes longer than an engine waits."""
        self.process.send_signal(number)
        try:
            return self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise


def _descriptors(pid: int) -> tuple[str, ...]:
    """What a process holds open, without what is random about it; empty if it has ended."""
    try:
        targets = [str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()]
    except OSError:  # one was closed meanwhile, or the process has ended: the caller asks again
        return ()
    return tuple(sorted(RANDOM.sub("N", target) for target in targets))


def _name(process: psutil.Process) -> str | None:
    with suppress(psutil.NoSuchProcess):  # ended while the tree was being walked
        return process.name()
    return None


class EngineDaemon:
    """The silent daemon whose pid the plugin finds by its socket; started anew it has another pid."""

    def __init__(self, directory: Path) -> None:
        self._socket = directory / "docker.sock"
        self._log = directory / "dockerd.log"
        self.start()

    def start(self) -> None:
        """Returns when it listens."""
        program = [sys.executable, "-m", "tests.netns.process.fakeengine", str(self._socket)]
        self._process = spawn(["env", f"--chdir={REPOSITORY}", *program], self._log)
        wait_until(self._socket.exists, "the engine's socket", 10)

    def stop(self) -> None:
        """As after `kill -9`, but that its socket is gone, too."""
        self._process.kill(signal.SIGKILL)
        wait_until(lambda: not self._process.alive, "the engine's end", 5)
        self._socket.unlink()


@dataclass(slots=True)
class Rig:
    """A machine and its LAN, an engine, the plugin, the wire."""

    machine: Network
    plugin: PluginProcess
    engine: FakeEngine
    daemon: EngineDaemon
    capture: Capture
    containers: list[Container] = field(default_factory=list)
    networks: list[str] = field(default_factory=list)

    def network(self, **options: str) -> str:
        """A network on the LAN's bridge unless `bridge` says otherwise."""
        network_id = self.engine.create_network(**options)
        self.networks.append(network_id)
        return network_id

    def container(self, network_id: str | None = None, *, early_sandbox: bool = False) -> Container:
        """A container that is not started yet; on a network of its own if none is given."""
        network_id = network_id or self.network()
        container = Container(self.engine, self.machine, network_id, early_sandbox=early_sandbox)
        self.containers.append(container)
        return container

    def joined(self, network_id: str | None = None, *, early_sandbox: bool = False) -> Container:
        """A container in which the persistent client has confirmed the lease."""
        container = self.container(network_id, early_sandbox=early_sandbox)
        container.start()
        self.wait_for_bound(container)
        return container

    def wait_for_bound(self, container: Container, more_than: int = 0) -> None:
        """Until the endpoint is joined and the server has confirmed its lease `more_than` times."""

        def bound() -> bool:
            view = container.view
            alive = view["worker_pid"] is not None and psutil.pid_exists(view["worker_pid"])
            return alive and view["phase"] == "joined" and self.confirmations(container) > more_than

        wait_until(bound, f"a bound lease of {container.endpoint_id[:12]}", PATIENCE_SECONDS)

    def wait_for_frames(self, number: int, timeout: float = PATIENCE_SECONDS) -> None:
        """Until clients have sent so many messages."""
        wait_until(lambda: len(self.capture.frames()) >= number, f"{number} DHCP messages", timeout)

    def confirmations(self, container: Container) -> int:
        """How often the plugin has said that the persistent client's lease was acknowledged."""
        pattern = rf"(confirmed by|address changed).* endpoint={container.endpoint_id[:12]}"
        return len(re.findall(pattern, self.plugin.log))

    def renew(self, container: Container) -> None:
        """Makes udhcpc renew now, as at half of its lease; returns when the server's answer was carried out."""
        before = self.confirmations(container)
        os.kill(container.view["udhcpc_pid"], signal.SIGUSR1)
        wait_until(lambda: self.confirmations(container) > before, "the answer to a renewal", PATIENCE_SECONDS)

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


def at_once(*calls: Callable[[], T]) -> list[T]:
    """The results of calls that are made at the same time."""
    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]


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
def started_plugin(machine: Network, directory: Path) -> Iterator[PluginProcess]:
    """The plugin, serving; killed at the end if it does not stop."""
    plugin = PluginProcess(machine, directory)
    try:
        wait_until(plugin.connectable, "the plugin's socket", 5)
        yield plugin
    finally:
        if plugin.running:
            plugin.stop()


@contextmanager
def rig_in(directory: Path) -> Iterator[Rig]:
    """The whole, with the check that the plugin holds at the end what it held at the start."""
    with ExitStack() as stack:
        machine = stack.enter_context(machine_of(f"p{os.getpid()}"))
        daemon = EngineDaemon(directory)
        stack.callback(daemon.stop)
        plugin = stack.enter_context(started_plugin(machine, directory))
        capture = Capture(machine.lan)
        stack.callback(capture.close)
        engine = FakeEngine(plugin.socket)
        wait_until(lambda: _plugged(machine), "the cable between machine and LAN", 10)
        before = _settled(plugin, engine)
        rig = Rig(machine, plugin, engine, daemon, capture)
        stack.callback(rig.clean)
        yield rig
        rig.clean()
        if plugin.running:
            _assert_nothing_leaked(plugin, engine, before)
        assert "Traceback" not in plugin.log, plugin.log


def _plugged(machine: Network) -> bool:
    """The kernel lets a new port forward up to a second after it was raised; no packet may be lost by that."""
    ports = (run("bridge", "-n", name, "link", "show") for name in (machine.host, machine.lan))
    return all("state forwarding" in port for port in ports)


def _settled(plugin: PluginProcess, engine: FakeEngine) -> Holdings:
    """Holdings once API and watcher run and have done what they do only once."""
    wait_until(lambda: len(plugin.pids(NAMES["api"])) == 2, "the API", 10)
    wait_until(lambda: not engine.get("/healthz").get("Err"), "the API's first answer", 10)
    seen: list[Holdings | None] = []

    def settled() -> Holdings | None:
        """A connection that is being closed must not be taken for the plugin's own."""
        seen.append(_quiet(plugin))
        return seen[-1] if len(seen) >= SAMPLES and len(set(seen[-SAMPLES:])) == 1 else None

    wait_until(lambda: settled() is not None, "a quiet plugin", 10)
    assert seen[-1] is not None
    return seen[-1]


def _quiet(plugin: PluginProcess) -> Holdings | None:
    with suppress(psutil.NoSuchProcess):  # it was ending
        holdings = plugin.holdings()
        return holdings if len(holdings.api_descriptors) == 2 and holdings == plugin.holdings() else None
    return None


def _assert_nothing_leaked(plugin: PluginProcess, engine: FakeEngine, before: Holdings) -> None:
    health = engine.get("/healthz")
    assert (health["networks"], health["endpoints"]) == (0, 0)
    with suppress(TimeoutError):
        _wait_for_equality(plugin, before)
    after = plugin.holdings()
    assert after == before, f"before: {before}\nafter: {after}"


def _wait_for_equality(plugin: PluginProcess, before: Holdings) -> None:
    """Children that were told to end may take a moment."""
    deadline = time.monotonic() + 5
    while _quiet(plugin) != before:
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.05)
