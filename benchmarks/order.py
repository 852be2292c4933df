"""Whether the order in which an engine binds sandboxes tells which container asks: `python -m benchmarks.order`.

A network driver without links and leases plays the plugin. At each CreateEndpoint it takes the containers whose sandbox
is bound and which have no endpoint on the network, in the order of the binds, and compares them with the container
whose endpoint it was, which the engine's store names at Join. Must not know how the plugin itself decides.
"""

import argparse
import json
import os
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from socket import AF_UNIX
from subprocess import Popen
from threading import Lock, Thread
from typing import Any

from benchmarks.burst import api_of
from supervisor.engine.bolt import read_database
from supervisor.engine.network_store import BUCKET, INDEX_BYTES, PREFIX
from tests.lab.images import BUSYBOX
from tests.lab.lab import Lab

DRIVER = "order"
NAMESPACE = "nsfs"  # the kind of what is mounted for a sandbox, in mountinfo
ANSWERS: dict[str, dict[str, object]] = {
    "Plugin.Activate": {"Implements": ["NetworkDriver"]},
    "NetworkDriver.GetCapabilities": {"Scope": "local"},
    "NetworkDriver.Join": {"DisableGatewayService": True},
}


@dataclass(slots=True)
class Observer:
    """What the requests of one engine have shown. `delay` is how long a lease takes, in seconds."""

    lab: Lab
    delay: float
    names: dict[str, str] = field(default_factory=dict)  # by the containers' ids
    candidates: Counter[int] = field(default_factory=Counter)
    wrong: int = 0
    not_first: Counter[int] = field(default_factory=Counter)
    _pending: dict[str, list[str]] = field(default_factory=dict)
    _addresses: "count[int]" = field(default_factory=lambda: count(2))
    _lock: Lock = field(default_factory=Lock)

    def create(self, body: dict[str, Any]) -> dict[str, object]:
        """Notes who may ask, and answers."""
        left = self._may_ask(body["NetworkID"])
        with self._lock:
            self._pending[body["EndpointID"]] = left
            number = next(self._addresses) % 60_000
        time.sleep(self.delay)
        address = f"10.{body['NetworkID'][0].encode()[0]}.{number // 250}.{number % 250 + 1}/16"
        return {"Interface": {"Address": address, "MacAddress": f"02:00:00:00:{number // 256:02x}:{number % 256:02x}"}}

    def join(self, body: dict[str, Any]) -> None:
        """Compares with whose endpoint it was."""
        owner = self._stored(f"endpoint/{body['NetworkID']}/{body['EndpointID']}")[0]["name"]
        with self._lock:
            left = self._pending.pop(body["EndpointID"])
            self.candidates[len(left)] += 1
            self.wrong += owner not in left
            self.not_first[len(left)] += bool(left) and left[0] != owner

    def _may_ask(self, network_id: str) -> list[str]:
        """The names, in the order in which the sandboxes were bound."""
        have = {one["name"] for one in self._stored(f"endpoint/{network_id}/")}
        owners = {one["ID"][:12]: one["Cid"] for one in self._stored("sandbox/")}
        bound = [owners[name] for name in self._bound() if name in owners]
        return [name for name in map(self.names.get, bound) if name is not None and name not in have]

    def _bound(self) -> list[str]:
        process = self.lab.engine.process
        assert process
        mounts = (line.split() for line in Path(f"/proc/{process.pid}/mountinfo").read_text().splitlines())
        return [Path(mount[4]).name for mount in mounts if NAMESPACE in mount[mount.index("-") :]]

    def _stored(self, prefix: str) -> list[dict[str, Any]]:
        store = self.lab.engine.directory / "data/network/files/local-kv.db"
        found = read_database(store).items(BUCKET, f"{PREFIX}/{prefix}".encode())
        return [json.loads(value[INDEX_BYTES:]) for _, value in found]


class _Server(ThreadingHTTPServer):
    address_family = AF_UNIX
    observer: Observer

    def server_bind(self) -> None:
        """A path has no port and no name."""
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = "", 0


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        """One request of the engine."""
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        call, body = self.path.lstrip("/"), json.loads(raw) if raw else {}
        answer = ANSWERS.get(call, {})
        if call == "NetworkDriver.CreateEndpoint":
            answer = self.server.observer.create(body)
        elif call == "NetworkDriver.Join":
            self.server.observer.join(body)
        content = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def address_string(self) -> str:
        """The peer of a socket in the file system has none."""
        return ""

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


def main() -> None:
    """Measures, and prints one line for each number of containers that might have asked."""
    parser = argparse.ArgumentParser(prog="benchmarks.order", description=__doc__)
    parser.add_argument("--starts", type=int, default=1000, help="of containers, in all")
    parser.add_argument("--containers", type=int, default=8, help="started at once")
    parser.add_argument("--networks", type=int, default=1, help="of each container")
    parser.add_argument("--busy", type=int, default=0, help="processes that do nothing but work")
    parser.add_argument("--delay", type=float, default=0.02, help="seconds that a lease takes")
    asked = parser.parse_args()
    observed = observe(asked)
    print(
        f"{observed.candidates.total()} requests, {observed.wrong} of a container that was none of those that may ask"
    )
    for number, times in sorted(observed.candidates.items()):
        told = f"the first one bound was not the one that asked {observed.not_first[number]} times"
        print(f"{number:4} might have asked: {times} times; {told}")


def observe(asked: argparse.Namespace) -> Observer:
    """Restarts the containers, all at once, until there were so many starts."""
    with Lab.temporary("order") as lab, ExitStack() as stack:
        observer = Observer(lab, asked.delay)
        directory = lab.engine.run_directory / "docker/plugins"
        directory.mkdir(parents=True, exist_ok=True)
        os.chdir(directory)  # a socket's path is short
        server = _Server(f"{DRIVER}.sock", _Handler)  # type: ignore[arg-type]  # typeshed knows no AF_UNIX
        server.observer = observer
        Thread(target=server.serve_forever, daemon=True).start()
        stack.callback(server.shutdown)
        for _ in range(asked.busy):
            stack.callback(stack.enter_context(Popen(["sh", "-c", "while :; do :; done"])).kill)
        networks = [f"n{number}" for number in range(asked.networks)]
        for network in networks:
            lab.engine.docker("network", "create", f"--driver={DRIVER}", "--ipam-driver=null", network)
        names = [f"c{number}" for number in range(asked.containers)]
        for name in names:
            first = f"--network={networks[0]}"
            made = lab.engine.docker("create", f"--name={name}", first, BUSYBOX, "sleep", "100000").strip()
            observer.names[made] = name
            for network in networks[1:]:
                lab.engine.docker("network", "connect", network, name)
        with closing(api_of(lab, len(names))) as api, ThreadPoolExecutor(len(names)) as pool:
            for _ in range(-(-asked.starts // len(names))):
                list(pool.map(lambda name: api.restart(name, timeout=0), names))
    return observer


if __name__ == "__main__":
    main()
