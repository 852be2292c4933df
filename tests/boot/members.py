"""The machine's containers, each with `restart: always`, and the verdict on them: at the server and in each of them."""

import re
from dataclasses import dataclass, field
from functools import partial
from ipaddress import IPv4Address, IPv6Address

from tests.lab.command import CommandFailed, wait_until
from tests.lab.containers import Container, showing_ports
from tests.lab.lab import Lab
from tests.lab.machine import Machine

NETWORK = "lan"
ALWAYS = "--restart=always"
LOSING = {"RELEASE", "NAK", "DECLINE"}
ADDRESS = re.compile(r"inet ([\d.]+)/")
ADDRESS6 = re.compile(r"inet6 (\S+)/128 scope global")
RETURN_SECONDS = 60.0  # of a usual machine


@dataclass(frozen=True, slots=True)
class Place:
    """What a container is on the LAN."""

    mac: str
    address: IPv4Address
    address6: IPv6Address


@dataclass(slots=True)
class Members:
    """Containers that are to keep their places, whatever happens to the machine."""

    lab: Lab
    machine: Machine
    places: dict[str, Place] = field(default_factory=dict)
    _seen: int = 0

    def launch(self, number: int) -> None:
        """So many, which expose different ports, so that they can be told apart; each has its leases."""
        for n in range(number):
            self._launch(f"member-{n}", f"--hostname=host{n}", f"--expose={8000 + n}")
        self.await_acknowledged()

    def launch_alike(self, number: int) -> None:
        """So many that nothing tells apart."""
        for n in range(number):
            self._launch(f"alike-{n}")
        self.await_acknowledged()

    def _launch(self, name: str, *options: str) -> None:
        chosen = (f"--network={NETWORK}", *showing_ports(self.machine.docker), *options, ALWAYS)
        self.places[name] = place_of(Container.run(self.machine.docker, name, *chosen))

    def begin(self) -> None:
        """What the server hears counts from now on."""
        self._seen = len(self.lab.dhcp.messages())

    def kinds(self, name: str) -> list[str]:
        """Of the messages from and to a container."""
        mac = self.places[name].mac
        return [message.kind for message in self.lab.dhcp.messages()[self._seen :] if message.mac == mac]

    def await_running(self) -> None:
        """Until the engine shows all of them."""
        wait_until(self._all_run, "all containers", RETURN_SECONDS, interval=1)

    def await_acknowledged(self) -> None:
        """Until the server has granted each its own address."""
        for name, place in self.places.items():
            wait_until(partial(self._acknowledged, place), f"an ACK for {name}", RETURN_SECONDS)

    def assert_kept(self) -> None:
        """Each is what it was on the LAN, by its own word, and the server has heard of nothing else."""
        assert self.now() == self.places
        for name, place in self.places.items():
            messages = [m for m in self.lab.dhcp.messages()[self._seen :] if m.mac == place.mac]
            assert not LOSING & {message.kind for message in messages}, (name, messages)
            assert {m.address for m in messages if m.kind == "ACK"} == {place.address}, (name, messages)

    def now(self) -> dict[str, Place]:
        """What each is on the LAN, by its own word."""
        return {name: place_of(Container(self.machine.docker, name)) for name in self.places}

    def remove(self) -> None:
        """Each gives its lease back, once."""
        self.begin()
        self.machine.docker("rm", "--force", *self.places)
        for name in self.places:
            wait_until(partial(self._released, name), f"a release by {name}", RETURN_SECONDS)
            assert self.kinds(name).count("RELEASE") == 1

    def _all_run(self) -> bool:
        try:
            shown = self.machine.docker("ps", "--format", "{{.Names}}").split()
        except CommandFailed:
            return False  # the engine answers no longer, or not yet
        return self.places.keys() <= set(shown)

    def _released(self, name: str) -> bool:
        return "RELEASE" in self.kinds(name)

    def _acknowledged(self, place: Place) -> bool:
        wanted = ("ACK", place.mac, place.address)
        return any((m.kind, m.mac, m.address) == wanted for m in self.lab.dhcp.messages()[self._seen :])


def place_of(container: Container) -> Place:
    """As the container sees it."""
    shown = container.exec("sh", "-c", "cat /sys/class/net/eth0/address; ip addr show dev eth0")
    (address,), (address6,) = ADDRESS.findall(shown), ADDRESS6.findall(shown)
    return Place(shown.split()[0], IPv4Address(address), IPv6Address(address6))
