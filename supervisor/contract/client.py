"""The caller's end of the queues to the supervisor: one message there, one reply back, correlated by id.

Many threads of the API process call at once. One thread reads the replies and hands each to its caller; it never waits
for a caller. When the channel breaks, every caller fails at once.
"""

import itertools
import queue
import threading
from multiprocessing.queues import SimpleQueue
from typing import Protocol, TypeVar

from supervisor.contract.errors import DeadlineExceeded, RequestError, Unavailable
from supervisor.contract.messages import Answer, Body, GetHealth, Reply, Request

# The deadlines nest: first lease (<= 20 s) < worker < supervisor < this < the engine's 30 s.
CALL_DEADLINE_SECONDS = 28.0
# An operator, or a health check, waits less patiently than the engine: these are answered from memory.
DEADLINE_SECONDS = 5.0

_T = TypeVar("_T", bound=Answer)


class Caller(Protocol):
    """Anything that answers requests as the supervisor does."""

    def call(self, body: Body, deadline: float = CALL_DEADLINE_SECONDS) -> Answer:
        """The supervisor's answer; raises RequestError."""


def ask(client: Caller, question: Body, kind: type[_T], deadline: float = DEADLINE_SECONDS) -> _T:
    """The answer, which is to be of this kind; raises RequestError."""
    answer = client.call(question, deadline)
    if not isinstance(answer, kind):
        raise TypeError(f"{type(answer).__name__} is no answer to {type(question).__name__}")
    return answer


class Client:
    """Calls the supervisor from any thread."""

    def __init__(self, requests: "SimpleQueue[Request]", replies: "SimpleQueue[Reply]") -> None:
        """The queues were made before the fork, and nothing else uses them at this end."""
        self._requests = requests
        self._replies = replies
        self._ids = itertools.count(1)
        self._lock = threading.Lock()
        self._waiting: dict[int, queue.SimpleQueue[Answer | RequestError]] = {}
        self._broken = False

    def start(self) -> threading.Thread:
        """Starts the reading thread, which ends when the channel breaks, and tells the supervisor that we are ready.

        Call it after the last fork, because threads do not survive a fork.
        """
        self._requests.put(Request(0, GetHealth()))
        thread = threading.Thread(target=self._read, name="replies", daemon=True)
        thread.start()
        return thread

    def call(self, body: Body, deadline: float = CALL_DEADLINE_SECONDS) -> Answer:
        """The supervisor's answer.

        Raises the RequestError that it answered with, DeadlineExceeded after `deadline` seconds, or Unavailable.
        """
        results: queue.SimpleQueue[Answer | RequestError] = queue.SimpleQueue()
        request = Request(next(self._ids), body)
        with self._lock:
            if self._broken:
                raise Unavailable("the plugin's supervisor is gone")
            self._waiting[request.id] = results
        try:
            self._requests.put(request)
            result = results.get(timeout=deadline)
        except queue.Empty:
            raise DeadlineExceeded(
                f"no answer from the supervisor to {type(body).__name__} in {deadline:.0f} s"
            ) from None
        except OSError as error:
            raise Unavailable(f"the channel to the supervisor broke: {error}") from error
        finally:
            with self._lock:
                self._waiting.pop(request.id, None)
        if isinstance(result, RequestError):
            raise result
        return result

    def _read(self) -> None:
        try:
            while True:
                self._deliver(self._replies.get())
        except (EOFError, OSError):
            pass  # the supervisor is gone
        finally:
            self._fail_all()

    def _deliver(self, reply: Reply) -> None:
        with self._lock:
            results = self._waiting.pop(reply.id, None)
        if results is not None:  # else its caller's deadline has passed
            results.put(reply.result)

    def _fail_all(self) -> None:
        with self._lock:
            self._broken = True
            waiting, self._waiting = self._waiting, {}
        for results in waiting.values():
            results.put(Unavailable("the plugin's supervisor is gone"))
