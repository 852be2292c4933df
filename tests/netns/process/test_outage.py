"""A DHCP server that dies and comes back: who is told, when, and how often."""

import os
import re
import signal
from datetime import datetime
from pathlib import Path

import pytest

from tests.lab.command import wait_until
from tests.lab.kea import Kea, KeaOptions
from tests.netns.process.fakeengine import Container
from tests.netns.process.instances import history
from tests.netns.process.rig import Rig

LEASE_SECONDS = int(os.environ.get("LEASE", "30"))
T2_SECONDS = LEASE_SECONDS * 7 / 8
TOLERANCE = 1.0  # seconds: what the list of endpoints shows is whole ones
BACK_SECONDS = 30.0
TOLD = ["no answer", "expired", "recovered"]


@pytest.mark.timeout(300 + 3 * LEASE_SECONDS)
def test_server_that_dies_and_returns(rig: Rig, tmp_path: Path) -> None:
    """Log, history and health say so once, soon after T2 at the latest, and say it when the server is back.

    Whoever renews: udhcpc, the renewer, or a udhcpc that hangs, which is replaced.
    """
    kea = Kea(tmp_path / "kea", rig.machine.lan)
    kea.start(KeaOptions(lease_time=LEASE_SECONDS))
    network = rig.network()
    try:
        by_udhcpc, by_renewer, by_none = rig.joined(network), rig.joined(network), rig.joined(network)
        os.kill(by_renewer.view["worker_pid"], signal.SIGKILL)
        rig.wait_for_bound(by_renewer, more_than=1)
        containers = (by_udhcpc, by_renewer, by_none)
        renewed = {c: c.view["renewed"] for c in containers}
        os.kill(by_none.view["udhcpc_pid"], signal.SIGSTOP)  # whatever it hangs in
        kea.kill()

        for container in containers:
            (said,) = wait_until(lambda c=container: lines(rig, c, "no answer"), "the news", 2 * LEASE_SECONDS)  # type: ignore[misc]
            late = said - _seconds(renewed[container]) - T2_SECONDS
            print(f"said {late:.1f} s after T2")
            assert late < min(10, LEASE_SECONDS - T2_SECONDS) + TOLERANCE
        wait_until(lambda: len(rig.engine.get("/healthz")["problems"]) == 3, "the verdict")
        for container in containers:
            wait_until(lambda c=container: lines(rig, c, "expired"), "the end of the lease", 2 * LEASE_SECONDS)  # type: ignore[misc]

        kea.start(KeaOptions(lease_time=LEASE_SECONDS))
        for container in containers:
            wait_until(lambda c=container: said_back(rig, c), "the server's return", BACK_SECONDS)  # type: ignore[misc]
            wait_until(lambda c=container: history(rig.directory, c)[-3:] == TOLD, "the same in the history")  # type: ignore[misc]
            assert len(lines(rig, container, "no answer")) == 1
        assert rig.engine.get("/healthz")["healthy"]
        rig.clean()
    finally:
        kea.stop()


def lines(rig: Rig, container: Container, trouble: str) -> list[float]:
    """When the log has said so of a container, in Unix seconds."""
    pattern = rf'^time=(\S+) .*msg="{trouble}: .* endpoint={container.endpoint_id[:12]}'
    return [_seconds(stamp) for stamp in re.findall(pattern, rig.plugin.log, re.MULTILINE)]


def said_back(rig: Rig, container: Container) -> bool:
    """Whether the log has said that the lease is no longer in danger."""
    pattern = rf"confirmed by .*; this ends the trouble: .* endpoint={container.endpoint_id[:12]}"
    return re.search(pattern, rig.plugin.log) is not None


def _seconds(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()
