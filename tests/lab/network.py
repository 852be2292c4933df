"""The laboratory's two network namespaces: the LAN, and the machine whose bridge is plugged into it.

machine (ndh-NAME-host)                LAN (ndh-NAME-lan)
br-lan 192.168.77.2/24                 lan0 192.168.77.1/24, a bridge: the DHCP server listens here
  uplink ─────────────── veth ─────────── port
  (the plugin's links)
"""

from contextlib import suppress
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path

from tests.lab.command import CommandFailed, on_machine, run, wait_until

LAN = IPv4Network("192.168.77.0/24")
SERVER = IPv4Address("192.168.77.1")
MACHINE = IPv4Address("192.168.77.2")
BRIDGE = "br-lan"
LAN_BRIDGE = "lan0"
LAN6 = IPv6Network("fd00:77::/64")
SERVER6 = IPv6Address("fd00:77::1")  # there is none before `serve_ipv6`


@dataclass(frozen=True, slots=True)
class Network:
    """`name` is unique on the machine; several stand side by side with the same addresses.

    A LAN may have more machines: `neighbour` is one, and each has an address of its own.
    """

    name: str
    machine: IPv4Address = MACHINE

    @property
    def host(self) -> str:
        """The machine's namespace."""
        return f"ndh-{self.name}-host{'' if self.machine == MACHINE else self.machine.packed[-1]}"

    @property
    def lan(self) -> str:
        """The LAN's namespace."""
        return f"ndh-{self.name}-lan"

    def up(self) -> None:
        """Make both namespaces and the cable between them."""
        _namespace(self.lan)
        _bridge(self.lan, LAN_BRIDGE, SERVER)
        self.up_machine()

    def up_machine(self) -> None:
        """Make the machine's namespace, with its cable to a LAN that is there."""
        _namespace(self.host)
        port = ("name", self.port, "netns", self.lan)
        run("ip", "-n", self.host, "link", "add", "uplink", "type", "veth", "peer", *port)
        _plug(self.lan, self.port, LAN_BRIDGE)
        self.make_bridge()

    def neighbour(self, machine: IPv4Address) -> "Network":
        """Another machine on the same LAN."""
        return replace(self, machine=machine)

    @property
    def port(self) -> str:
        """The LAN's end of the machine's cable."""
        return f"port{'' if self.machine == MACHINE else self.machine.packed[-1]}"

    def make_bridge(self, *settings: str) -> None:
        """The machine's bridge with its uplink, address and route; the settings are those of `ip link set`."""
        _bridge(self.host, BRIDGE, self.machine)
        if settings:
            run("ip", "-n", self.host, "link", "set", BRIDGE, *settings)
        _plug(self.host, "uplink", BRIDGE)
        run("ip", "-n", self.host, "route", "add", "default", "via", str(SERVER))

    def plug_in(self, card: str) -> None:
        """Another card of the machine, without an address, on the LAN; returns when the LAN forwards its frames."""
        port = f"{card}-port"
        run("ip", "-n", self.host, "link", "add", card, "type", "veth", "peer", "name", port, "netns", self.lan)
        run("ip", "-n", self.host, "link", "set", card, "up")
        _plug(self.lan, port, LAN_BRIDGE)
        show = ("bridge", "-n", self.lan, "link", "show", "dev", port)
        wait_until(lambda: "state forwarding" in run(*show), f"the cable of {card}")

    def unplug(self, card: str) -> None:
        """The card is no longer there; it need not have been."""
        if card in self.links():
            run("ip", "-n", self.host, "link", "delete", card)

    def down(self) -> None:
        """Remove them, links included; also what is left of a laboratory that was not brought up whole."""
        _remove(self.host, self.lan)

    def down_machine(self) -> None:
        """Remove the machine alone."""
        _remove(self.host)

    def links(self) -> set[str]:
        """The names of the machine's links."""
        lines = run("ip", "-n", self.host, "-oneline", "link", "show").splitlines()
        return {line.split(":")[1].strip().partition("@")[0] for line in lines}

    def on_host(self, *argv: str | Path) -> str:
        """Run a command on the machine's network; raises CommandFailed."""
        return run("nsenter", f"--net=/run/netns/{self.host}", *argv)

    def on_lan(self, *argv: str | Path) -> str:
        """Run a command on the LAN's network; raises CommandFailed."""
        return run("nsenter", f"--net=/run/netns/{self.lan}", *argv)

    def serve_ipv6(self) -> None:
        """Gives the LAN's side an IPv6 address and makes it a router, as its servers need; more than once is once."""
        self.on_lan("sysctl", "-q", "net.ipv6.conf.all.forwarding=1")
        run("ip", "-n", self.lan, "address", "replace", f"{SERVER6}/{LAN6.prefixlen}", "dev", LAN_BRIDGE, "nodad")
        show = ("ip", "-n", self.lan, "-6", "address", "show", "dev", LAN_BRIDGE, "tentative")
        wait_until(lambda: not run(*show), "the link-local address, on which servers listen")

    def pass_bridged(self, bridge: str = BRIDGE) -> None:
        """Let bridged frames pass the engine's FORWARD DROP, where br_netfilter shows them to iptables."""
        rule = ("-I", "DOCKER-USER", "-i", bridge, "-o", bridge, "-j", "ACCEPT")
        self.on_host("iptables", *rule)
        with suppress(CommandFailed):  # an engine before 27 has no such chain of IPv6, and drops nothing there
            self.on_host("ip6tables", *rule)


def inside(namespace: str | None, *argv: str) -> list[str]:
    """The command line that runs `argv` in the network namespace, or where the test is, with the machine's tools.

    Unlike `ip netns exec` it leaves the mounts alone.
    """
    return ["nsenter", f"--net=/run/netns/{namespace}", *argv] if namespace else on_machine(*argv)


def _namespace(name: str) -> None:
    run("ip", "netns", "add", name)
    run("ip", "-n", name, "link", "set", "lo", "up")


def _remove(*namespaces: str) -> None:
    present = [line.split()[0] for line in run("ip", "netns", "list").splitlines()]
    for namespace in namespaces:
        if namespace in present:
            run("ip", "netns", "delete", namespace)


def _bridge(namespace: str, name: str, address: IPv4Address) -> None:
    """With a MAC of its own: the kernel would change it with its ports, and packets on their way would be lost."""
    mac = f"02:00:{address.packed.hex(':')}"
    run("ip", "-n", namespace, "link", "add", name, "address", mac, "type", "bridge", "stp_state", "0")
    run("ip", "-n", namespace, "address", "add", f"{address}/{LAN.prefixlen}", "dev", name)
    run("ip", "-n", namespace, "link", "set", name, "up")


def _plug(namespace: str, port: str, bridge: str) -> None:
    run("ip", "-n", namespace, "link", "set", port, "master", bridge, "up")
