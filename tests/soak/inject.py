"""The faults. Each returns when all is in place again, or shortly after where that is the plugin's own business."""

import resource
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from http.client import HTTPException
from ipaddress import IPv6Address
from random import Random
from signal import SIGKILL

from tests.lab.command import CommandFailed, wait_until
from tests.lab.dhcp import Ipv6Options, ServerOptions
from tests.lab.engine import EngineFailed
from tests.lab.lab import Lab
from tests.lab.network import BRIDGE, LAN, SERVER
from tests.lab.plugin import Plugin
from tests.lab.process import Process
from tests.netns.process.forgery import answers_of_strangers, claims_in_each_way, flood, mac_of, rogue_advertisements
from tests.netns.process.wire6 import neighbour_advertisement
from tests.soak.records import Fault

LIVE_RESTORE = {"live-restore": True}
RANGES = ((LAN[20], LAN[130]), (LAN[131], LAN[240]))
ROUTERS = (SERVER, LAN[10])
SAME_SERVER = "--dhcp-duid=32473,02:00:5e:00:53:01"  # dnsmasq keeps a DUID of its own making with its leases
OUTAGE = (10.0, 100.0)  # seconds
AWAY = 15.0  # seconds, at most, for which the plugin is disabled or the state cannot be written
BRIDGELESS = 8.0  # seconds, at most, for which there is no bridge
FORGING = (5.0, 25.0)  # seconds
FORGED_PER_SECOND, CLAIMANTS = 500, 5
PORTS = "dh-"
WAIT_LIMIT = 60.0  # seconds
DISABLE_LIMIT = 120.0


