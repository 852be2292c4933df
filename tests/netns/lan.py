"""A machine and its LAN in one network namespace: a bridge with an uplink, a DHCP server, commands run in there.

Whoever runs this is in that namespace, and so is every command it starts.
"""

import os
import re
import select
import selectors
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path

from workers.contract.lease import Lease
from workers.contract.link import LinkKind, LinkSpec
from workers.contract.messages import EndpointSpec
from workers.link.veth_bridge import VethOnBridge
from workers.netlink.operations import Link, Netlink
from workers.system.clock import boottime

BRIDGE = "br-lan"
SERVER = IPv4Address("192.168.77.1")
MAC = "02:42:c0:a8:4d:05"
ENDPOINT = "0123456789ab"
SPEC = EndpointSpec("", ENDPOINT, LinkSpec(LinkKind.BRIDGE, BRIDGE), MAC, lease_timeout=0)
HOST_LINK, CONTAINER_LINK = f"dh-{ENDPOINT}", f"dc-{ENDPOINT}"


def run(command: str) -> str:
    """Runs a command made of plain words; its output. Raises CalledProcessError."""
    return subprocess.run(command.split(), check=True, capture_output=True, text=True, timeout=20).stdout


def shell(script: str, *arguments: str) -> str:
    """Runs a script in a mount namespace of its own, which it may change; its output. Raises CalledProcessError."""
    isolated = ["unshare", "--mount", "sh", "-ec", script, "sh", *arguments]
    return subprocess.run(isolated, check=True, capture_output=True, text=True, timeout=20).stdout


def create_pair(mac: str = MAC, *, endpoint: str = ENDPOINT, bridge: str = BRIDGE) -> VethOnBridge:
    """An endpoint's link, as a worker makes it."""
    spec = replace(SPEC, endpoint_id=endpoint, link=LinkSpec(LinkKind.BRIDGE, bridge), mac=mac)
    link = VethOnBridge(spec)
    with Netlink() as netlink:
        link.make(netlink)
    return link


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


class DhcpServer:
    """dnsmasq on the bridge, in the foreground; what it logs is read as it comes."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.log = ""
        self._process = subprocess.Popen(self._command(), stderr=subprocess.PIPE)
        self.wait_for("DHCP, IP range")

    def _command(self) -> list[str]:
        own = ["--keep-in-foreground", "--conf-file=/dev/null", "--user=root", "--pid-file", "--log-facility=-"]
        dhcp = ["--port=0", "--no-ping", "--log-dhcp", "--dhcp-authoritative", "--bind-dynamic"]
        scope = [f"--interface={BRIDGE}", "--dhcp-range=192.168.77.50,192.168.77.99,120"]
        return ["dnsmasq", *own, *dhcp, *scope, f"--dhcp-leasefile={self._directory / 'leases'}"]

    def wait_for(self, text: str, timeout: float = 5.0) -> None:
        """Reads the log until `text` is in it; raises TimeoutError."""
        assert self._process.stderr
        deadline = time.monotonic() + timeout
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stderr, selectors.EVENT_READ)
            while text not in self.log:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise TimeoutError(f"dnsmasq has not said {text!r} in {timeout} s but:\n{self.log}")
                self.log += os.read(self._process.stderr.fileno(), 65536).decode()

    @property
    def leases(self) -> str:
        return (self._directory / "leases").read_text()

    def stop(self) -> None:
        self._process.terminate()
        self._process.communicate()


@contextmanager
def dhcp_server(directory: Path) -> Iterator[DhcpServer]:
    server = DhcpServer(directory)
    try:
        yield server
    finally:
        server.stop()


def obtain_lease(interface: str, directory: Path) -> Lease:
    """A real lease, by a real udhcpc that touches nothing and exits."""
    script = directory / "print"
    script.write_text('#!/bin/sh\n[ "$1" = bound ] && echo "$ip/$mask $router"\nexit 0\n')
    script.chmod(0o755)
    address, router = run(f"busybox udhcpc -i {interface} -f -q -n -t 3 -T 1 -s {script}").split()
    return Lease(IPv4Interface(address), SERVER, 120, boottime(), routers=(IPv4Address(router),))
