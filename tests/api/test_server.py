"""The API process over a real socket: framing, silence, garbage."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.api.unit import (
    ACTIVATE,
    BACKLOG,
    BODY,
    LEAVE,
    NEVER_ANSWERED,
    PATIENCE_SECONDS,
    Listener,
    Unit,
    listening,
    post,
    reaction,
    running,
)
from tests.lab.command import SLACK_SECONDS


@pytest.fixture(scope="module", name="unit_and_listener")
def _unit_and_listener(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Unit, Listener]]:
    with listening(Path(tmp_path_factory.mktemp("api")) / "plugin.sock") as listener, running(listener) as unit:
        yield unit, listener


@pytest.fixture(name="unit")
def _unit(unit_and_listener: tuple[Unit, Listener]) -> Unit:
    return unit_and_listener[0]


@pytest.fixture(name="listener")
def _listener(unit_and_listener: tuple[Unit, Listener]) -> Listener:
    return unit_and_listener[1]


def head(*lines: str) -> bytes:
    """A request for Leave with these header lines and no body."""
    return "\r\n".join(["POST /NetworkDriver.Leave HTTP/1.1", "Host: x", *lines, "", ""]).encode()


CHUNKED = b"%s%x\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n" % (
    head("Transfer-Encoding: chunked"),
    20,
    BODY[:20],
    len(BODY) - 20,
    BODY[20:],
)


@pytest.mark.parametrize(
    "raw",
    [
        LEAVE,
        post("/NetworkDriver.Leave", BODY, "Content-Type: application/json"),
        post("/NetworkDriver.Leave", BODY, "Connection: keep-alive", "User-Agent: Go-http-client/1.1"),
        CHUNKED,
    ],
    ids=["plain", "media type", "keep-alive", "chunked"],
)
def test_a_call_in_every_framing(listener: Listener, raw: bytes) -> None:
    """Content-Type, keep-alive and chunks make no difference; every answer closes its connection."""
    answer = listener.ask(raw)
    assert (answer.status, answer.json) == (200, {})
    assert "connection: close" in answer.head


@pytest.mark.usefixtures("unit")
def test_client_that_does_not_close(listener: Listener) -> None:
    """One that keeps its connection after the answer delays nobody else, and sees the end of ours at once."""
    with listener.connect() as lingering:
        lingering.sendall(LEAVE)
        assert reaction(lingering).status == 200
        begun = time.monotonic()
        assert listener.ask(ACTIVATE).status == 200
        assert time.monotonic() - begun < SLACK_SECONDS


def test_expect_continue(listener: Listener) -> None:
    """A client that waits for leave to send its body gets it."""
    with listener.connect() as connection:
        connection.sendall(head(f"Content-Length: {len(BODY)}", "Expect: 100-continue"))
        assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(BODY)
        assert reaction(connection).json == {}


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (post("/NetworkDriver.Leave", b""), 400),
        (head(), 400),
        (post("/NetworkDriver.Nothing", b""), 404),
        (b"GET /NetworkDriver.Leave HTTP/1.1\r\n\r\n", 405),
        (b"BREW /NetworkDriver.Leave HTTP/1.1\r\n\r\n", 400),
        (b"garbage\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"post /NetworkDriver.Leave HTTP/1.1\r\n\r\n", 400),
        (b"POST /NetworkDriver.Leave HTTP/9.9\r\n\r\n", 400),
        (b"POST /" + b"a" * 10_000 + b" HTTP/1.1\r\n\r\n", 400),
        (head("no colon"), 400),
        (head("Bad Name: x"), 400),
        (head("X: " + "y" * 10_000), 400),
        (head(*[f"X-{n}: y" for n in range(200)]), 400),
        (head("Content-Length: abc"), 400),
        (head("Content-Length: -1"), 400),
        (head("Content-Length: 5", "Content-Length: 6"), 400),
        (head("Content-Length: 5", "Transfer-Encoding: chunked"), 400),
        (head("Transfer-Encoding: gzip"), 400),
        (head("Expect: nonsense"), 400),
        (head("Transfer-Encoding: chunked") + b"zz\r\nfoo\r\n", 400),
        (head("Transfer-Encoding: chunked") + b"3\r\nfooXX", 400),
    ],
    ids=range(23),
)
def test_garbage(listener: Listener, raw: bytes, status: int) -> None:
    """What is no valid request gets an Err as JSON and the end of its connection, also below the application."""
    answer = listener.ask(raw)
    assert (answer.status, list(answer.json)) == (status, ["Err"])
    assert "connection: close" in answer.head
    assert "content-type: application/json" in answer.head


def test_truncated_bodies(listener: Listener, unit: Unit) -> None:
    """A client that goes away in the middle of its body has asked for nothing."""
    for raw in (LEAVE[:-1], CHUNKED[:-20]):
        with listener.connect() as connection:
            connection.sendall(raw)
            connection.shutdown(socket.SHUT_WR)
            answer = reaction(connection)
            assert (answer.status, list(answer.json)) == (400, ["Err"])
    drain(unit)
    listener.ask(LEAVE)
    assert drain(unit) == 1


def drain(unit: Unit) -> int:
    """How many calls have reached the supervisor since the last look."""
    count = 0
    while unit.arrived.acquire(block=False):
        count += 1
    return count


def test_ten_megabytes(listener: Listener) -> None:
    """The client of a body that is far too large can send it all and then reads why it was refused."""
    answer = listener.ask(post("/NetworkDriver.Leave", b"[" * 10_000_000))
    assert (answer.status, list(answer.json)) == (413, ["Err"])


def test_silent_connections(listener: Listener) -> None:
    """The engine's probe connects and says nothing; neither many nor held ones keep others waiting."""
    for _ in range(100):
        listener.connect().close()
    with ExitStack() as held:
        for _ in range(20):
            held.enter_context(listener.connect())
        for _ in range(20):
            assert listener.ask(LEAVE).status == 200


def patiently(listener: Listener) -> socket.socket:
    """A connection that waits for room in the backlog."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(listener.path))
    connection.settimeout(PATIENCE_SECONDS)
    return connection


def test_as_many_as_gunicorn_takes(listener: Listener) -> None:
    """Whoever comes while a thousand connections are open is answered once they have ended."""
    with ExitStack() as held:
        for _ in range(1000 + BACKLOG):
            held.enter_context(patiently(listener))
        last = patiently(listener)
        last.sendall(LEAVE)
    with last:
        assert reaction(last).status == 200


def test_calls_in_flight_do_not_block_others(listener: Listener, unit: Unit) -> None:
    """While forty calls wait for their lease, others are answered; a client that goes away harms nobody."""
    drain(unit)
    with ExitStack() as held:
        for _ in range(40):
            held.enter_context(listener.connect()).sendall(NEVER_ANSWERED)
        for _ in range(40):
            assert unit.arrived.acquire(timeout=PATIENCE_SECONDS)
        assert listener.ask(LEAVE).status == 200
    assert listener.ask(LEAVE).status == 200
    assert listener.ask(ACTIVATE).json == {"Implements": ["NetworkDriver"]}
