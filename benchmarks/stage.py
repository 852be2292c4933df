"""What a played engine plays on: a LAN with room for thousands, its DHCP server, the plugin's own root file system.

Must not know the measurements.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Interface
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.endpoint import CallFailed
from benchmarks.rootfs import RootfsPlugin
from benchmarks.serverlog import Acknowledged
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


class PlayedContainer(Container):
    """As Docker makes one, without IPv6: its neighbour discovery would be flooded to each port of the bridge."""

    def _make_sandbox(self) -> None:
        super()._make_sandbox()
        self.inside("sysctl", "--quiet", "--write", "net.ipv6.conf.default.disable_ipv6=1")

    def play_start(self) -> None:
        """Returns when its link is configured in its sandbox; raises CallFailed."""
        checked(self.create())
        self.attach(checked(self.join()))


@dataclass(frozen=True, slots=True)
class Stage:
    """One network on one machine."""

    machine: Network
    server: DhcpServer
    plugin: RootfsPlugin
    engine: FakeEngine
    network_id: str
    acknowledged: Acknowledged
    containers: list[PlayedContainer]

    def container(self) -> PlayedContainer:
        """One that is not started yet."""
        return PlayedContainer(self.engine, self.machine, self.network_id)

    def start_container(self) -> None:
        """One more that stays; raises CallFailed."""
        self.containers.append(self.container())
        self.containers[-1].play_start()

    def wait_for_clients(self) -> None:
        """Until the clients of all containers have had their own DHCPACK; raises NotReached."""
        self.acknowledged.wait_for_clients(len(self.containers))


def checked(answer: Answer) -> Answer:
    """The answer; raises CallFailed if it is an error."""
    if answer.error:
        raise CallFailed(answer.error)
    return answer


def remove_sandboxes(containers: Iterable[PlayedContainer]) -> None:
    """Removes them in one command, without a word to the plugin, which has ended."""
    lines = [f"netns delete {container.sandbox}" for container in containers if container.has_sandbox]
    run("ip", "-batch", "-", stdin="\n".join(lines).encode())


def widen(machine: Network) -> None:
    """Gives the server an address in the wide subnet, too."""
    run("ip", "-n", machine.lan, "address", "add", str(WIDE), "dev", LAN_BRIDGE)


@contextmanager
def stage(name: str, definition: Path) -> Iterator[Stage]:
    """Builds it for that plugin, and removes it at the end. `name` is the stage's among those of this process."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(TemporaryDirectory()))
        machine = stack.enter_context(machine_of(f"{name[:3]}{os.getpid()}"))
        widen(machine)
        server = DhcpServer(directory / "dhcp", machine.lan)
        stack.callback(server.stop)
        server.start(SERVER)
        daemon = EngineDaemon(directory)
        stack.callback(daemon.stop)
        containers: list[PlayedContainer] = []
        stack.callback(remove_sandboxes, containers)
        plugin = RootfsPlugin(machine, directory, definition)
        stack.callback(plugin.stop)
        plugin.start()
        engine = FakeEngine(plugin.socket)
        yield Stage(machine, server, plugin, engine, engine.create_network(), Acknowledged(server), containers)
