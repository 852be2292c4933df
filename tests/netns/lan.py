"""A machine and its LAN in one network namespace: a bridge with an uplink, a DHCP server, commands run in there.

Whoever runs this is in that namespace, and so is every command it starts.
"""

import os
import re
import selectors
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path

from workers.contract.lease import Lease
from workers.netlink.operations import Link, Netlink
from workers.system.clock import boottime

BRIDGE = "br-lan"
SERVER = IPv4Address("192.168.77.1")
MAC = "02:42:c0:a8:4d:05"
HOST_LINK, CONTAINER_LINK = "dh-0123456789ab", "dc-0123456789ab"


def run(command: str) -> str:
    """Runs a command made of plain words; its output. Raises CalledProcessError."""
    return subprocess.run(command.split(), check=True, capture_output=True, text=True, timeout=20).stdout


def shell(script: str, *arguments: str) -> str:
    """Runs a script in a mount namespace of its own, which it may change; its output. Raises CalledProcessError."""
    isolated = ["unshare", "--mount", "sh", "-ec", script, "sh", *arguments]
    return subprocess.run(isolated, check=True, capture_output=True, text=True, timeout=20).stdout


def create_pair(mac: str = MAC, *, host_link: str = HOST_LINK, container_link: str = CONTAINER_LINK) -> Link:
    with Netlink() as netlink:
        return netlink.create_pair(host_link=host_link, container_link=container_link, mac=mac, bridge=BRIDGE)


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
