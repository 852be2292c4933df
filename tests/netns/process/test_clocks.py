"""The host sleeps, or its wall clock is set: what the server sees of that is an early renewal at most.

The plugin runs with clocks of the test's: the one that goes on in a suspend and the wall clock are ahead by what a file
says, as they are after a suspend or a step. What the kernel does at a suspend's end, waking those who wait for that
clock, is played by a change that the worker is told of.
"""

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.lab.command import wait_until
from tests.lab.dhcp import DhcpServer
from tests.netns.process.fakeengine import Container
from tests.netns.process.instances import Instances
from tests.netns.process.plugin import seen_by_plugin
from tests.netns.process.rig import Rig
from tests.netns.process.wire import Kind

DAY, HOUR = 86400, 3600
UDHCPC_WAIT, WAIT = 1, 0.5  # for an answer; the product waits longer
UDHCPC_TRIES = 4  # of a renewal that udhcpc is told to make: then it gives the lease up
LEASE_SECONDS = 120  # the lab's server's
CLOCKS = """
import time
from pathlib import Path
from workers.dhcp4 import machine, udhcpc
from workers.system import alarm

udhcpc.RETRY_SECONDS, machine.TAKEOVER_WAIT_SECONDS = {udhcpc_wait}, {wait}

ahead, real_clock, real_time, real_set = Path({ahead!r}), time.clock_gettime, time.time, alarm.Alarm.set

def seconds(which):
    return float(ahead.read_text().split()[which])

def put_off(self, at):
    real_set(self, None if at is None else at - seconds(0))

time.clock_gettime = lambda clock: real_clock(clock) + (seconds(0) if clock == time.CLOCK_BOOTTIME else 0)
time.time = lambda: real_time() + seconds(1)
alarm.Alarm.set = put_off
from supervisor.init import main
main()
"""


@dataclass(frozen=True, slots=True)
class Clocks:
    """What the plugin's clocks are ahead by."""

    ahead: Path

    def set(self, *, slept: float = 0.0, stepped: float = 0.0) -> None:
        """The host has slept for so long, or its wall clock was set on by so much."""
        partial = self.ahead.with_suffix(".new")
        partial.write_text(f"{slept} {slept + stepped}")
        partial.replace(self.ahead)

    def wake(self, container: Container) -> None:
        """The worker looks at its clock."""
        container.inside("ip", "link", "add", "tick", "type", "bridge")
        container.inside("ip", "link", "delete", "tick")


@pytest.fixture(name="clocks", autouse=True)
def _clocks(alone: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clocks:
    clocks = Clocks(tmp_path / "ahead")
    clocks.set()
    program = CLOCKS.format(ahead=seen_by_plugin(clocks.ahead), udhcpc_wait=UDHCPC_WAIT, wait=WAIT)
    monkeypatch.setattr("tests.netns.process.plugin.PROGRAM", ("-c", program))
    return clocks


@pytest.fixture(name="container")
def _container(instances: Instances, rig: Rig, server: DhcpServer) -> Container:
    """In which udhcpc has its lease of two minutes."""
    return rig.joined()


@pytest.mark.parametrize(
    ("slept", "kinds"),
    [
        (LEASE_SECONDS * 0.6, {Kind.REQUEST}),
        (8 * HOUR, {Kind.DISCOVER, Kind.REQUEST}),
    ],
    ids=["past T1", "past the end"],
)
def test_suspend(
    rig: Rig, server: DhcpServer, clocks: Clocks, container: Container, *, slept: float, kinds: set[Kind]
) -> None:
    """A host that wakes up renews at once, or asks for its address again where the lease has run out meanwhile."""
    before, frames, confirmed = container.view, len(rig.capture.frames()), rig.confirmations(container)

    clocks.set(slept=slept)
    clocks.wake(container)
    rig.wait_for_bound(container, more_than=confirmed)

    assert {frame.packet.kind for frame in rig.capture.frames()[frames:]} == kinds
    assert [container.view[k] for k in ("mac", "address")] == [before[k] for k in ("mac", "address")]
    assert [lease.mac for lease in server.leases()] == [container.mac]
    assert rig.engine.get("/healthz")["healthy"]


def test_network_that_is_slow_to_come_back(rig: Rig, server: DhcpServer, clocks: Clocks, container: Container) -> None:
    """After a suspend a lease that runs is renewed however long no server answers, and not given up for another."""
    frames, confirmed = len(rig.capture.frames()), rig.confirmations(container)
    server.stop()
    clocks.set(slept=LEASE_SECONDS * 0.6)
    clocks.wake(container)
    rig.wait_for_frames(frames + UDHCPC_TRIES + 2, 60)

    server.start()
    rig.wait_for_bound(container, more_than=confirmed)

    assert {frame.packet.kind for frame in rig.capture.frames()[frames:]} == {Kind.REQUEST}
    assert container.inet == [container.address]


def test_short_suspend(rig: Rig, clocks: Clocks, container: Container) -> None:
    """Before T1 nothing is due, and nothing is sent."""
    frames, confirmed = len(rig.capture.frames()), rig.confirmations(container)
    clocks.set(slept=LEASE_SECONDS * 0.2)
    clocks.wake(container)
    rig.renew(container)  # the first thing to be seen
    assert rig.confirmations(container) == confirmed + 1
    assert {frame.packet.kind for frame in rig.capture.frames()[frames:]} == {Kind.REQUEST}


@pytest.mark.parametrize("step", [DAY, -DAY], ids=["on", "back"])
def test_wall_clock_that_is_set(
    rig: Rig, server: DhcpServer, clocks: Clocks, container: Container, instances: Instances, *, step: float
) -> None:
    """A wall clock that is a day off changes nothing, nor does it for the next instance, which only renews."""
    frames, confirmed = len(rig.capture.frames()), rig.confirmations(container)
    clocks.set(stepped=step)
    clocks.wake(container)
    assert container.view["phase"] == "joined"
    assert rig.engine.get("/healthz")["healthy"]

    instances.again()
    rig.wait_for_bound(container, more_than=confirmed)

    assert {frame.packet.kind for frame in rig.capture.frames()[frames:]} == {Kind.REQUEST}
    wait_until(lambda: len(server.leases()) == 1, "the only lease")
