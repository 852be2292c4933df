"""What the engine or an earlier instance has left behind goes by itself, and nothing else does."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.command import wait_until
from tests.lab.dhcp import DhcpServer
from tests.netns.process.instances import Instances, instances_of
from tests.netns.process.rig import Rig
from tests.netns.process.wire import Kind

JOIN_SECONDS = 2.0
HURRIED = f"""
import supervisor.endpoints
supervisor.endpoints.JOIN_SECONDS = {JOIN_SECONDS}
supervisor.endpoints.GONE_SECONDS = 0.5
from supervisor.__main__ import main
main()
"""


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.netns.process.plugin.COMMAND", (sys.executable, "-E", "-s", "-c", HURRIED))


@pytest.fixture(name="instances")
def _instances(rig: Rig, tmp_path: Path) -> Iterator[Instances]:
    with instances_of(rig, tmp_path) as instances:
        yield instances


def test_link_that_is_never_moved(rig: Rig, server: DhcpServer) -> None:
    """An engine that joins and then breaks off: after the deadline lease and link are gone, released once."""
    links = rig.machine.links()
    container = rig.container(early_sandbox=True)
    container.create()
    assert container.join().status == 200
    assert rig.machine.links() != links

    wait_until(lambda: rig.machine.links() == links, "the end of the link", JOIN_SECONDS + 5)

    wait_until(lambda: not server.leases(), "the release", 5)
    assert len(rig.capture.frames(kind=Kind.RELEASE)) == 1
    wait_until(lambda: rig.engine.get("/healthz")["endpoints"] == 0, "the end of the endpoint", 5)


def test_sandbox_that_went_before_it_was_entered(rig: Rig, server: DhcpServer) -> None:
    """A link that went with its sandbox, with no word from the engine: the lease is released all the same."""
    container = rig.container(early_sandbox=True)
    container.create()
    joined = container.join()
    container.move(joined)
    container.remove_sandbox()

    wait_until(lambda: not server.leases(), "the release", JOIN_SECONDS + 5)
    wait_until(lambda: rig.engine.get("/healthz")["endpoints"] == 0, "the end of the endpoint", 5)
    assert len(rig.capture.frames(kind=Kind.RELEASE)) == 1


def test_start_does_not_wait_for_a_link_that_was_not_moved(rig: Rig, server: DhcpServer, instances: Instances) -> None:
    """An endpoint that waits for the engine keeps the first request of the next instance waiting no longer than any."""
    without = instances.again()
    container = rig.container()
    container.create()
    joined = container.join()

    seconds = instances.again()

    print(f"first answer {seconds:.2f} s after the start, {without:.2f} s without an endpoint")
    assert seconds < without + 1.0
    container.attach(joined)
    rig.wait_for_bound(container)
