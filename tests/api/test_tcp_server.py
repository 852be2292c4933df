"""The ops service's process over a real TCP socket: requests in time, and those that are not."""

import importlib
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.queues import SimpleQueue

import pytest

from supervisor.contract.messages import Readiness, Reply, Request
from tests.api.unit import FORK, PATIENCE_SECONDS, Reaction, reaction

HEAD_SECONDS = 1.0
ASKED = b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


def _supervise(requests: "SimpleQueue[Request]", replies: "SimpleQueue[Reply]") -> None:
    requests.get()  # the hello
    while True:
        replies.put(Reply(requests.get().id, Readiness(True, ())))


def _serve(listener_fd: int, requests: "SimpleQueue[Request]", replies: "SimpleQueue[Reply]") -> None:
    requests._reader.close()  # type: ignore[attr-defined]  # SimpleQueue itself closes only both ends
    replies._writer.close()  # type: ignore[attr-defined]
    server = importlib.import_module("api.tcp_server")
    server.HEAD_SECONDS = HEAD_SECONDS  # type: ignore[attr-defined]
    server.run(listener_fd, requests, replies, "")


@contextmanager
def _connected(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS) as connection:
        yield connection


def _ask(port: int) -> Reaction:
    with _connected(port) as connection:
        connection.sendall(ASKED)
        return reaction(connection)


@pytest.fixture(name="port")
def _port() -> Iterator[int]:
    """Of a service, whose processes are killed at the end."""
    requests: SimpleQueue[Request] = FORK.SimpleQueue()
    replies: SimpleQueue[Reply] = FORK.SimpleQueue()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        processes = [
            FORK.Process(target=_supervise, args=(requests, replies)),
            FORK.Process(target=_serve, args=(listener.fileno(), requests, replies)),
        ]
        for process in processes:
            process.start()
        requests.close()
        replies.close()
        try:
            yield listener.getsockname()[1]
        finally:
            for process in processes:
                process.kill()
                process.join()
                process.close()


def test_slow_heads(port: int) -> None:
    """Clients that send a request byte by byte, more than there are threads, are cut off, and others are answered."""
    assert _ask(port).json == {"ready": True, "awaits": []}
    slow = [socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS) for _ in range(70)]
    try:
        for connection in slow:
            connection.sendall(b"GET /readyz HTTP/1.1\r\nX")
        begun = time.monotonic()
        answer = _ask(port)
        assert (answer.status, answer.json) == (200, {"ready": True, "awaits": []})
        assert time.monotonic() - begun < PATIENCE_SECONDS
        assert all(reaction(connection).raw == b"" for connection in slow)
    finally:
        for connection in slow:
            connection.close()
