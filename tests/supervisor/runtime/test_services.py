"""The API unit as the supervisor sees it, with a stand-in for gunicorn: requests, replies, restarts."""

import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from signal import SIGKILL, SIGSTOP

import pytest

from supervisor.contract.errors import NotFound
from supervisor.contract.messages import (
    DeleteNetwork,
    Done,
    GetHealth,
    ListWorkers,
    OperValues,
    Reply,
    Request,
    Respond,
    WorkerList,
)
from supervisor.listener import listen
from supervisor.runtime import outbox, services
from supervisor.runtime.child_states import ChildState
from supervisor.runtime.services import HttpService, Watcher, reader, writer
from tests.supervisor.children import Home, descriptors

BIG = OperValues({"big": "x" * 500_000})  # as much as a list of 1,000 endpoints, and more than a pipe holds


def _serve(listener: int, requests: "SimpleQueue[Request]", replies: "SimpleQueue[Reply]") -> None:
    """Each connection's bytes become a request; the answer's repr goes back."""
    reader(requests).close()
    writer(replies).close()
    requests.put(Request(0, GetHealth()))
    assert replies.get().id == 0
    with socket.socket(fileno=listener) as server:
        for number in range(1, 100):
            connection, _ = server.accept()
            with connection:
                words = connection.recv(100).decode()
                requests.put(Request(number, ListWorkers() if words == "list" else DeleteNetwork(words)))
                reply = replies.get()
                connection.sendall(f"{reply.id} {reply.result!r}"[:100].encode())


@dataclass
class Unit:
    """An HttpService with all that it was asked; requests are answered by the test."""

    home: Home
    path: Path
    listener: socket.socket
    asked: list[tuple[Request, Respond]] = field(default_factory=list)
    api: HttpService = field(init=False)

    def __post_init__(self) -> None:
        self.api = HttpService(
            self.home.process_manager, self.home.loop, self.listener, self._on_request, target=_serve
        )

    def _on_request(self, request: Request, respond: Respond) -> None:
        if isinstance(request.body, GetHealth):
            respond(Done())
        else:
            self.asked.append((request, respond))

    def request(self, words: bytes) -> socket.socket:
        """A caller that has sent its words, and whose request has come to the supervisor."""
        caller = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        caller.connect(str(self.path))
        caller.sendall(words)
        before = len(self.asked)
        self.home.wait_for(lambda: len(self.asked) > before)
        return caller


@pytest.fixture(name="unit")
def _unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Unit]:
    path = tmp_path / "net-dhcp.sock"
    with listen(path) as listener:
        home = Home()
        unit = Unit(home, path, listener)
        unit.api.start()
        home.wait_for(lambda: unit.api.child.state is ChildState.RUNNING)
        yield unit
        unit.api.stop()
        home.close()


@pytest.mark.parametrize(
    ("result", "shown"),
    [(Done(), b"1 Done()"), (NotFound("no such network"), b"1 NotFound('no such network')"), (BIG, repr(BIG)[:98])],
    ids=["an answer", "a refusal", "half a megabyte"],
)
def test_a_request(unit: Unit, result: Done, shown: bytes | str) -> None:
    """A request comes through the inherited socket, and its answer goes back with the same id."""
    came: list[bool] = []
    with unit.request(b"n1") as caller:
        request, respond = unit.asked[0]
        assert request == Request(1, DeleteNetwork("n1"))
        respond(result)
        unit.home.loop.watch(caller, lambda: came.append(True))
        unit.home.wait_for(lambda: came)
        unit.home.loop.forget(caller)
        assert caller.recv(200) == (shown if isinstance(shown, bytes) else f"1 {shown}".encode())


