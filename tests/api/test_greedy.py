"""The API process and the supervisor's end of its queues, under readers that ask for much and read slowly or never."""

import importlib
import socket
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from multiprocessing.queues import SimpleQueue
from pathlib import Path

import psutil
import pytest
from msgspec.structs import replace

from supervisor.contract.messages import (
    Answer,
    EndpointCreated,
    GetHealth,
    ListEndpoints,
    ListEvents,
    Page,
    Reply,
    Request,
    Respond,
)
from supervisor.listener import listen
from supervisor.runtime.child_states import ChildState
from supervisor.runtime.services import HttpService
from tests.api.test_ops import ENDPOINT, EVENT, HEALTH
from tests.api.unit import NEVER_ANSWERED, Listener, Reaction, reaction
from tests.supervisor.children import Home

MANY = 1000
VIEWS = tuple(replace(ENDPOINT, endpoint_id=f"{number:064x}") for number in range(MANY))
LISTS = b"GET /v1/endpoints HTTP/1.1\r\nHost: x\r\n\r\n"
EVENTS = b"GET /v1/events?follow=true&since=0 HTTP/1.1\r\nHost: x\r\n\r\n"
ONE_EVENT = b"GET /v1/events?limit=1 HTTP/1.1\r\nHost: x\r\n\r\n"
HEALTHZ = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
UNREAD_SECONDS = 2
CREATES = 40
SUPERVISOR_BYTES = 8 << 20
API_BYTES = 24 << 20


def _serve(listener: int, requests: "SimpleQueue[Request]", replies: "SimpleQueue[Reply]") -> None:
    """The API, less patient with clients that do not read."""
    vars(importlib.import_module("api.http_worker"))["UNREAD_SECONDS"] = UNREAD_SECONDS
    importlib.import_module("api.server").run(listener, requests, replies)


@dataclass
class Plugin:
    """The API with a supervisor of a thousand endpoints, and of events without end."""

    home: Home
    listener: Listener
    clients: ThreadPoolExecutor
    streams: int = 0
    api: HttpService = field(init=False)

    def __post_init__(self) -> None:
        self.api = HttpService(
            self.home.process_manager, self.home.loop, self.listener.bound, self._on_request, target=_serve
        )

    def _on_request(self, request: Request, respond: Respond) -> None:
        self.streams += request.body == ListEvents(0)
        respond(self._answer(request))

    def _answer(self, request: Request) -> Answer:
        match request.body:
            case ListEndpoints(after=after, limit=limit):
                first = int(after, 16) + 1 if after else 0
                views = VIEWS[first : first + limit]
                return Page(views, views[-1].endpoint_id if views else after, complete=len(views) < limit)
            case ListEvents(after=after, limit=limit):
                first = (after or 0) + 1
                rows = tuple(replace(EVENT, id=first + n) for n in range(limit))
                return Page(rows, first + limit - 1, complete=False)
            case GetHealth():
                return HEALTH
            case _:
                return EndpointCreated(None, "02:00:00:00:00:01")

    @property
    def worker(self) -> psutil.Process:
        """gunicorn's."""
        (worker,) = psutil.Process(self.api.child.pid).children()
        return worker

    def ask(self, raw: bytes) -> "Future[Reaction]":
        """A client that reads all of its answer."""
        return self.clients.submit(self.listener.ask, raw)

    def wait_for(self, *answers: "Future[Reaction]") -> list[Reaction]:
        """Runs the supervisor until all have come."""
        while not all(answer.done() for answer in answers):
            self.run(0.01)
        return [answer.result() for answer in answers]

    def run(self, seconds: float) -> None:
        """Runs the supervisor for so long."""
        over: list[bool] = []
        self.home.loop.call_later(seconds, lambda: over.append(True))
        self.home.wait_for(lambda: over)

    def never_reads(self, raw: bytes) -> socket.socket:
        """A client that asks and does nothing else."""
        connection = self.listener.connect()
        connection.sendall(raw)
        return connection


@pytest.fixture(name="plugin")
def _plugin(tmp_path: Path) -> Iterator[Plugin]:
    path = tmp_path / "plugin.sock"
    with listen(path) as bound, ThreadPoolExecutor(64) as clients:
        home = Home()
        plugin = Plugin(home, Listener(bound, path), clients)
        plugin.api.start()
        home.wait_for(lambda: plugin.api.child.state is ChildState.RUNNING)
        yield plugin
        plugin.api.stop()
        home.close()


def test_greedy_readers(plugin: Plugin) -> None:
    """Readers that never read neither keep others waiting nor cost memory, and lose their answers. Nothing restarts."""
    plugin.wait_for(plugin.ask(LISTS), plugin.ask(HEALTHZ))
    pids = plugin.api.child.pid, plugin.worker.pid
    supervisor, worker = psutil.Process(), plugin.worker
    before = supervisor.memory_info().rss, worker.memory_info().rss
    with ExitStack() as idle:
        unread = [idle.enter_context(plugin.never_reads(raw)) for raw in [LISTS] * 4 + [EVENTS] * 8]
        plugin.home.wait_for(lambda: plugin.streams == 8)
        refused = plugin.wait_for(plugin.ask(ONE_EVENT), plugin.ask(HEALTHZ))
        assert [answer.status for answer in refused] == [503, 200]
        assert supervisor.memory_info().rss - before[0] < SUPERVISOR_BYTES
        assert worker.memory_info().rss - before[1] < API_BYTES

        lists = [plugin.ask(LISTS) for _ in range(4)]
        creates = [plugin.ask(NEVER_ANSWERED) for _ in range(CREATES)]
        answers = plugin.wait_for(*creates, *lists)
        assert [answer.status for answer in answers] == [200] * (CREATES + 4)
        assert [len(answer.json["endpoints"]) for answer in answers[CREATES:]] == [MANY] * 4

        plugin.run(2 * UNREAD_SECONDS + 0.5)  # a part of what is written may be taken first
        ends = plugin.wait_for(*(plugin.clients.submit(reaction, connection) for connection in unread))
        assert not any(end.raw.endswith(b"\r\n0\r\n\r\n") for end in ends)
    assert plugin.wait_for(plugin.ask(ONE_EVENT))[0].status == 200
    assert (plugin.api.child.pid, plugin.worker.pid) == pids
    assert plugin.api.child.restarts == 0
