"""One instance of the plugin after another on the same state: how each ends, and how the next one begins."""

import os
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.lab.command import PATIENCE_SECONDS, SLOWNESS, wait_until
from tests.netns.process.fakeengine import Container
from tests.netns.process.plugin import PluginProcess
from tests.netns.process.rig import Rig


def kill_supervisor(plugin: PluginProcess) -> None:
    """`kill -9` of the supervisor; all others follow it."""
    os.kill(plugin.supervisor, signal.SIGKILL)


def kill_all(plugin: PluginProcess) -> None:
    """`kill -9` of every process. All are stopped first, so that none sees another end and none is forked meanwhile."""
    stopped: list[psutil.Process] = []
    while running := [process for process in plugin.tree() if process not in stopped]:
        for process in running:
            with suppress(psutil.NoSuchProcess):  # it has just ended by itself
                process.suspend()
        stopped += running
    for process in stopped:
        with suppress(psutil.NoSuchProcess):  # it ended before, or with its parent
            process.kill()


def terminate(plugin: PluginProcess) -> None:
    """As the engine stops a plugin."""
    plugin.process.send_signal(signal.SIGTERM)


@dataclass(frozen=True, slots=True)
class Instances:
    """The rig's plugin may be ended and started again; what runs at the end is stopped."""

    rig: Rig
    directory: Path

    def end(self, how: Callable[[PluginProcess], None] = kill_supervisor) -> None:
        """Returns when nothing of it runs any more."""
        plugin = self.rig.plugin
        tree = plugin.tree()
        how(plugin)
        plugin.process.wait(PATIENCE_SECONDS * SLOWNESS)
        _, left = psutil.wait_procs(tree, timeout=PATIENCE_SECONDS * SLOWNESS)
        assert not left, left

    def start(self) -> float:
        """The next instance; the seconds from its start to its first answer."""
        begun = time.monotonic()
        self.rig.plugin = plugin = PluginProcess(self.rig.machine, self.directory)
        wait_until(plugin.connectable, "the plugin's socket")
        assert self.rig.engine.get("/healthz")["instance"]
        return time.monotonic() - begun

    def again(self, how: Callable[[PluginProcess], None] = kill_supervisor) -> float:
        """`end` and `start`."""
        self.end(how)
        return self.start()

    @property
    def state(self) -> Path:
        """The directory of its state."""
        return self.directory / "state"

    @property
    def endpoints(self) -> int:
        """How many endpoints the plugin knows."""
        return int(self.rig.engine.get("/healthz")["endpoints"])


def history(directory: Path, container: Container) -> list[str]:
    """The kinds of the container's events in the state file."""
    of_container = "SELECT kind FROM event WHERE endpoint = ? ORDER BY id"
    with closing(sqlite3.connect(f"file:{directory}/state/state.db?mode=ro", uri=True)) as database:
        return [kind for (kind,) in database.execute(of_container, (container.endpoint_id,))]


@contextmanager
def instances_of(rig: Rig) -> Iterator[Instances]:
    """For a fixture; with the check that the last instance leaves no link behind."""
    links = rig.machine.links()
    yield Instances(rig, rig.directory)
    if rig.plugin.running:
        rig.clean()
        wait_until(lambda: rig.machine.links() == links, f"the links of before: {links}")
        assert rig.plugin.stop() == 0
