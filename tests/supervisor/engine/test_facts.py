"""The sum of what the watcher has pushed."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from supervisor.engine.facts import (
    ContainerGone,
    ContainerSeen,
    Engine,
    EngineConnected,
    EngineFound,
    EngineLost,
    NetworkGone,
    NetworkSeen,
)

PID = os.getpid()
WEB = ContainerSeen("c1", "web", "web-host", ("e1", "e2"))
LAN = NetworkSeen("n1", "lan", None)
BRIDGE = NetworkSeen("n2", "bridge", "docker0")


@pytest.fixture(name="engine")
def _engine() -> Engine:
    engine = Engine()
    for fact in (EngineFound(PID), EngineConnected("/data"), WEB, LAN, BRIDGE):
        engine.learn(fact)
    return engine


def test_nothing_known() -> None:
    """Before the first fact every question has the answer None."""
    engine = Engine()
    assert engine.path("/var/run") is None
    assert engine.network_name("n1") is None
    assert engine.owner_of_bridge("docker0") is None
    assert engine.container_of("e1") is None
    assert not engine.connected


def test_answers(engine: Engine) -> None:
    """Each question is answered from the facts."""
    assert engine.path("/nowhere/netns/1") == Path(f"/proc/{PID}/root/nowhere/netns/1")
    assert engine.network_name("n1") == "lan"
    assert engine.owner_of_bridge("docker0") == "bridge"
    assert engine.owner_of_bridge("br0") is None
    assert engine.container_of("e2") == WEB
    assert engine.container_of("e3") is None
    assert (engine.connected, engine.data_root) == (True, "/data")


def test_release_of_the_dockerd_that_runs(engine: Engine, tmp_path: Path) -> None:
    """Its version is known as soon as its API has told it, and of the next one at once if its program is the same."""
    engine.learn(EngineConnected("/data", version="29.7.1"))
    restarted = Engine()
    restarted.program = engine.program
    releases = [engine.release, restarted.release]
    restarted.learn(EngineFound(PID))
    releases.append(restarted.release)

    other = tmp_path / "sleep"
    shutil.copy("/bin/sleep", other)
    with subprocess.Popen([other, "60"]) as updated:
        restarted.learn(EngineFound(updated.pid))
        releases.append(restarted.release)
        updated.kill()
    restarted.learn(EngineFound(updated.pid))
    assert [*releases, restarted.release] == [29, None, 29, None, None]


@pytest.mark.parametrize(("version", "release"), [("28.5.2", 28), ("20.10.24+dfsg1", 20), ("dev", None), ("", None)])
def test_versions(engine: Engine, version: str, release: int | None) -> None:
    """A version that does not begin with a number is none."""
    engine.learn(EngineConnected("/data", version=version))
    assert engine.release == release


def test_a_place_is_followed_once(tmp_path: Path) -> None:
    """By each dockerd anew, whose pid may be that of the last one."""
    engine, link = Engine(), tmp_path / "containers"
    engine.data_root = str(tmp_path)
    assert engine.place("containers") is None
    for target in ("ssd", "disk"):
        found = Path(f"/proc/{PID}/root{tmp_path}/{target}")
        link.symlink_to(target)
        engine.learn(EngineFound(PID))
        assert engine.place("containers") == found
        link.unlink()
        assert engine.place("containers") == found
    engine.pid = None
    assert engine.place("containers") is None


def test_newer_facts_replace_older(engine: Engine) -> None:
    """A container that was renamed and lost an endpoint is known by its new name and the endpoint is nobody's."""
    engine.learn(ContainerSeen("c1", "shop", "web-host", ("e2",)))
    assert engine.container_of("e1") is None
    container = engine.container_of("e2")
    assert container is not None
    assert container.name == "shop"


def test_an_endpoint_that_moves(engine: Engine) -> None:
    """What is seen of the former container later takes no endpoint from the one that has it now."""
    shop = ContainerSeen("c2", "shop", "shop-host", ("e1",))
    for fact in (shop, ContainerSeen("c1", "web", "web-host", ("e2",)), ContainerGone("c1")):
        engine.learn(fact)
    assert (engine.container_of("e1"), engine.container_of("e2")) == (shop, None)


def test_gone(engine: Engine) -> None:
    """What was removed is forgotten, and so is what was never known."""
    for fact in (ContainerGone("c1"), NetworkGone("n1"), ContainerGone("c9"), NetworkGone("n9")):
        engine.learn(fact)
    assert engine.container_of("e1") is None
    assert engine.network_name("n1") is None
    assert engine.network_name("n2") == "bridge"


def test_lost_and_found(engine: Engine) -> None:
    """A lost engine's facts still serve; a new connection starts from nothing, since removals were missed."""
    engine.learn(EngineLost("end of file"))
    assert not engine.connected
    assert engine.network_name("n1") == "lan"
    engine.learn(EngineConnected("/elsewhere"))
    assert engine.network_name("n1") is None
    assert engine.container_of("e1") is None
    assert engine.data_root == "/elsewhere"
