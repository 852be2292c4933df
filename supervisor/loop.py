"""The one place where the supervisor waits: descriptors, deadlines and signals.

Owns no state of the plugin. A callback that raises is a bug of ours and is logged; it must not cost the others theirs.
"""

import heapq
import itertools
import logging
import signal
import socket
import time
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from typing import cast

Source = Connection | socket.socket | int
Callback = Callable[[], None]

log = logging.getLogger(__name__)


class Timer:
    """A callback due at a `time.monotonic()`; `cancel` makes it do nothing."""

    def __init__(self, callback: Callback) -> None:
        self._callback: Callback | None = callback

    def cancel(self) -> None:
        """Also harmless after it has fired."""
        self._callback = None

    def fire(self) -> None:
        """Calls it, once."""
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()


class Loop:
    """Waits for whatever was given to `watch` and `call_later`, and calls it."""

    def __init__(self) -> None:
        self._callbacks: dict[Source, Callback] = {}
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()

    def watch(self, source: Source, callback: Callback) -> None:
        """Calls back whenever `source` is readable, until it is forgotten."""
        self._callbacks[source] = callback

    def forget(self, source: Source) -> None:
        """No more calls for `source`; also harmless if there were none."""
        self._callbacks.pop(source, None)

    def call_later(self, seconds: float, callback: Callback) -> Timer:
        """Calls back once, `seconds` from now."""
        timer = Timer(callback)
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._order), timer))
        return timer

    def step(self) -> None:
        """Waits for the next events and handles them."""
        timeout = max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else None
        for source in wait(list(self._callbacks), timeout):
            callback = self._callbacks.get(cast(Source, source))
            if callback is not None:  # an earlier callback of this round may have forgotten it
                _guarded(callback)
        while self._timers and self._timers[0][0] <= time.monotonic():
            _guarded(heapq.heappop(self._timers)[2].fire)


def _guarded(callback: Callback) -> None:
    try:
        callback()
    except Exception:
        log.exception("a callback failed; going on")


class Signals:
    """Signals as a readable socket: the handlers only wake, all decisions are taken in the loop."""

    def __init__(self, *signals: signal.Signals) -> None:
        self.reader, self._writer = socket.socketpair()
        self.reader.setblocking(False)
        self._writer.setblocking(False)
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for number in signals:
            signal.signal(number, lambda *_: None)

    @property
    def ends(self) -> tuple[socket.socket, socket.socket]:
        """What a child has to close."""
        return self.reader, self._writer

    def drain(self) -> set[int]:
        """The numbers of the signals that came since the last call."""
        try:
            return set(self.reader.recv(4096))
        except BlockingIOError:
            return set()
