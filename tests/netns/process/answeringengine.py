"""A daemon called dockerd whose API answers: no events, and the networks and containers that a file names.

Run as a program: the socket's path, and the path of the file, which has one network's id a line, or a container's name
and its endpoint's id.
"""

import json
import sys
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from threading import Event
from typing import Any

from workers.system.libc import take_name

VERSION = {"ApiVersion": "1.41", "MinAPIVersion": "1.12", "Version": "20.10.24"}
INFO = {"DockerRootDir": "/var/lib/docker", "ServerVersion": VERSION["Version"]}
QUIET = Event()


class Api(BaseHTTPRequestHandler):
    """What the watcher asks."""

    networks = Path()
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """The last word of the path decides."""
        *_, kind, what = self.path.partition("?")[0].split("/")
        if what == "events":
            self._answer(None)
            QUIET.wait()
        lines = [line.split() for line in self.networks.read_text().splitlines()]
        names = [words[0] for words in lines if len(words) == 1]
        containers = {words[0]: _container(*words) for words in lines if len(words) == 2}
        if kind in containers:
            self._answer(containers[kind])
            return
        answers: dict[str, Any] = {
            "version": VERSION,
            "info": INFO,
            "networks": [{"Id": name, "Name": name[:12], "Driver": "net-dhcp"} for name in names],
        }
        is_list = kind == "containers"
        self._answer([{"Id": name} for name in containers] if is_list else answers.get(what, []))

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


def _container(name: str, endpoint_id: str) -> dict[str, Any]:
    """What the watcher reads of one, whose id is its name here."""
    settings = {"Networks": {"lan": {"EndpointID": endpoint_id}}}
    return {"Id": name, "Name": f"/{name}", "Config": {"Hostname": name}, "NetworkSettings": settings}


def serve(path: str, networks: str) -> None:
    """The daemon's life."""
    take_name("dockerd")
    Api.networks = Path(networks)
    with ThreadingUnixStreamServer(path, Api) as server:
        server.serve_forever()


if __name__ == "__main__":
    serve(*sys.argv[1:])
