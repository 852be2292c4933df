"""A recording of the plugin protocol: what the chosen engine asks a network driver when users do what users do.

`python3 -m tests.lab record` writes tests/protocol/docker-VERSION.jsonl. A driver of the old kind, a socket in the
engine's plugins directory, answers every call and writes it down; STEPS are the commands. Each line of the file is a
step, or a call with its request and response.
"""

import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer
from threading import Lock, Thread
from typing import Any

from tests.lab.command import CommandFailed, run
from tests.lab.engine import Engine
from tests.lab.engine_roots import own_docker
from tests.lab.images import BUSYBOX
from tests.lab.lab import Lab
from tests.lab.network import BRIDGE
from tests.lab.recordings import DIRECTORY

DRIVER = "recorder"
CREATE = f"network create --driver {DRIVER} --opt bridge=trbr"  # as users name theirs; ours is the laboratory's
NULL = "--ipam-driver null"
OWN = "com.docker.network.endpoint"
SYSCTL = f"{OWN}.sysctls=net.ipv4.conf.IFNAME.log_martians=1"
# What an engine or its command refuses is not asked of the driver, which is a result, too. Compose's `interface_name`
# is the option `ifname`.
STEPS = {
    "network create": f"{CREATE} {NULL} --opt foo=bar one",
    "run": f"run -d --name c1 --network one {BUSYBOX}",
    "disconnect": "network disconnect one c1",
    "connect with alias and driver-opt": "network connect --alias al --driver-opt k=v one c1",
    "restart": "restart c1",
    "stop": "stop c1",
    "start": "start c1",
    "rm -f": "rm -f c1",
    "run with mac": f"run -d --name c2 --network one --mac-address 02:00:00:00:00:99 {BUSYBOX}; rm -f c2",
    "run with --ip": f"run -d --name c3 --network one --ip 10.88.0.77 {BUSYBOX}; rm -f c3",
    "network opts": f"run -d --name c4 --network name=one,mac-address=02:00:00:00:00:98,driver-opt=a=b {BUSYBOX};"
    "rm -f c4",
    "driver-opt at the start": f"run -d --name c5 --network name=one,driver-opt=a=b {BUSYBOX}; rm -f c5",
    "short lived": f"run --rm --network one {BUSYBOX} true",
    "ports and dns": f"run -d --name c6 --network one --expose 80 -p 8053:53/udp --dns 10.88.0.1 {BUSYBOX}; rm -f c6",
    "two networks": f"{CREATE} {NULL} --opt ipv6=true two; create --name c7 --network one {BUSYBOX};"
    "network connect two c7; start c7; rm -f c7",
    "gw-priority": f"run -d --name c8 --network name=one,gw-priority=7 {BUSYBOX}; rm -f c8",
    "interface name": f"run -d --name c9 --network name=one,driver-opt={OWN}.ifname=lan0 {BUSYBOX}; rm -f c9",
    "sysctls": f"run -d --name c10 --network name=one,driver-opt={SYSCTL} {BUSYBOX}; rm -f c10",
    "network with --ipv6 flag": f"{CREATE} {NULL} --ipv6 three",
    "default ipam": f"{CREATE} four",
    "subnet": f"{CREATE} {NULL} --subnet 10.99.0.0/24 five",
    "internal": f"{CREATE} {NULL} --internal six",
    "remove networks": "network rm one; network rm two; network rm three; network rm four; network rm five;"
    "network rm six",
}


class Recorder:
    """The driver: it makes a veth for each endpoint, with an address of the network's own subnet."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = Lock()
        self._networks: list[str] = []
        self._hosts = itertools.count(5)
        self.lines: list[dict[str, Any]] = []

    def answer(self, path: str, request: dict[str, Any]) -> dict[str, Any]:
        """The response to a call, which is in `lines` from then on."""
        with self._lock:
            response = self._response(path.rpartition(".")[2], request)
            line: dict[str, Any] = {"path": path, "request": request, "response": response}
            if key := request.get("SandboxKey"):
                sandbox = self._engine.run_directory / Path(key).relative_to("/var/run")
                line["sandbox_exists_at_join"] = sandbox.exists()
            self.lines.append(line)
            return response

    def _response(self, method: str, request: dict[str, Any]) -> dict[str, Any]:
        match method:
            case "Activate":
                return {"Implements": ["NetworkDriver"]}
            case "GetCapabilities":
                return {"Scope": "local", "ConnectivityScope": "global"}
            case "CreateNetwork":
                self._networks.append(request["NetworkID"])
            case "CreateEndpoint":
                return {"Interface": self._interface(request)}
            case "Join":
                name = {"SrcName": _link(request["EndpointID"]), "DstPrefix": "eth"}
                return {"InterfaceName": name, "Gateway": f"{self._subnet(request)}.1", "StaticRoutes": []}
            case "DeleteEndpoint":
                self._ip("link", "delete", _link(request["EndpointID"]))
            case "EndpointOperInfo":
                return {"Value": {"trace": "1"}}
        return {}

    def _interface(self, request: dict[str, Any]) -> dict[str, str]:
        """Made as the request wants it. The engine wants no value back that it has given."""
        link, wanted = _link(request["EndpointID"]), request["Interface"]["MacAddress"]
        self._ip("link", "add", link, "type", "veth", "peer", "name", f"{link}p")
        self._ip("link", "set", f"{link}p", "master", BRIDGE, "up")
        mac = json.loads(self._ip("-json", "link", "show", link))[0]["address"]
        filled = {} if wanted else {"MacAddress": mac}
        return {"Address": f"{self._subnet(request)}.{next(self._hosts)}/24", **filled}

    def _subnet(self, request: dict[str, Any]) -> str:
        """Two networks of one container must not overlap."""
        return f"10.88.{self._networks.index(request['NetworkID'])}"

    def _ip(self, *words: str) -> str:
        return run("ip", "-n", str(self._engine.netns), *words)


def _link(endpoint_id: str) -> str:
    return f"{endpoint_id[:10]}-dh"


class _Server(ThreadingMixIn, UnixStreamServer):
    daemon_threads = True
    recorder: Recorder


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        """One call. Calls without a body are recorded as an empty object."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        content = json.dumps(self.server.recorder.answer(self.path, json.loads(body or b"{}"))).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """The recording is the log."""


@contextmanager
def recorder(engine: Engine) -> Iterator[Recorder]:
    """The driver at its socket in a running engine."""
    path = engine.run_directory / "docker" / "plugins" / f"{DRIVER}.sock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with _Server(str(path), _Handler) as server:
        server.recorder = Recorder(engine)
        Thread(target=server.serve_forever, daemon=True).start()
        yield server.recorder
        server.shutdown()
    path.unlink()


def record() -> None:
    """Play STEPS on the chosen engine, and write its recording."""
    with Lab.temporary("record") as lab, recorder(lab.engine) as driver:
        docker = [*own_docker(), "--host", f"unix://{lab.engine.socket}"]
        for step, commands in STEPS.items():
            driver.lines.append({"step": step})
            for command in commands.split(";"):
                try:
                    run(*docker, *command.split())
                except CommandFailed as refused:
                    print(f"{step}: {str(refused).partition('docker.sock ')[2]}")
        version = lab.engine.docker("version", "--format", "{{.Server.Version}}").partition("+")[0]
        lines = [json.dumps(line, separators=(",", ":")) + "\n" for line in driver.lines]
        path = DIRECTORY / f"docker-{version}.jsonl"
        path.write_text("".join(lines))
        print(f"{len(lines)} lines in {path}")
