"""The children that belong to no endpoint: the API, the engine watcher, and the ops service where it is wanted.

The supervisor starts them again whenever they end, with fresh channels: if a reader was killed, its channel may stay
locked.
"""

import logging
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.queues import SimpleQueue
from signal import SIGKILL, SIGTERM
from typing import Any, cast

from supervisor.contract.errors import RequestError, Unavailable
from supervisor.contract.messages import Answer, ListQuestion, Reply, Request, Respond
from supervisor.runtime.channel import Channel, channel
from supervisor.runtime.child import Child
from supervisor.runtime.child_states import ChildEvent, ChildState
from supervisor.runtime.forked import Target
from supervisor.runtime.loop import Loop
from supervisor.runtime.outbox import Outbox
from supervisor.runtime.process_manager import ProcessManager
from workers.system.backoff import Backoff

API = "api.server:run"
OPS = "api.tcp_server:run"
WATCHER = "supervisor.engine.watcher:run"
API_FIRST_DELAY = 0.05  # a user who calls a dead API waits for the next one

log = logging.getLogger(__name__)


@dataclass(eq=False)
class HttpService:
    """gunicorn's master and worker over `listener`. `on_request` gets each request and a function that answers it.

    `target` is called with the listener's descriptor, the two queues and `arguments`.
    """

    process_manager: ProcessManager
    loop: Loop
    listener: socket.socket
    on_request: Callable[[Request, Respond], None]
    role: str = "api"
    target: Target = API
    arguments: tuple[object, ...] = ()

    def __post_init__(self) -> None:
        self._requests: Channel | None = None
        self._outbox: Outbox | None = None
        self.child = Child(f"nd-{self.role}", self.role, lambda _: None, self._exited, Backoff(first=API_FIRST_DELAY))

    def start(self) -> None:
        """Forks it; the listening socket is inherited, so that no connection is refused in between."""
        self.process_manager.attempt(self.child, self._spawn)

    def _spawn(self) -> None:
        context = get_context("fork")
        requests: SimpleQueue[Request] = context.SimpleQueue()
        replies: SimpleQueue[Reply] = context.SimpleQueue()
        os.set_blocking(writer(replies).fileno(), False)
        incoming = Channel(reader(requests))
        self.process_manager.spawn(
            self.child,
            self.target,
            self.listener.fileno(),
            requests,
            replies,
            *self.arguments,
            ours=(incoming, writer(replies)),
            theirs=(writer(requests), reader(replies)),
            keep=self.listener,
        )
        outbox = Outbox(self.loop, writer(replies), self._hangs)
        self._requests, self._outbox = incoming, outbox
        self.loop.watch(incoming, lambda: self._readable(incoming, outbox))

    def stop(self) -> None:
        """Stops it; it takes no more requests."""
        self.process_manager.stop(self.child, SIGTERM)

    def _readable(self, requests: Channel, outbox: Outbox) -> None:
        try:
            request = cast(Request, requests.receive())
        except BlockingIOError:
            return
        except (EOFError, OSError):
            self.loop.forget(requests)
            return

        if self.child.state is ChildState.STARTING:
            self.child.advance(ChildEvent.READY)
        is_list = isinstance(request.body, ListQuestion)

        def respond(result: Answer | RequestError) -> None:
            """Answers; for a service that has gone, the outbox drops the answer."""
            if is_list and outbox.is_full:
                result = Unavailable("too many long answers wait to be read; try again")
            outbox.put(Reply(request.id, result), is_long=is_list and not isinstance(result, RequestError))

        self.on_request(request, respond)

    def _hangs(self, reason: str) -> None:
        log.warning("%s does not take replies (%s); it is restarted", self.child.name, reason)
        self.process_manager.kill(self.child, SIGKILL)

    def _exited(self, status: int) -> None:
        if self._requests is not None and self._outbox is not None:
            self.loop.forget(self._requests)
            self._outbox.close()
            self._requests = self._outbox = None
        _restart(self.process_manager, self.child, status, self.start)


class Watcher:
    """The engine watcher; `on_fact` gets each fact that it learns, `on_end` is called when it has died."""

    def __init__(
        self,
        process_manager: ProcessManager,
        engine_socket: str,
        on_fact: Callable[[object], None],
        on_end: Callable[[], None],
    ) -> None:
        self._process_manager = process_manager
        self._engine_socket = engine_socket
        self._on_end = on_end
        self.child = Child("nd-watcher", "watcher", on_fact, self._exited)
        self._is_replaced = False

    def start(self) -> None:
        """Forks it."""
        self._process_manager.attempt(self.child, self._spawn)

    def _spawn(self) -> None:
        ours, theirs = channel()
        self._process_manager.spawn(self.child, WATCHER, self._engine_socket, theirs, channel=ours, theirs=(theirs,))

    def look_again(self) -> None:
        """Starts another watcher, which looks at everything again: this one waits for the engine's next event."""
        self._is_replaced = self.child.pid is not None
        self._process_manager.kill(self.child, SIGKILL)

    def stop(self) -> None:
        """Kills the watcher: it holds nothing that it would have to release."""
        self._process_manager.stop(self.child, SIGKILL)

    def _exited(self, status: int) -> None:
        is_replaced, self._is_replaced = self._is_replaced, False
        if is_replaced and self.child.state is ChildState.BACKOFF:
            self.start()
            return
        if self.child.state is ChildState.BACKOFF:
            self._on_end()
        _restart(self._process_manager, self.child, status, self.start)


def reader(queue: "SimpleQueue[Any]") -> Connection:
    """The end that `get` reads, which multiprocessing does not show: each process must close the other's end."""
    return cast(Connection, queue._reader)  # type: ignore[attr-defined]


def writer(queue: "SimpleQueue[Any]") -> Connection:
    """The end that `put` writes."""
    return cast(Connection, queue._writer)  # type: ignore[attr-defined]


def _restart(process_manager: ProcessManager, child: Child, status: int, start: Callable[[], None]) -> None:
    if child.state is ChildState.BACKOFF:
        delay = process_manager.respawn_later(child, start)
        log.warning("%s ended with status %d; started again in %g s", child.role, status, delay)
