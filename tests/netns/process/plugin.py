"""The plugin started as the engine starts it, and what it holds, to tell whether it leaks."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.lab.command import NotReached, wait_until
from tests.lab.network import Network, inside
from tests.netns.process.fakeengine import FakeEngine

REPOSITORY = Path(__file__).parents[3]
# As the image starts it, but for -I, with which modules of the current directory are not found.
COMMAND = (sys.executable, "-E", "-s", "-m", "supervisor")
RANDOM = re.compile(r"(?<=gunicorn-)\w+|\d+")  # of sockets and pipes, of the file by which gunicorn's worker lives
COVERAGE = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}  # make coverage
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
                env={"PATH": os.environ["PATH"], "LOG_LEVEL": "INFO"} | COVERAGE,
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


def settled(plugin: PluginProcess, engine: FakeEngine) -> Holdings:
    """Holdings once API and watcher run and have done what they do only once."""
    wait_until(lambda: len(plugin.pids(NAMES["api"])) == 2, "the API", 10)
    wait_until(lambda: not engine.get("/healthz").get("Err"), "the API's first answer", 10)
    seen: list[Holdings | None] = []

    def stable() -> Holdings | None:
        """A connection that is being closed must not be taken for the plugin's own."""
        seen.append(quiet(plugin))
        return seen[-1] if len(seen) >= SAMPLES and len(set(seen[-SAMPLES:])) == 1 else None

    wait_until(lambda: stable() is not None, "a quiet plugin", 10)
    assert seen[-1] is not None
    return seen[-1]


def quiet(plugin: PluginProcess) -> Holdings | None:
    """Its holdings, where they do not change right now."""
    with suppress(psutil.NoSuchProcess):  # it was ending
        holdings = plugin.holdings()
        return holdings if len(holdings.api_descriptors) == 2 and holdings == plugin.holdings() else None
    return None


def assert_nothing_leaked(plugin: PluginProcess, engine: FakeEngine, before: Holdings) -> None:
    """Waits for children that were told to end."""
    health = engine.get("/healthz")
    assert (health["networks"], health["endpoints"]) == (0, 0)
    with suppress(NotReached):  # the assertion shows what differs
        wait_until(lambda: quiet(plugin) == before, "the holdings of before", 5)
    after = plugin.holdings()
    assert after == before, f"before: {before}\nafter: {after}"
