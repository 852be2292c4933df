"""A thousand endpoints: an engine that is played speaks the plugin's protocol, and namespaces stand for containers.

The plugin is its own root file system. Each endpoint costs the machine a namespace and a port of the bridge, which has
room for 1,023. Must not know how figures are shown.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Interface
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.figures import OURS, Figures
from benchmarks.rootfs import RootfsPlugin
from benchmarks.rows import PLAYED_FLAT, PLAYED_MEMORY
from benchmarks.serverlog import Acknowledged
from benchmarks.socket_calls import CallFailed
from benchmarks.tree import pss_megabytes
from tests.lab.command import run
from tests.lab.dhcp import DhcpServer, ServerOptions
from tests.lab.network import LAN_BRIDGE, Network
from tests.netns.process.fakeengine import Answer, Container, FakeEngine
from tests.netns.process.rig import EngineDaemon, machine_of

# The laboratory's LAN has too few addresses, and dnsmasq takes a thousand clients unless it is told otherwise.
WIDE = IPv4Interface("172.20.0.1/16")
SERVER = ServerOptions(
    first=WIDE.network[256],
    last=WIDE.network[8191],
    netmask=WIDE.netmask,
    router=WIDE.ip,
    lease_time=3600,
    extra=("--leasefile-ro", "--dhcp-lease-max=8000"),
)
WEIGHINGS = 10


@dataclass(frozen=True, slots=True)
class _Stage:
    """What the endpoints are made on."""

    machine: Network
    server: DhcpServer
    plugin: RootfsPlugin
    engine: FakeEngine


class _Container(Container):
    """As Docker makes one, without IPv6: its neighbour discovery would be flooded to each port of the bridge."""

    def _make_sandbox(self) -> None:
        super()._make_sandbox()
        self.inside("sysctl", "--quiet", "--write", "net.ipv6.conf.default.disable_ipv6=1")


def measure_played(endpoints: int, figures: Figures) -> None:
    """The time of each CreateEndpoint, and the memory now and then; that each has its lease is the server's word."""
    with _stage() as stage:
        network_id = stage.engine.create_network()
        _warm_up(_Container(stage.engine, stage.machine, network_id))
        acknowledged = Acknowledged(stage.server)
        containers: list[_Container] = []
        try:
            for number in range(1, endpoints + 1):
                containers.append(_Container(stage.engine, stage.machine, network_id))
                milliseconds = _started(containers[-1])
                figures.add(PLAYED_FLAT, OURS, milliseconds)
                figures.add_at(PLAYED_FLAT, number, milliseconds)
                if number % (endpoints // WEIGHINGS) == 0:
                    acknowledged.wait_for_clients(number)
                    figures.add_at(PLAYED_MEMORY, number, pss_megabytes(stage.plugin.pids()))
            figures.add(PLAYED_MEMORY, OURS, figures.slope(PLAYED_MEMORY))
        finally:
            stage.plugin.stop()
            _remove_sandboxes(containers)


def _warm_up(container: _Container) -> None:
    """One that does not count: what is loaded late is no cost. A new cable needs up to a second to carry packets."""
    _checked(container.create())
    _checked(container.delete())


def _started(container: _Container) -> float:
    """The milliseconds of its CreateEndpoint; returns when its link is configured in its sandbox."""
    created = _checked(container.create())
    container.attach(_checked(container.join()))
    return created.seconds * 1000


def _checked(answer: Answer) -> Answer:
    if answer.error:
        raise CallFailed(answer.error)
    return answer


def _remove_sandboxes(containers: Iterable[_Container]) -> None:
    """Without a word to the plugin, which has ended: a thousand goodbyes are not what is measured here."""
    lines = [f"netns delete {container.sandbox}" for container in containers if container.has_sandbox]
    run("ip", "-batch", "-", stdin="\n".join(lines).encode())


@contextmanager
def _stage() -> Iterator[_Stage]:
    with ExitStack() as stack:
        directory = Path(stack.enter_context(TemporaryDirectory()))
        machine = stack.enter_context(machine_of(f"b{os.getpid()}"))
        run("ip", "-n", machine.lan, "address", "add", str(WIDE), "dev", LAN_BRIDGE)
        server = DhcpServer(directory / "dhcp", machine.lan)
        stack.callback(server.stop)
        server.start(SERVER)
        daemon = EngineDaemon(directory)
        stack.callback(daemon.stop)
        plugin = RootfsPlugin(machine, directory)
        stack.callback(plugin.stop)
        plugin.start()
        yield _Stage(machine, server, plugin, FakeEngine(plugin.socket))