def test_restart(unit: Unit) -> None:
    """When it is killed the next one answers over fresh queues; what was to be answered by then is dropped."""
    first = unit.api.child.pid
    with unit.request(b"n1") as caller:
        _, respond = unit.asked[0]
        unit.home.process_manager.kill(unit.api.child, SIGKILL)
        unit.home.wait_for(lambda: not unit.home.process_manager.children)
        assert caller.recv(100) == b""
    unit.home.wait_for(lambda: unit.api.child.state is ChildState.RUNNING)
    respond(Done())
    with unit.request(b"n2") as caller:
        request, respond = unit.asked[1]
        assert request == Request(1, DeleteNetwork("n2"))
        respond(NotFound("n2"))
        assert caller.recv(100) == b"1 NotFound('n2')"
    assert unit.api.child.pid != first
    assert unit.api.child.restarts == 1


def test_replies_that_are_not_taken(unit: Unit, monkeypatch: pytest.MonkeyPatch) -> None:
    """The supervisor never waits for an API that has hung: that one is killed and a new one started."""
    monkeypatch.setattr(outbox, "STALL_SECONDS", 0.2)
    first = unit.api.child.pid
    with unit.request(b"n1"):
        _, respond = unit.asked[0]
        unit.home.process_manager.kill(unit.api.child, SIGSTOP)
        respond(BIG)
        unit.home.wait_for(lambda: unit.api.child.restarts == 1)
    with unit.request(b"n2") as caller:
        unit.asked[1][1](Done())
        assert caller.recv(100) == b"1 Done()"
    assert unit.api.child.pid != first


def test_lists_that_nobody_reads(unit: Unit, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list for which there is no room is refused; what the engine asks is answered all the same."""
    monkeypatch.setattr(outbox, "LONG_BYTES", 0)
    with unit.request(b"list") as caller:
        unit.asked[0][1](WorkerList(()))
        assert caller.recv(100).startswith(b"1 Unavailable('too many long answers wait")
    with unit.request(b"n1") as caller:
        unit.asked[1][1](Done())
        assert caller.recv(100) == b"2 Done()"


def test_nothing_is_left(unit: Unit) -> None:
    """Restarts take no descriptor with them."""
    before = len(descriptors())
    for _ in range(3):
        unit.home.process_manager.kill(unit.api.child, SIGKILL)
        unit.home.wait_for(lambda: unit.api.child.state is ChildState.BACKOFF)
        unit.home.wait_for(lambda: unit.api.child.state is ChildState.RUNNING)
    assert len(descriptors()) == before


def test_stopped(unit: Unit) -> None:
    """An API that was stopped is not started again."""
    unit.api.stop()
    unit.home.wait_for(lambda: not unit.home.process_manager.children)
    assert unit.api.child.state is ChildState.STOPPED


def test_watcher(monkeypatch: pytest.MonkeyPatch) -> None:
    """The watcher's facts come in as they are; when it dies that is told and it is started again, until it is stopped.

    It is not told if it was ended so that another one looks at everything again.
    """

    def watch(path: str, channel: object) -> None:
        channel.send((path, os.getpid()))  # type: ignore[attr-defined]
        channel.poll(None)  # type: ignore[attr-defined]

    monkeypatch.setattr(services, "WATCHER", watch)
    home, facts, ends = Home(), list[tuple[str, int]](), list[int]()
    watcher = Watcher(home.process_manager, "/run/engine.sock", facts.append, lambda: ends.append(len(facts)))  # type: ignore[arg-type]  # only such facts here
    watcher.child.backoff.first = 0.01
    watcher.start()
    home.wait_for(lambda: facts)
    home.process_manager.kill(watcher.child, SIGKILL)
    home.wait_for(lambda: len(facts) == 2)
    watcher.look_again()
    home.wait_for(lambda: len(facts) == 3)
    watcher.stop()
    home.wait_for(lambda: not home.process_manager.children)
    home.close()
    assert [path for path, _ in facts] == ["/run/engine.sock"] * 3
    assert ends == [1]
    assert len({pid for _, pid in facts}) == 3
    assert watcher.child.state is ChildState.STOPPED
