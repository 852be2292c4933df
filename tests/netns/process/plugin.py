"""The plugin started as the engine starts it, and what it holds, to tell whether it leaks."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path

import psutil

from tests.lab.command import SLOWNESS, wait_until
from tests.lab.leaks import Belongings, assert_no_more
from tests.lab.network import Network, inside
from tests.lab.process import tree
from tests.lab.rootfs import ENGINE_DIRECTORY, FROM_SOURCE, INTERPRETER, SOCKET, in_rootfs, plugin_mounts
from tests.netns.process.fakeengine import FakeEngine

REPOSITORY = Path(__file__).parents[3]
PROGRAM: tuple[str, ...] = ("-m", "supervisor.init")
SAMPLES = 5
SETTINGS: dict[str, str] = {}  # of the plugin, beside LOG_LEVEL
NAMES = {"api": "nd-api", "ops": "nd-ops", "watcher": "nd-watcher", "spare": "nd-spare"}


class PluginProcess:
    """The supervisor and all below it; its log goes to a file."""

    def __init__(self, machine: Network, directory: Path) -> None:
        self.socket = directory / SOCKET
        self.log_file = directory / "plugin.log"
        self._machine = machine
        self._forgotten = 0
        self.begun = time.monotonic()
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                inside(machine.host, *_command(directory)),
                cwd=REPOSITORY,
                env={"PATH": os.environ["PATH"], "LOG_LEVEL": "INFO"} | SETTINGS,
                stdout=log,
                stderr=log,
            )

    @cached_property
    def supervisor(self) -> int:
        """The supervisor's pid: the first process makes it when all is loaded, and then waits for its end."""
        first = psutil.Process(self.process.pid)
        return wait_until(first.children, "the supervisor")[0].pid

    @property
    def log(self) -> str:
        """All that it has printed, after `forget`."""
        return self.log_file.read_text()[self._forgotten :]

    @property
    def is_served(self) -> bool:
        """Whether its ops service listens."""
        return "the ops service listens on" in self.log_file.read_text()

    def forget(self) -> None:
        """The log begins anew."""
        self._forgotten = len(self.log_file.read_text())

    @property
    def running(self) -> bool:
        """Has it not ended?"""
        return self.process.poll() is None

    def connectable(self) -> bool:
        """Does the socket take connections?"""
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self.socket)) == 0

    def tree(self) -> list[psutil.Process]:
        """Its processes, each after its parent."""
        found = []
        for process in tree(self.process.pid):
            with suppress(psutil.NoSuchProcess):  # ended meanwhile
                found.append(psutil.Process(process.pid))
        return found

    def pids(self, name: str) -> list[int]:
        """The processes of that name, the parent before its child."""
        return [process.pid for process in tree(self.process.pid) if process.name == name]

    def belongings(self) -> Belongings:
        """The machine's links and what the plugin's processes hold now."""
        return Belongings.of(tree(self.process.pid), self._machine.links())

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Its exit status; killed if it takes longer than an engine waits."""
        self.process.send_signal(number)
        try:
            return self.process.wait(10 * SLOWNESS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise


def _command(directory: Path) -> list[str]:
    """As the engine starts it."""
    if not FROM_SOURCE:
        return in_rootfs(*INTERPRETER, *PROGRAM, mounts=plugin_mounts(directory))
    files = {"--socket": SOCKET, "--engine": "docker.sock", "--state": "state"}
    options = [word for option, name in files.items() for word in (option, str(directory / name))]
    return [sys.executable, "-E", "-s", *PROGRAM, *options]


def seen_by_plugin(path: Path) -> str:
    """What the plugin calls a file that is beside its socket."""
    return str(path) if FROM_SOURCE else f"{ENGINE_DIRECTORY}/{path.name}"


@contextmanager
def started_plugin(machine: Network, directory: Path) -> Iterator[PluginProcess]:
    """The plugin, serving; killed at the end if it does not stop."""
    plugin = PluginProcess(machine, directory)
    try:
        wait_until(plugin.connectable, "the plugin's socket")
        yield plugin
    finally:
        if plugin.running:
            plugin.stop()


def settled(plugin: PluginProcess, engine: FakeEngine) -> Belongings:
    """What it holds once API and watcher run and have done what they do only once."""
    wait_until(lambda: len(plugin.pids(NAMES["api"])) == 2, "the API")
    wait_until(lambda: not engine.get("/healthz").get("Err"), "the API's first answer")
    if plugin.is_served:
        wait_until(lambda: len(plugin.pids(NAMES["ops"])) == 2, "the ops service")
    return at_rest(plugin)


def at_rest(plugin: PluginProcess) -> Belongings:
    """What it holds when nothing changes: a connection that is being closed must not be taken for its own."""
    seen: list[Belongings] = []

    def stable() -> bool:
        seen.append(plugin.belongings())
        full = seen[-1].counts[NAMES["spare"]] == 2  # the next worker with its turn
        return full and len(seen) >= SAMPLES and all(sample == seen[-1] for sample in seen[-SAMPLES:])

    wait_until(stable, "a plugin at rest")
    return seen[-1]


def assert_nothing_leaked(plugin: PluginProcess, engine: FakeEngine, before: Belongings) -> None:
    """Waits for children that were told to end."""
    health = engine.get("/healthz")
    assert (health["networks"], health["endpoints"]) == (0, 0)
    assert_no_more(before, plugin.belongings)
