"""The ways from a machine to its LAN that need another kernel: each with a network card of its own.

The LAN's server serves all of them: where frames are tagged on the cable, the LAN takes the tag off.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from tests.lab.command import run, wait_until
from tests.lab.network import LAN_BRIDGE, Network

VLAN = 20


@dataclass(frozen=True, eq=False, slots=True)
class Way:
    """A way to the LAN: `options` are those of a network over it, `link` is what `ip` says of a container's link."""

    card: str
    options: Mapping[str, str]
    link: str
    prepare: Callable[[Network, str], None]
    tagged: bool = False

    @contextmanager
    def on(self, machine: Network) -> Iterator[None]:
        """For as long as the block lasts; all that the plugin makes on the card goes with it."""
        try:
            self.make(machine)
            yield
        finally:
            self.remove(machine)

    def make(self, machine: Network) -> None:
        """Makes the card and all that the way needs."""
        machine.plug_in(self.card)
        if self.tagged:
            _take_tags_off(machine, f"{self.card}-port")
        self.prepare(machine, self.card)

    def remove(self, machine: Network) -> None:
        """Removes it, and with the card the links on it."""
        for name in (f"bond-{self.card}", f"br-{self.card}", self.card):
            machine.unplug(name)


def _nothing(machine: Network, card: str) -> None:
    """The card is used as it is."""


def _bond(machine: Network, card: str) -> None:
    """A bond whose only port is the card."""
    on_host = ("ip", "-n", machine.host, "link")
    run(*on_host, "add", f"bond-{card}", "type", "bond", "mode", "active-backup", "miimon", "100")
    run(*on_host, "set", card, "down")
    run(*on_host, "set", card, "master", f"bond-{card}")
    run(*on_host, "set", f"bond-{card}", "up")
    show = ("ip", "-n", machine.host, "link", "show", f"bond-{card}")
    wait_until(lambda: "state UP" in run(*show), "the bond")


def _bridge(machine: Network, card: str) -> None:
    """An ordinary bridge, of which the card is a port."""
    on_host = ("ip", "-n", machine.host, "link")
    bridge = f"br-{card}"
    run(*on_host, "add", bridge, "type", "bridge", "stp_state", "0")
    run(*on_host, "set", card, "master", bridge)
    run(*on_host, "set", bridge, "up")
    show = ("bridge", "-n", machine.host, "link", "show", "dev", card)
    wait_until(lambda: "state forwarding" in run(*show), f"the cable of {bridge}")


def _filtering_bridge(machine: Network, card: str) -> None:
    """A bridge that filters VLANs; the card is a port of the VLAN, with tags."""
    _bridge(machine, card)
    run("ip", "-n", machine.host, "link", "set", f"br-{card}", "type", "bridge", "vlan_filtering", "1")
    run("bridge", "-n", machine.host, "vlan", "add", "dev", card, "vid", str(VLAN))


def _take_tags_off(machine: Network, port: str) -> None:
    """The LAN's end of the cable speaks with tags; their interface is the bridge's port."""
    on_lan = ("ip", "-n", machine.lan, "link")
    run(*on_lan, "set", port, "nomaster")
    run(*on_lan, "add", "link", port, "name", f"{port}.{VLAN}", "type", "vlan", "id", str(VLAN))
    run(*on_lan, "set", f"{port}.{VLAN}", "master", LAN_BRIDGE, "up")
    show = ("bridge", "-n", machine.lan, "link", "show", "dev", f"{port}.{VLAN}")
    wait_until(lambda: "state forwarding" in run(*show), f"the cable of {port}")


BRIDGE = Way("bri", {"bridge": "br-bri"}, "veth", _bridge)
IPVLAN = Way("ipv", {"parent": "ipv", "mode": "ipvlan"}, "ipvlan", _nothing)
TAGGED = Way("tag", {"parent": f"tag.{VLAN}"}, "macvlan", _nothing, tagged=True)
BOND = Way("two", {"parent": "bond-two"}, "macvlan", _bond)
FILTERING = Way("fil", {"bridge": "br-fil", "vlan": str(VLAN)}, "veth", _filtering_bridge, tagged=True)
WAYS = (BRIDGE, IPVLAN, TAGGED, BOND, FILTERING)
