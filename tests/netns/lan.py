"""A machine and its LAN in one network namespace, in which the test is: commands and links there."""

import re
import select
import socket
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path

from tests.lab import command
from tests.lab.network import BRIDGE, SERVER, inside
from workers.contract.client_identity import ClientIdentity
from workers.contract.lease import Lease
from workers.contract.link import LinkKind, LinkSpec, MacvlanMode
from workers.contract.messages import EndpointSpec
from workers.link.macvlan import Macvlan
from workers.link.veth_bridge import VethOnBridge
from workers.netlink.operations import Link, Netlink
from workers.system.clock import boottime

MAC = "02:42:c0:a8:4d:05"
ENDPOINT = "0123456789ab"
SPEC = EndpointSpec("", ENDPOINT, LinkSpec(LinkKind.BRIDGE, BRIDGE), MAC, ClientIdentity.of_mac(MAC), lease_timeout=0)
CARD = "up1"  # it is plugged into the LAN and has no address
HOST_LINK, CONTAINER_LINK = f"dh-{ENDPOINT}", f"dc-{ENDPOINT}"


def run(words: str) -> str:
    """Runs a command of the machine's that is made of plain words; its output. Raises CommandFailed."""
    return command.run(*inside(None, *words.split()), timeout=60)


def shell(script: str, *arguments: str) -> str:
    """Runs a script in a mount namespace of its own, which it may change; its output. Raises CommandFailed."""
    return command.run("busybox", "unshare", "--mount", "busybox", "sh", "-ec", script, "sh", *arguments, timeout=60)


def create_pair(mac: str = MAC, *, endpoint: str = ENDPOINT, bridge: str = BRIDGE) -> VethOnBridge:
    """An endpoint's link, as a worker makes it."""
    spec = replace(SPEC, endpoint_id=endpoint, link=LinkSpec(LinkKind.BRIDGE, bridge), mac=mac)
    link = VethOnBridge(spec)
    with Netlink() as netlink:
        link.make(netlink)
    return link


def macvlan_of(
    parent: str = CARD,
    *,
    mac: str = MAC,
    endpoint: str = ENDPOINT,
    mode: MacvlanMode = MacvlanMode.BRIDGE,
    mark: int = 0,
) -> Macvlan:
    """An endpoint's link, which is not made yet."""
    kind = LinkSpec(LinkKind.MACVLAN, parent, mode)
    return Macvlan(replace(SPEC, endpoint_id=endpoint, link=kind, mac=mac, mark=mark))


def link(name: str) -> Link:
    """The link of that name, as the kernel has it."""
    with Netlink() as netlink:
        return netlink.require_link(name)


def readable(feed: socket.socket) -> bool:
    """Whether it can be read from within a second."""
    return bool(select.select([feed], [], [], 1.0)[0])


def addresses(link: str) -> list[str]:
    """The IPv4 addresses of a link, with their prefix lengths."""
    return re.findall(r"inet (\S+)", run(f"ip -4 -o addr show dev {link}"))


def routes() -> list[str]:
    """The main table as `ip route` shows it, without trailing blanks."""
    return [line.strip() for line in run("ip -4 route").splitlines()]


def obtain_lease(interface: str, directory: Path) -> Lease:
    """A real lease, by the real udhcpc, which touches nothing and exits."""
    script = directory / "print"
    script.write_text('#!/bin/sh\n[ "$1" = bound ] && echo "$ip/$mask $router"\nexit 0\n')
    script.chmod(0o755)
    client = f"busybox udhcpc -i {interface} -f -q -n -t 3 -T 1 -s {script}"
    address, router = command.run(*client.split()).split()
    return Lease(IPv4Interface(address), SERVER, 120, boottime(), routers=(IPv4Address(router),))
