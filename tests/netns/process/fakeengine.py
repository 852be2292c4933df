"""The engine as the plugin meets it: a silent API, requests in Go's manner, and what libnetwork does with a link.

It sends only what an engine has sent: a request whose shape is in no recording of the engine that it plays fails the
test (tests/lab/recordings.py). Bytes are for what no engine sends.

Run as a program it is the daemon: a process called dockerd that listens, accepts and never answers. Imported it is
the engine's client side and its containers.
"""

import base64
import json
import os
import secrets
import socket
import struct
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from pathlib import Path
from typing import Any

from tests.api.unit import post, reaction
from tests.lab.command import SLOWNESS, run
from tests.lab.network import BRIDGE, Network
from tests.lab.recordings import difference
from workers.system.libc import LIBC, checked, take_name
from workers.system.namespaces import CLONE_NEWNS

UCRED = struct.Struct("3i")  # pid, uid, gid: unix(7), SO_PEERCRED
MADE = "MADE_SOCKET"  # the descriptor
CALLED_BY = "called by "
ENDED = "a process that has ended"
ACCEPT = "Accept: application/vnd.docker.plugins.v1.2+json"
AGENT = "User-Agent: Go-http-client/1.1"
ENGINE_PATIENCE_SECONDS = 30.0
INTERFACE = "eth0"
LATE_SANDBOX, EARLY_SANDBOX = "20.10.24", "29.7.1"  # engines that make it after Join, and before CreateEndpoint
ENDPOINT_OPTIONS: dict[str, object] = {"com.docker.network.endpoint.exposedports": [], "com.docker.network.portmap": []}


def serve_nothing(path: str, mounts: str | None = None) -> None:
    """The daemon's life: every connection is accepted and held, and the name of the process that made it printed.

    With `mounts`, the path of a mount namespace, it enters that one first, which need not have this program's files.
    """
    take_name("dockerd")
    if mounts is not None:
        with Path(mounts).open() as namespace:
            checked(LIBC.setns(namespace.fileno(), CLONE_NEWNS), "entering a mount namespace")
    held = []
    with listening(path) as listener:
        while True:
            connection, _ = listener.accept()
            held.append(connection)
            pid, _, _ = UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, UCRED.size))
            print(CALLED_BY + _name(pid), flush=True)


def listening(path: str) -> socket.socket:
    """The socket at the path, which another process may have made and handed over."""
    if MADE in os.environ:
        return socket.socket(fileno=int(os.environ[MADE]))
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    return listener


def _name(pid: int) -> str:
    """What the kernel calls the process."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ENDED


def callers(log: Path) -> set[str]:
    """The names of all processes that have connected to the daemon with this log."""
    return {line.removeprefix(CALLED_BY) for line in log.read_text().splitlines() if line.startswith(CALLED_BY)}


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of the plugin; `body` is its JSON, `seconds` what it took."""

    status: int
    body: Any
    seconds: float

    @property
    def error(self) -> str:
        """What the user sees; "" where there is no error."""
        return str(self.body.get("Err", ""))


@dataclass(frozen=True, slots=True)
class FakeEngine:
    """Calls the plugin on connections of their own, as the engine does where keep-alive is refused."""

    plugin: Path
    plays: str = field(default=LATE_SANDBOX, kw_only=True)

    def connect(self) -> socket.socket:
        """A connection to the plugin; raises OSError."""
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(ENGINE_PATIENCE_SECONDS * SLOWNESS)
        connection.connect(str(self.plugin))
        return connection

    def send(self, method: str, request: Mapping[str, object] | bytes) -> socket.socket:
        """Sends a call and gives the connection on which its answer will come."""
        if isinstance(request, bytes):
            body = request
        else:
            differs = difference(self.plays, method, request)
            assert differs is None, differs
            body = json.dumps(request).encode()
        connection = self.connect()
        connection.sendall(post(f"/NetworkDriver.{method}", body, AGENT, ACCEPT))
        return connection

    def call(self, method: str, request: Mapping[str, object] | bytes) -> Answer:
        """One call and its answer."""
        begun = time.monotonic()
        with self.send(method, request) as connection:
            seen = reaction(connection)
        return Answer(seen.status, seen.json, time.monotonic() - begun)

    def get(self, path: str) -> Any:  # noqa: ANN401  whatever JSON holds
        """The plugin's ops surface, as curl reads it."""
        with self.connect() as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: plugin\r\n\r\n".encode())
            return reaction(connection).json

    def create_network(self, **options: str) -> str:
        """The id of a new network, on the LAN's bridge unless the options name another interface."""
        network_id = secrets.token_hex(32)
        where = {} if options.keys() & {"bridge", "parent"} else {"bridge": BRIDGE}
        answer = self.call("CreateNetwork", network_request(network_id, {**where, **options}))
        assert answer.status == 200, answer
        return network_id

    def delete_network(self, network_id: str) -> None:
        """`docker network rm`."""
        self.call("DeleteNetwork", {"NetworkID": network_id})


