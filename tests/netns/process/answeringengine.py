"""A daemon called dockerd whose API answers: no events, and the networks, containers and plugins that a file names.

Like Docker 29 it knows no version of the API below 1.44; this one knows the newest alone.
Run as a program: the socket's path, and the path of the file, a JSON object that `Told` has written.
"""

import json
import sys
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from ipaddress import IPv4Network
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from threading import Event
from typing import Any

from tests.lab.rootfs import SOCKET
from tests.netns.process.fakeengine import Container
from tests.netns.process.rig import EngineDaemon
from workers.system.libc import take_name

NAME = "net-dhcp:latest"
VERSION = {"ApiVersion": "1.52", "MinAPIVersion": "1.44", "Version": "29.0.4"}
INFO = {"DockerRootDir": "/var/lib/docker", "ServerVersion": VERSION["Version"]}
QUIET = Event()


@dataclass
class Told:
    """What the daemon tells. `plugin` is the id of the plugin, which the plugin finds in what is mounted in it."""

    plugin: str = ""
    enabled: bool = True
    info: dict[str, Any] = field(default_factory=INFO.copy)
    networks: list[dict[str, Any]] = field(default_factory=list)
    containers: list[dict[str, Any]] = field(default_factory=list)

    def network(self, network_id: str, name: str = "", **options: str) -> None:
        """One of the plugin's, with these options."""
        self.networks.append(
            {
                "Id": network_id,
                "Name": name or network_id[:12],
                "Driver": NAME,
                "IPAM": {"Driver": "null", "Config": [{"Subnet": "0.0.0.0/0"}]},
                "Options": options,
            }
        )

    def bridge_network(self, name: str, subnet: IPv4Network) -> None:
        """One of Docker's own, with these addresses."""
        addresses = {"Driver": "default", "Config": [{"Subnet": str(subnet)}]}
        network = {"Id": name.encode().hex().ljust(64, "0"), "Name": name, "Driver": "bridge", "Scope": "local"}
        self.networks.append({**network, "IPAM": addresses, "Options": {}})

    def did_not_start(self, name: str, error: str) -> None:
        """A container of this network, of which Docker says so."""
        place = {"NetworkID": self.networks[0]["Id"], "EndpointID": ""}
        self.containers.append(
            {
                "Id": name.encode().hex().ljust(64, "0"),
                "Name": f"/{name}",
                "Config": {"Hostname": name},
                "State": {"Running": False, "Error": error},
                "NetworkSettings": {"Networks": {self.networks[0]["Name"]: place}},
            }
        )

    def container(self, container: Container, name: str) -> None:
        """One that runs."""
        (address, length), (address6, length6) = (
            (text.partition("/")[::2] if text else ("", "0")) for text in (container.address, container.address6)
        )
        place = {
            "NetworkID": container.network_id,
            "EndpointID": container.endpoint_id,
            "MacAddress": container.mac,
            "IPAddress": address,
            "IPPrefixLen": int(length),
            "GlobalIPv6Address": address6,
            "GlobalIPv6PrefixLen": int(length6),
            "Gateway": (container.default_route.split() + [""] * 3)[2],
            "DriverOpts": container.options or None,
        }
        self.containers.append(
            {
                "Id": container.endpoint_id[::-1],
                "Name": f"/{name}",
                "Config": {"Hostname": name},
                "State": {"Running": True},
                "NetworkSettings": {"SandboxKey": f"/run/netns/{container.sandbox}", "Networks": {"lan": place}},
            }
        )

    def place(self, name: str) -> dict[str, Any]:
        """What it tells of this container's place on its network."""
        (found,) = (one for one in self.containers if one["Name"] == f"/{name}")
        place: dict[str, Any] = found["NetworkSettings"]["Networks"]["lan"]
        return place

    def serve(self, daemon: EngineDaemon, path: Path) -> None:
        """A daemon that tells this takes the place of this one; what it tells is in the file."""
        self.write(path)
        daemon.stop()
        daemon.start("answeringengine", str(path))

    def write(self, path: Path) -> None:
        """A daemon that tells what is in this file tells this from now on."""
        plugin = {"Id": self.plugin, "Name": NAME, "Enabled": self.enabled, "Config": {"Interface": {"Socket": SOCKET}}}
        inspected = {f"/containers/{one['Id']}/json": one for one in self.containers}
        answers = {
            "/version": VERSION,
            "/info": self.info,
            "/plugins": [plugin] if self.plugin else [],
            "/networks": self.networks,
            "/containers/json": self.containers,
        }
        new = path.with_suffix(".new")
        new.write_text(json.dumps(answers | inspected))
        new.rename(path)


class Api(BaseHTTPRequestHandler):
    """What the watcher asks."""

    told = Path()
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """As the file says; the path may begin with the API's version."""
        path = self.path.partition("?")[0].removeprefix(f"/v{VERSION['ApiVersion']}")
        if path == "/events":
            self._answer(None)
            QUIET.wait()
        self._answer(json.loads(self.told.read_text())[path])

    def _answer(self, body: object) -> None:
        """None begins a stream."""
        content = b"" if body is None else json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        kind = ("Transfer-Encoding", "chunked") if body is None else ("Content-Length", str(len(content)))
        self.send_header(*kind)
        self.end_headers()
        self.wfile.write(content)
        self.wfile.flush()

    def address_string(self) -> str:
        """A client of a UNIX socket has none."""
        return "client"


def serve(path: str, told: str) -> None:
    """The daemon's life."""
    take_name("dockerd")
    Api.told = Path(told)
    with ThreadingUnixStreamServer(path, Api) as server:
        server.serve_forever()


if __name__ == "__main__":
    serve(*sys.argv[1:])
