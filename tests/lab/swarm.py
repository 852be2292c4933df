"""A swarm of Docker's: machines on one LAN, each with an engine of its own and the plugin.

The first machine is the laboratory's, and the swarm's manager.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Interface

from tests.lab.build import BUILD, PLUGIN
from tests.lab.command import CommandFailed, wait_until
from tests.lab.engine import Docker, Engine
from tests.lab.images import BUSYBOX, import_images
from tests.lab.lab import Lab
from tests.lab.network import BRIDGE, LAN, Network
from tests.lab.plugin import Plugin

# An engine tries to pull an image before it takes its own: nothing listens there, so it knows at once that it cannot.
IMAGE = f"localhost:1/{BUSYBOX}"
DRIVER = "net-dhcp:latest"
NETWORK, CONFIGURATION = "lan", "lan-here"
SETTLED_SECONDS = 120.0  # for a swarm to do what it was told: it tries again after pauses of its own
FIRST = 2  # the last octet of the first machine's address


@dataclass(frozen=True, slots=True)
class Task:
    """A container of a service, as its node has it."""

    node: "Node"
    slot: str  # SERVICE.SLOT
    container: str
    mac: str
    address: IPv4Interface


@dataclass(frozen=True, slots=True)
class Node:
    """One machine of the swarm."""

    network: Network
    engine: Engine

    @classmethod
    @contextmanager
    def added(cls, lab: Lab, number: int) -> Iterator["Node"]:
        """Another machine on the laboratory's LAN, with an engine like the laboratory's."""
        network = lab.network.neighbour(LAN[FIRST + number])
        node = cls(network, Engine(lab.directory / f"engine{number}", network.host, lab.engine.root))
        try:
            network.up_machine()
            node.engine.start()
            network.pass_bridged()
            import_images(node.docker, BUILD)
            yield node
        finally:
            node.engine.stop()
            network.down_machine()

    @property
    def docker(self) -> Docker:
        """The docker command for its engine."""
        return self.engine.docker

    @property
    def plugin(self) -> Plugin:
        """Its plugin."""
        return Plugin.installed(self.engine, DRIVER)

    @property
    def id(self) -> str:
        """As the swarm knows it: all machines here have one host name."""
        return self.docker("info", "--format", "{{.Swarm.NodeID}}")

    def prepare(self, *options: str) -> None:
        """The plugin, the image, and the node's own part of the network."""
        Plugin.install(self.engine, DRIVER, PLUGIN)
        self.docker("tag", BUSYBOX, IMAGE)
        null_ipam = ("--ipam-driver", "null", "--opt", f"bridge={BRIDGE}", *options)
        self.docker("network", "create", "--config-only", *null_ipam, CONFIGURATION)

    def tasks(self) -> Iterator[Task]:
        """The running ones that have an address on the network."""
        for container in self.docker("ps", "--quiet", "--filter", f"network={NETWORK}").split():
            try:
                seen = self.docker.inspect(container)
            except CommandFailed:
                continue  # it has just gone
            place = seen["NetworkSettings"]["Networks"].get(NETWORK)
            if seen["State"]["Running"] and place and place["IPAddress"]:
                address = IPv4Interface(f"{place['IPAddress']}/{place['IPPrefixLen']}")
                slot = seen["Name"].lstrip("/").rpartition(".")[0]
                yield Task(self, slot, seen["Id"], place["MacAddress"], address)


@dataclass(frozen=True, slots=True)
class Swarm:
    """`nodes[0]` is the manager."""

    nodes: tuple[Node, ...]

    @classmethod
    @contextmanager
    def of(cls, lab: Lab, nodes: int, *options: str) -> Iterator["Swarm"]:
        """A swarm with the network, whose options on each node are these."""
        with ExitStack() as stack:
            more = (stack.enter_context(Node.added(lab, number)) for number in range(1, nodes))
            swarm = cls((Node(lab.network, lab.engine), *more))
            for node in swarm.nodes:
                node.prepare(*options)
            swarm.manager("swarm", "init", "--advertise-addr", str(swarm.nodes[0].network.machine))
            token = swarm.manager("swarm", "join-token", "--quiet", "worker")
            for node in swarm.nodes[1:]:
                here = ("--advertise-addr", str(node.network.machine))
                node.docker("swarm", "join", *here, "--token", token, f"{swarm.nodes[0].network.machine}:2377")
            scope = ("--scope", "swarm", "--config-from", CONFIGURATION, "--attachable")
            swarm.manager("network", "create", "--driver", DRIVER, *scope, NETWORK)
            yield swarm

    @property
    def manager(self) -> Docker:
        """The docker command of the manager."""
        return self.nodes[0].docker

    def create(self, service: str, *options: str) -> None:
        """A service on the network."""
        where = ("--no-resolve-image", "--network", NETWORK)
        self.manager("service", "create", "--quiet", "--detach", "--name", service, *where, *options, IMAGE)

    def tasks(self, service: str, number: int, without: frozenset[str] = frozenset()) -> dict[str, Task]:
        """The service's tasks by slot, as soon as there are so many, none of which is a container of `without`."""

        def running() -> dict[str, Task]:
            alive = [node for node in self.nodes if node.engine.process]
            found = [task for node in alive for task in node.tasks() if task.slot.startswith(f"{service}.")]
            there = {task.slot: task for task in found if task.container not in without}
            return there if len(there) == len(found) == number else {}

        try:
            return wait_until(running, f"{number} tasks of {service}", SETTLED_SECONDS, interval=0.5)
        except Exception as failed:
            failed.add_note(self.manager("service", "ps", "--no-trunc", service))
            raise