def network_request(network_id: str, options: Mapping[str, str]) -> dict[str, object]:
    """CreateNetwork with the null IPAM driver."""
    return {
        "NetworkID": network_id,
        "Options": {"com.docker.network.enable_ipv6": False, "com.docker.network.generic": dict(options)},
        "IPv4Data": [{"AddressSpace": "null", "Pool": "0.0.0.0/0"}],
        "IPv6Data": [],
    }


class Container:
    """One container with one endpoint. `early_sandbox`: the namespace exists before CreateEndpoint, as from 28 on."""

    def __init__(self, engine: FakeEngine, machine: Network, network_id: str, *, early_sandbox: bool = False) -> None:
        self._engine = replace(engine, plays=EARLY_SANDBOX) if early_sandbox else engine
        self._machine = machine
        self.network_id = network_id
        self.endpoint_id = secrets.token_hex(32)
        self.sandbox = f"{machine.name}-{self.endpoint_id[:8]}"
        self.mac = ""  # it stays empty where the link has no MAC address of its own
        self.address = ""
        self.address6 = ""
        self.options: dict[str, str] = {}  # driver-opt=NAME=VALUE
        self.exposed_ports: list[dict[str, int]] = []
        self.interface = INTERFACE
        self._source = ""
        if early_sandbox:
            self._make_sandbox()

    @property
    def request(self) -> dict[str, object]:
        """CreateEndpoint's body."""
        interface = {"Address": "", "AddressIPv6": "", "MacAddress": self.mac}
        mac = base64.b64encode(bytes.fromhex(self.mac.replace(":", ""))).decode()
        given = {"com.docker.network.endpoint.macaddress": mac} if mac else {}
        ports = {"com.docker.network.endpoint.exposedports": self.exposed_ports}
        return {**self.ids, "Interface": interface, "Options": ENDPOINT_OPTIONS | ports | given | self.options}

    @property
    def join_request(self) -> dict[str, object]:
        """Join's body."""
        return {**self.ids, "SandboxKey": f"/run/netns/{self.sandbox}", "Options": ENDPOINT_OPTIONS}

    @property
    def ids(self) -> dict[str, object]:
        """The body of all other calls."""
        return {"NetworkID": self.network_id, "EndpointID": self.endpoint_id}

    def create(self) -> Answer:
        """CreateEndpoint."""
        answer = self._engine.call("CreateEndpoint", self.request)
        if answer.status == 200:
            interface = answer.body["Interface"]
            self.mac, self.address = interface.get("MacAddress", self.mac), interface.get("Address", "")
            self.address6 = interface.get("AddressIPv6", "")
        return answer

    def join(self) -> Answer:
        """Join alone, as the engine sends it before it touches the link."""
        return self._engine.call("Join", self.join_request)

    def start(self) -> None:
        """From CreateEndpoint to a link that is configured in the sandbox."""
        created = self.create()
        assert created.status == 200, created
        joined = self.join()
        assert joined.status == 200, joined
        self.attach(joined)

    def attach(self, joined: Answer) -> None:
        """What libnetwork's osl does after Join, in its order: move, down, name, MAC, address, up, routes, gateway."""
        self.move(joined)
        self.configure(joined)

    def move(self, joined: Answer) -> None:
        """The link goes into the sandbox."""
        if not self.has_sandbox:
            self._make_sandbox()
        names = joined.body["InterfaceName"]
        self._source = source = names["SrcName"]
        self.interface = names.get("DstName", f"{names['DstPrefix']}0")  # as from 29.8 on (moby#52866)
        run("ip", "-n", self._machine.host, "link", "set", source, "netns", self.sandbox)

    def configure(self, joined: Answer) -> None:
        """The rest of it, in the sandbox."""
        source = self._source
        without_ipv6 = f"/proc/sys/net/ipv6/conf/{source}/disable_ipv6"
        self.inside("sh", "-c", f"echo {int(not self.address6)} > {without_ipv6}")
        steps = [
            f"link set {source} down",
            f"link set {source} name {self.interface}",
            *([f"link set {self.interface} address {self.mac}"] if self.mac else []),
            *([f"addr add {self.address} broadcast + dev {self.interface}"] if self.address else []),
            *([f"addr add {self.address6} dev {self.interface} nodad"] if self.address6 else []),
            f"link set {self.interface} up",
            *(self._route(route) for route in joined.body["StaticRoutes"]),
        ]
        if gateway := joined.body.get("Gateway"):
            steps.append(f"route add default via {gateway}")
        run("ip", "-n", self.sandbox, "-batch", "-", stdin="\n".join(steps).encode())

    def leave(self) -> Answer:
        """Leave, and then the link comes back to the host under its first name."""
        answer = self._engine.call("Leave", self.ids)
        if self.has_sandbox:
            self._detach()
        return answer

    def delete(self) -> Answer:
        """DeleteEndpoint, after the end of the sandbox."""
        self.remove_sandbox()
        return self._engine.call("DeleteEndpoint", self.ids)

    def stop(self) -> None:
        """Leave and DeleteEndpoint, as for `docker rm -f`."""
        self.leave()
        self.delete()

    def inside(self, *argv: str) -> str:
        """The output of a command in the container's network."""
        return run("nsenter", f"--net=/run/netns/{self.sandbox}", *argv)

    @property
    def link(self) -> str:
        """What the plugin called the link while it was on the machine."""
        return f"dc-{self.endpoint_id[:12]}"

    @property
    def ip(self) -> IPv4Address:
        """Of what the engine configured."""
        return IPv4Interface(self.address).ip

    @property
    def ip6(self) -> IPv6Address:
        """The same for IPv6."""
        return IPv6Interface(self.address6).ip

    @property
    def inet(self) -> list[str]:
        """The addresses on its interface."""
        words = self.inside("ip", "-4", "-o", "addr", "show", "dev", self.interface).split()
        return [words[i + 1] for i, word in enumerate(words) if word == "inet"]

    @property
    def inet6(self) -> list[str]:
        """The IPv6 addresses on its interface, but the link-local one."""
        words = self.inside("ip", "-6", "-o", "addr", "show", "dev", self.interface, "scope", "global").split()
        return [words[i + 1] for i, word in enumerate(words) if word == "inet6"]

    @property
    def duid(self) -> str:
        """Its DHCPv6 client's, as servers' logs name it."""
        return f"00:03:00:01:{self.mac}"

    @property
    def default_route6(self) -> str:
        """As it sees it."""
        return self.inside("ip", "-6", "route", "show", "default")

    @property
    def default_route(self) -> str:
        """As it sees it."""
        return self.inside("ip", "-4", "route", "show", "default")

    @property
    def has_sandbox(self) -> bool:
        """Is there a namespace of this container's?"""
        return Path("/run/netns", self.sandbox).exists()

    @property
    def view(self) -> dict[str, Any]:
        """What the plugin says of this endpoint; raises StopIteration where it says nothing."""
        endpoints = self._engine.get("/v1/endpoints")["endpoints"]
        return next(dict(e) for e in endpoints if e["endpoint_id"] == self.endpoint_id)

    @property
    def view6(self) -> dict[str, Any]:
        """What it says of its IPv6 lease; nothing where there is none."""
        return dict(self.view["ipv6"] or {})

    def _route(self, route: Mapping[str, object]) -> str:
        if route["RouteType"] == 1:
            return f"route add {route['Destination']} dev {self.interface} scope link"
        return f"route add {route['Destination']} via {route['NextHop']}"

    def _make_sandbox(self) -> None:
        run("ip", "netns", "add", self.sandbox)

    def _detach(self) -> None:
        if self._source and self.interface in self.inside("ls", "/proc/sys/net/ipv4/conf"):
            run("ip", "-n", self.sandbox, "link", "set", self.interface, "down")
            run("ip", "-n", self.sandbox, "link", "set", self.interface, "name", self._source)
            run("ip", "-n", self.sandbox, "link", "set", self._source, "netns", f"/run/netns/{self._machine.host}")

    def remove_sandbox(self) -> None:
        """The engine unmounts the namespace; the kernel ends it with its last user."""
        if self.has_sandbox:
            run("ip", "netns", "delete", self.sandbox)


if __name__ == "__main__":
    serve_nothing(*sys.argv[1:])
