"""A swarm of Docker's: machines on one LAN, each with an engine of its own and the plugin.

The first machine is the laboratory's, and the swarm's manager.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address

from tests.lab.build import BUILD
from tests.lab.engine import Docker, Engine
from tests.lab.images import import_images
from tests.lab.lab import Lab
from tests.lab.network import LAN, Network
from tests.lab.plugin import Plugin

DRIVER = "net-dhcp:latest"
FIRST = 2  # the last octet of the first machine's address


@dataclass(frozen=True, slots=True)
class Node:
    """One machine of the swarm."""

    name: str  # as the swarm knows it: the engine is told
    network: Network
    engine: Engine

    @classmethod
    @contextmanager
    def added(cls, lab: Lab, number: int) -> Iterator["Node"]:
        """Another machine on the laboratory's LAN, with an engine like the laboratory's."""
        network = lab.network.neighbour(LAN[FIRST + number])
        node = cls(f"node{number}", network, Engine(lab.directory / f"engine{number}", network.host, lab.engine.root))
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
    def address(self) -> IPv4Address:
        """Its address on the LAN."""
        return self.network.machine

    @property
    def plugin(self) -> Plugin:
        """Its plugin."""
        return Plugin.installed(self.engine, DRIVER)

    @property
    def id(self) -> str:
        """As the swarm knows it: all machines here have one host name."""
        return self.docker("info", "--format", "{{.Swarm.NodeID}}")
