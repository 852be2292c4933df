"""A root that an engine leaves mounted, as it dies within a start, costs no other container its identity."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from signal import SIGCONT, SIGSTOP

import pytest

from tests.lab.build import PLUGIN
from tests.lab.command import CommandFailed, wait_until
from tests.lab.containers import Container
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
    """Another container that is like it keeps its MAC over a restart, in which it stays mounted, and over
    a stop and a start; so does the container itself, whose root stays mounted when it is stopped again."""
    docker = lab.engine.docker
    lab.engine.reload(LIVE_RESTORE)
    create_network(plugin, NETWORK)
    left, other = (Container.run(docker, name, f"--network={NETWORK}") for name in ("left", "other"))
    macs = [assert_leased(container, NETWORK, lab.dhcp).mac for container in (left, other)]
    root = left.inspect()["GraphDriver"]["Data"]["MergedDir"]
    left.stop()
    _kill_within_start(lab, plugin, left, root)
    await_instance(plugin)

    assert _is_mounted(lab, root)
    other.restart()
    assert assert_leased(other, NETWORK, lab.dhcp).mac == macs[1]
    other.stop()
    other.start()
    assert assert_leased(other, NETWORK, lab.dhcp).mac == macs[1]
    left.start()
    assert assert_leased(left, NETWORK, lab.dhcp).mac == macs[0]
    left.stop()
    assert _is_mounted(lab, root)


def _kill_within_start(lab: Lab, plugin: Plugin, container: Container, root: str) -> None:
    """While it waits for the plugin, with its root mounted; the engine runs again afterwards."""
    _, view = plugin.get("/v1/workers")
    (pid,) = {worker["pid"] for worker in view["workers"] if worker["role"] == "supervisor"}
    with ThreadPoolExecutor() as user:
        os.kill(pid, SIGSTOP)
        try:
            start = user.submit(container.start)
            wait_until(lambda: _is_mounted(lab, root), "the start", 5)
            lab.engine.kill()
        finally:
            os.kill(pid, SIGCONT)
        with pytest.raises(CommandFailed):
            start.result()
    lab.engine.start(LIVE_RESTORE)


def _is_mounted(lab: Lab, root: str) -> bool:
    dockerd = lab.engine.process
    assert dockerd is not None
    return f" {root} " in Path(f"/proc/{dockerd.pid}/mountinfo").read_text()
