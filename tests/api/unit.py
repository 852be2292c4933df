"""The API process over a real socket, with a supervisor of the tests' own at the other end of its queues.

Both are forked children, so that each can be killed; the test keeps only the listening socket, as the real
supervisor does when it starts another unit.
"""

import importlib
import json
import multiprocessing
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.context import ForkContext, ForkProcess
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Semaphore
from pathlib import Path
from typing import Any

import psutil

from supervisor.contract.messages import CreateEndpoint, Done, Reply, Request
from tests.api.fakes import ENDPOINT_ID, NETWORK_ID

FORK: ForkContext = multiprocessing.get_context("fork")
# Far above what anything here takes, far below the deadline of a call.
PATIENCE_SECONDS = 30.0
BACKLOG = 128  # connections; the kernel takes one more


def supervise(requests: "SimpleQueue[Request]", replies: "SimpleQueue[Reply]", arrived: Semaphore) -> None:
    """Answers every call but CreateEndpoint, which stays in flight for ever; `arrived` counts all but the hello."""
    requests.get()
    while True:
        request = requests.get()
        arrived.release()
        if not isinstance(request.body, CreateEndpoint):
            replies.put(Reply(request.id, Done()))


def serve(listener_fd: int, requests: "SimpleQueue[Request]", replies: "SimpleQueue[Reply]") -> None:
    """The child, which alone loads gunicorn, and has no far ends of the queues, as under the real supervisor."""
    requests._reader.close()  # type: ignore[attr-defined]  # SimpleQueue itself closes only both ends
    replies._writer.close()  # type: ignore[attr-defined]  # SimpleQueue itself closes only both ends
    importlib.import_module("api.server").run(listener_fd, requests, replies)


@dataclass(frozen=True)
class Listener:
    """The plugin's socket."""

    bound: socket.socket
    path: Path

    def connect(self) -> socket.socket:
        """A connection that fails instead of hanging."""
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(PATIENCE_SECONDS)
        connection.connect(str(self.path))
        return connection

    def ask(self, raw: bytes) -> "Reaction":
        """The whole reaction to these bytes on a connection of their own."""
        with self.connect() as connection:
            connection.sendall(raw)
            return reaction(connection)


@dataclass(frozen=True)
class Reaction:
    """What came back, up to the end of the connection."""

    raw: bytes

    @property
    def head(self) -> str:
        """Status line and headers."""
        return self.raw.partition(b"\r\n\r\n")[0].decode().lower()

    @property
    def status(self) -> int:
        """The status code."""
        return int(self.head.split()[1])

    @property
    def json(self) -> Any:  # noqa: ANN401 whatever JSON holds
        """The body."""
        return json.loads(self.body)

    @property
    def body(self) -> bytes:
        """In one piece."""
        rest = self.raw.partition(b"\r\n\r\n")[2]
        if "transfer-encoding: chunked" not in self.head:
            return rest
        body = bytearray()
        while rest:
            size, _, rest = rest.partition(b"\r\n")
            body += rest[: int(size, 16)]
            rest = rest[int(size, 16) + 2 :]
        return bytes(body)


@dataclass(frozen=True)
class Unit:
    """Master, worker, and the process that plays the supervisor."""

    master: ForkProcess
    supervisor: ForkProcess
    arrived: Semaphore

    def worker(self) -> psutil.Process:
        """The gunicorn worker."""
        (worker,) = psutil.Process(self.master.pid).children()
        return worker

    def exit_code(self) -> int | None:
        """The master's, once it has gone; None if it stays."""
        self.master.join(PATIENCE_SECONDS)
        return self.master.exitcode


def reaction(connection: socket.socket) -> Reaction:
    """Reads to the end of file; a reset is an end too."""
    received = bytearray()
    try:
        while data := connection.recv(1 << 16):
            received += data
    except ConnectionResetError:
        pass  # the other side was killed with data of ours unread
    return Reaction(bytes(received))


def post(path: str, body: bytes, *headers: str) -> bytes:
    """A request as the engine sends it."""
    lines = [f"POST {path} HTTP/1.1", "Host: ", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


BODY = json.dumps({"NetworkID": NETWORK_ID, "EndpointID": ENDPOINT_ID}).encode()
ACTIVATE = post("/Plugin.Activate", b"")
LEAVE = post("/NetworkDriver.Leave", BODY)
NEVER_ANSWERED = post("/NetworkDriver.CreateEndpoint", BODY)


@contextmanager
def listening(path: Path) -> Iterator[Listener]:
    """The plugin's socket at `path`."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(BACKLOG)
        yield Listener(listener, path)


@contextmanager
def running(listener: Listener) -> Iterator[Unit]:
    """A unit on that socket; whatever is left of it is killed at the end."""
    requests: SimpleQueue[Request] = FORK.SimpleQueue()
    replies: SimpleQueue[Reply] = FORK.SimpleQueue()
    arrived = FORK.Semaphore(0)
    supervisor = FORK.Process(target=supervise, args=(requests, replies, arrived))
    master = FORK.Process(target=serve, args=(listener.bound.fileno(), requests, replies))
    supervisor.start()
    master.start()
    requests.close()
    replies.close()
    try:
        yield Unit(master, supervisor, arrived)
    finally:
        for process in (master, supervisor):
            process.kill()
            process.join()
            process.close()