@dataclass(slots=True)
class Injector:
    """`options` are the server's now. `longest_outage` is in seconds."""

    lab: Lab
    plugin: Plugin
    longest_outage: float
    lease_time: int
    options: ServerOptions = field(init=False)

    def __post_init__(self) -> None:
        first, last = RANGES[0]
        ipv6 = Ipv6Options(lease_time=self.lease_time)
        self.options = ServerOptions(first, last, lease_time=self.lease_time, ipv6=ipv6, extra=(SAME_SERVER,))

    def kill(self, role: str, roll: float) -> None:
        """One process of this role, if there is one: who renews after a takeover needs no udhcpc."""
        self._await_plugin()
        processes = [p for pid in self._pids(role) if (p := Process.of(pid))]
        if processes:
            self._kill(processes[int(roll * len(processes))])

    def kill_all(self, _roll: float) -> None:
        """Every process of the plugin."""
        self._kill(*self.plugin.processes())

    def _kill(self, *victims: Process) -> None:
        for victim in victims:
            victim.kill(SIGKILL)
        wait_until(lambda: not any(victim.alive for victim in victims), "the end of what was killed", WAIT_LIMIT)
        self._await_plugin()

    def disable(self, roll: float) -> None:
        """And enable it."""
        self.plugin.docker("plugin", "disable", "--force", self.plugin.name, timeout=DISABLE_LIMIT)
        time.sleep(roll * AWAY)
        self.plugin.docker("plugin", "enable", self.plugin.name, timeout=DISABLE_LIMIT)
        self._await_plugin()

    def stop_engine(self, roll: float) -> None:
        """With live-restore, so that containers go on."""
        self.lab.engine.terminate()
        self._start_engine(roll)

    def kill_engine(self, roll: float) -> None:
        """A crash."""
        self.lab.engine.kill()
        self._start_engine(roll)

    def _start_engine(self, roll: float) -> None:
        time.sleep(roll * AWAY / 3)
        try:
            self.lab.engine.start(LIVE_RESTORE)
        except EngineFailed:  # its containerd may not start in time; an init system tries again, too
            self.lab.engine.start(LIVE_RESTORE)
        self._await_plugin()

    def fill_disk(self, roll: float) -> None:
        """No file that the supervisor writes may grow, which to SQLite is a disk that fails.

        Over when all is on disk again: what was made meanwhile would not outlive a crash before that.
        """
        (pid,) = self._pids("supervisor")
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        time.sleep(roll * AWAY)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        wait_until(self._keeps_state, "the state on disk", WAIT_LIMIT, interval=0.2)

    def outage(self, roll: float) -> None:
        """The server is away, and comes back as it was."""
        shortest = OUTAGE[0]
        self.lab.dhcp.stop()
        time.sleep(shortest + roll * max(0, self.longest_outage - shortest))
        self.lab.dhcp.start(self.options)

    def renumber(self, _roll: float) -> None:
        """The other half of the subnet; whoever renews is refused. IPv6 addresses stay."""
        first, last = RANGES[self.options.first == RANGES[0][0]]
        self._restart(replace(self.options, first=first, last=last))

    def reroute(self, _roll: float) -> None:
        """Another gateway; each learns it with its next renewal."""
        router = ROUTERS[self.options.router == ROUTERS[0]]
        self._restart(replace(self.options, router=router))

    def forget(self, _roll: float) -> None:
        """The server comes back without its leases, as cheap routers do."""
        self.lab.dhcp.stop()
        self.lab.dhcp.lease_file.unlink()
        self.lab.dhcp.start(self.options)

    def remake_bridge(self, roll: float) -> None:
        """As a tool that configures the host's network anew does it: only the plugin puts containers' ports back."""
        self.lab.network.unplug(BRIDGE)
        time.sleep(roll * BRIDGELESS)
        self.lab.network.make_bridge()

    def take_ports(self, roll: float) -> None:
        """Some of the containers' ports are no ports of the bridge any more."""
        ports = sorted(name for name in self.lab.network.links() if name.startswith(PORTS))
        for port in ports[:: 1 + int(roll * 4)]:
            with suppress(CommandFailed):  # its container has just gone
                self.lab.network.on_host("ip", "link", "set", port, "nomaster")

    def forge(self, roll: float) -> None:
        """A neighbour claims each leased address, by ARP and over IPv6, answers for DHCP servers, and plays routers."""
        leases, leases6 = self.lab.dhcp.leases(), self.lab.dhcp.leases6()
        # Few routers: each takes a place in the kernel's table of neighbours, where the server would lack them here.
        frames = rogue_advertisements(IPv6Address("fe80::1"))[:CLAIMANTS]
        frames += answers_of_strangers(*(lease.mac for lease in leases[:CLAIMANTS]))
        for number in range(CLAIMANTS):
            mac = mac_of(number)
            frames += [frame for lease in leases for frame in claims_in_each_way(lease.address, mac)]
            frames += [neighbour_advertisement(lease.address, mac) for lease in leases6]
        Random(roll).shuffle(frames)  # noqa: S311  (no secret)
        with flood(self.lab.network, frames, FORGED_PER_SECOND):
            time.sleep(FORGING[0] + roll * (FORGING[1] - FORGING[0]))

    def _restart(self, options: ServerOptions) -> None:
        self.options = options
        self.lab.dhcp.restart(options)

    def _pids(self, role: str) -> list[int]:
        _, view = self.plugin.get("/v1/workers")
        return [worker["pid"] for worker in view["workers"] if worker["role"] == role and worker["pid"]]

    def _await_plugin(self) -> None:
        """Until it answers and knows its engine; not until it is well, as that takes a DHCP server."""
        wait_until(self._answers, "the plugin's answer", WAIT_LIMIT, interval=0.1)

    def _keeps_state(self) -> bool:
        return not any("state cannot be kept" in problem for problem in self.plugin.get("/healthz")[1]["problems"])

    def _answers(self) -> bool:
        with suppress(OSError, HTTPException):  # it is just being started
            return bool(self.plugin.get("/healthz")[1].get("engine_connected"))
        return False


FAULTS: dict[Fault, Callable[[Injector, float], None]] = {
    Fault.WORKER: lambda injector, roll: injector.kill("worker", roll),
    Fault.UDHCPC: lambda injector, roll: injector.kill("udhcpc", roll),
    Fault.GUNICORN: lambda injector, roll: injector.kill("api", roll),
    Fault.WATCHER: lambda injector, roll: injector.kill("watcher", roll),
    Fault.SUPERVISOR: lambda injector, roll: injector.kill("supervisor", roll),
    Fault.EVERYTHING: Injector.kill_all,
    Fault.DISABLED: Injector.disable,
    Fault.DOCKERD_TERM: Injector.stop_engine,
    Fault.DOCKERD_KILL: Injector.kill_engine,
    Fault.FULL_DISK: Injector.fill_disk,
    Fault.OUTAGE: Injector.outage,
    Fault.RENUMBERED: Injector.renumber,
    Fault.REROUTED: Injector.reroute,
    Fault.FORGETFUL: Injector.forget,
    Fault.BRIDGE: Injector.remake_bridge,
    Fault.PORTS: Injector.take_ports,
    Fault.FORGED: Injector.forge,
}
