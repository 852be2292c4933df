"""The two ends of a multiprocessing queue, which it does not show: each process must close the other's end."""

from multiprocessing.connection import Connection
from multiprocessing.queues import SimpleQueue
from typing import Any, cast


def reader(queue: "SimpleQueue[Any]") -> Connection:
    """The end that `get` reads; it can be waited on."""
    return cast(Connection, queue._reader)  # type: ignore[attr-defined]


def writer(queue: "SimpleQueue[Any]") -> Connection:
    """The end that `put` writes."""
    return cast(Connection, queue._writer)  # type: ignore[attr-defined]
