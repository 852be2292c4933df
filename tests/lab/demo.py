"""The demonstration: a container on a LAN, with an address from the LAN's DHCP server."""

import time
from dataclasses import dataclass
from ipaddress import IPv4Interface
from pathlib import Path

from tests.lab.build import PLUGIN, ROOT
from tests.lab.command import CommandFailed, wait_until
from tests.lab.dhcp import ServerLease
from tests.lab.images import BUSYBOX
from tests.lab.lab import Lab
from tests.lab.network import BRIDGE, SERVER
from tests.lab.plugin import Plugin

DRIVER = "net-dhcp:demo"
NETWORK = "lan"
CONTAINER = "demo"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What the engine says about the container's endpoint."""

    id: str
    mac: str
    address: IPv4Interface


def demo(definition: Path = PLUGIN) -> None:
    """Show it on standard output; raises CommandFailed or NotReached with the reason where it does not work."""
    _step("a LAN with a DHCP server, and a machine with a Docker Engine")
    with Lab.temporary("demo") as lab:
        _show(lab, definition)


def _show(lab: Lab, definition: Path) -> None:
    docker = lab.engine.docker
    _step(f"docker plugin create {DRIVER} {definition.relative_to(ROOT)}; docker plugin enable {DRIVER}")
    plugin = Plugin.install(lab.engine, DRIVER, definition)
    _step(f"docker network create -d {DRIVER} --ipam-driver null -o bridge={BRIDGE} {NETWORK}")
    docker("network", "create", "-d", DRIVER, "--ipam-driver", "null", "-o", f"bridge={BRIDGE}", NETWORK)
    _step(f"docker run --network {NETWORK} --hostname {CONTAINER} {BUSYBOX}")
    began = time.monotonic()
    docker("run", "--detach", "--name", CONTAINER, "--hostname", CONTAINER, "--network", NETWORK, BUSYBOX)
    milliseconds = (time.monotonic() - began) * 1000
    endpoint = _endpoint(lab)
    lease = _lease(lab, endpoint)
    for command in (("ip", "addr"), ("ip", "route")):
        _step(f"docker exec {CONTAINER} {' '.join(command)}")
        print(docker("exec", CONTAINER, *command))
    _step("the DHCP server's leases")
    print(lease.line)
    _step("the plugin's log")
    print("\n".join(line for line in plugin.log() if endpoint.id[:12] in line))
    docker("rm", "--force", CONTAINER)
    _step(f"docker rm {CONTAINER}: the lease is released")
    wait_until(lambda: lab.dhcp.messages(endpoint.mac, "RELEASE"), "the DHCPRELEASE", 5)
    print(f"demo ok: {lease.address} leased by {SERVER} in {milliseconds:.0f} ms")


def _step(text: str) -> None:
    print(f"==> {text}", flush=True)


def _endpoint(lab: Lab) -> Endpoint:
    settings = lab.engine.docker.inspect(CONTAINER)["NetworkSettings"]["Networks"][NETWORK]
    address = IPv4Interface(f"{settings['IPAddress']}/{settings['IPPrefixLen']}")
    return Endpoint(settings["EndpointID"], settings["MacAddress"], address)


def _lease(lab: Lab, endpoint: Endpoint) -> ServerLease:
    """The server's side of it; raises CommandFailed where both do not agree."""
    for lease in lab.dhcp.leases():
        if (lease.mac, lease.address) == (endpoint.mac, endpoint.address.ip):
            return lease
    raise CommandFailed(f"the server has no lease of {endpoint.address.ip} for {endpoint.mac}: {lab.dhcp.leases()}")
