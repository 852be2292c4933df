"""A day of renewals in minutes: the plugin's clocks run faster, and its own clients renew leases of an hour.

udhcpc has clocks of its own, so none runs here. The server's clock is the usual one: to it the renewals come early.
"""

import time
from pathlib import Path

from tests.endurance.holdings import Growth, Holdings
from tests.lab.command import wait_until
from tests.lab.dhcp import DhcpServer, Ipv6Options, ServerOptions
from tests.netns.process.fakeengine import Container
from tests.netns.process.plugin import seen_by_plugin
from tests.netns.process.rig import Rig, at_once

HOUR = 3600
LEASE_SECONDS = HOUR
CONTAINERS = 20
WARM_UP_HOURS = 2
EVENT_ROWS, PRUNE_EVERY = 1000, 100  # the product's are larger, and would not be reached
BOUNDS = {"event": EVENT_ROWS + PRUNE_EVERY}
LEAST_SHARE = 0.9  # of the renewals at T1: each comes a little late, as clients drift apart
SERVER_OPTIONS = ServerOptions(lease_time=LEASE_SECONDS, ipv6=Ipv6Options(lease_time=LEASE_SECONDS))
PROGRAM = """
import time
from pathlib import Path
from supervisor.state import store, tables
from workers.system import alarm

tables.EVENT_ROWS, store.PRUNE_EVERY = {event_rows}, {prune_every}
pace, real_clock, real_time, real_set = Path({pace!r}), time.clock_gettime, time.time, alarm.Alarm.set

def read():
    return map(float, pace.read_text().split())

def sped(now):
    real, ours, factor = read()
    return ours + (now - real) * factor

def clock(which):
    return sped(real_clock(which)) if which in (time.CLOCK_BOOTTIME, time.CLOCK_MONOTONIC) else real_clock(which)

def wall_clock():
    now = real_clock(time.CLOCK_BOOTTIME)
    return real_time() + sped(now) - now

def set_alarm(self, at):
    real, ours, factor = read()
    real_set(self, None if at is None else real + (at - ours) / factor)

time.clock_gettime, time.time, alarm.Alarm.set = clock, wall_clock, set_alarm
from supervisor.init import main
main()
"""


class Pace:
    """How fast the plugin's clocks run; the file says since when, what they said then, and by which factor."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._real = self._ours = time.clock_gettime(time.CLOCK_BOOTTIME)
        self._factor = 1.0
        self._write()

    @property
    def program(self) -> tuple[str, ...]:
        """The plugin with these clocks."""
        pace = seen_by_plugin(self._file)
        return "-c", PROGRAM.format(pace=pace, event_rows=EVENT_ROWS, prune_every=PRUNE_EVERY)

    def set(self, factor: float, containers: list[Container]) -> None:
        """From now on; each worker looks at its clock, as it waits for a time by the former pace."""
        now = time.clock_gettime(time.CLOCK_BOOTTIME)
        self._ours += (now - self._real) * self._factor
        self._real, self._factor = now, factor
        self._write()
        for container in containers:
            container.inside("ip", "link", "add", "tick", "type", "bridge")
            container.inside("ip", "link", "delete", "tick")

    def _write(self) -> None:
        partial = self._file.with_suffix(".new")
        partial.write_text(f"{self._real!r} {self._ours!r} {self._factor!r}")
        partial.replace(self._file)


def run(rig: Rig, server: DhcpServer, pace: Pace, hours: float, factor: float) -> tuple[int, int, int, Growth]:
    """How many renewals the server has acknowledged, how many there have to be, how many leases were obtained anew, as
    they had run out, and what has grown."""
    rig.machine.serve_ipv6()
    server.restart(SERVER_OPTIONS)
    network = rig.network(client="native", ipv6="true")
    containers = [rig.container(network) for _ in range(CONTAINERS)]
    at_once(*(container.start for container in containers))
    for container in containers:
        wait_until(lambda c=container: c.view["phase"] == "joined", "the worker in the sandbox")  # type: ignore[misc]
    _pass_time(pace, containers, WARM_UP_HOURS, factor)
    before, asked = Holdings.of(rig), _counts(server)
    _pass_time(pace, containers, hours, factor)
    after, counts = Holdings.of(rig), _counts(server)
    for container in containers:
        found = [*container.inet, *container.inet6]
        assert found == [container.address, container.address6], f"{container.view} has {found}"
    due = int(LEAST_SHARE * hours * HOUR / (LEASE_SECONDS / 2)) * 2 * CONTAINERS
    return counts[0] - asked[0], due, counts[1] - asked[1], Growth(before, after, BOUNDS)


def _pass_time(pace: Pace, containers: list[Container], hours: float, factor: float) -> None:
    """It is what has to pass, so there is nothing to wait for instead."""
    pace.set(factor, containers)
    time.sleep(hours * HOUR / factor)
    pace.set(1.0, containers)


def _counts(server: DhcpServer) -> tuple[int, int]:
    """Its acknowledgements, and the leases that it has offered."""
    acknowledged = len(server.messages(kind="ACK")) + len(server.messages6(kind="REPLY"))
    return acknowledged, len(server.messages(kind="OFFER")) + len(server.messages6(kind="ADVERTISE"))
