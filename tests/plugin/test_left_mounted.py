"""A root that an engine leaves mounted, as it dies within a start, does not cost others their identity for ever."""

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from signal import SIGCONT, SIGSTOP

import pytest

from supervisor.engine.identity import COMEBACK_SECONDS
from tests.lab.build import PLUGIN
from tests.lab.command import CommandFailed, wait_until
from tests.lab.containers import Container
from tests.lab.images import BUSYBOX
from tests.lab.lab import Lab
from tests.lab.plugin import Plugin
from tests.plugin.conftest import create_network
from tests.plugin.crash import await_instance
from tests.plugin.judge import assert_leased

pytestmark = pytest.mark.plugin

NETWORK = "lan"
LIVE_RESTORE = {"live-restore": True}


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """One whose engine may be killed."""
    with Lab.temporary("left") as lab:
        yield lab


@pytest.fixture(scope="module")
def plugin(lab: Lab) -> Plugin:
    """In that engine."""
    return Plugin.install(lab.engine, "net-dhcp:left", PLUGIN)


def test_engine_killed_within_a_start(lab: Lab, plugin: Plugin) -> None:
    """Once that start is long ago, another container that is like its one keeps its MAC over a restart, in which it
    stays mounted, and over a stop and a start. The root stays mounted over a start and a stop of its container."""
    docker = lab.engine.docker
    lab.engine.reload(LIVE_RESTORE)
    create_network(plugin, NETWORK)
    other = Container.run(docker, "other", f"--network={NETWORK}")
    mac = assert_leased(other, NETWORK, lab.dhcp).mac
    docker("create", "--name=left", f"--network={NETWORK}", BUSYBOX)
    left = Container(docker, "left")
    root = left.root(lab.engine)
    _kill_within_start(lab, plugin, left, root)
    await_instance(plugin)

    assert _is_mounted(lab, root)
    os.utime(root.parent, (time.time() - 2 * COMEBACK_SECONDS,) * 2)
    other.restart()
    assert assert_leased(other, NETWORK, lab.dhcp).mac == mac
    other.stop()
    other.start()
    assert assert_leased(other, NETWORK, lab.dhcp).mac == mac
    left.start()
    left.stop()
    assert _is_mounted(lab, root)


def _kill_within_start(lab: Lab, plugin: Plugin, container: Container, root: Path) -> None:
    """While it waits for the plugin, with its root mounted; the engine runs again afterwards."""
    _, view = plugin.get("/v1/workers")
    (pid,) = {worker["pid"] for worker in view["workers"] if worker["role"] == "supervisor"}
    with ThreadPoolExecutor() as user:
        os.kill(pid, SIGSTOP)
        try:
            start = user.submit(container.start)
            wait_until(lambda: _is_mounted(lab, root), "the start")
            lab.engine.kill()
        finally:
            os.kill(pid, SIGCONT)
        with pytest.raises(CommandFailed):
            start.result()
    lab.engine.start(LIVE_RESTORE)


def _is_mounted(lab: Lab, root: Path) -> bool:
    dockerd = lab.engine.process
    assert dockerd is not None
    return f" {root} " in Path(f"/proc/{dockerd.pid}/mountinfo").read_text()
