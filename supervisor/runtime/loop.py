"""The one place where the supervisor waits: descriptors, deadlines and signals.

Owns no state of the plugin. A callback that raises is a bug of ours: the loop logs it and goes on with the others.
"""

import heapq
import itertools
import logging
import select
import signal
import socket
import time
from collections.abc import Callable
from typing import Protocol


class HasDescriptor(Protocol):
    """A socket, a channel, one end of a queue."""

    def fileno(self) -> int:
        """The descriptor."""


Source = HasDescriptor | int
Callback = Callable[[], None]

MIN_TIMERS = 64

log = logging.getLogger(__name__)


class Timer:
    """A callback due at a `time.monotonic()`; `cancel` makes it do nothing."""

    def __init__(self, callback: Callback) -> None:
        self._callback: Callback | None = callback

    @property
    def is_idle(self) -> bool:
        """Whether it has fired or was cancelled."""
        return self._callback is None

    def cancel(self) -> None:
        """Makes it do nothing; also harmless after it has fired."""
        self._callback = None

    def fire(self) -> None:
        """Calls the callback, once."""
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()


class Loop:
    """Waits for all sources and timers, and calls their callbacks."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._numbers: dict[Source, int] = {}
        self._callbacks: dict[int, Callback] = {}
        self._timers: list[tuple[float, int, Timer]] = []
        self._most_timers = MIN_TIMERS  # until those that are idle are dropped
        self._order = itertools.count()

    def watch(self, source: Source, callback: Callback) -> None:
        """Calls back whenever `source` is readable. Forget the source before you close it."""
        self._watch(source, callback, select.EPOLLIN)

    def watch_writable(self, source: Source, callback: Callback) -> None:
        """As `watch`, whenever `source` takes data, or its reader has gone."""
        self._watch(source, callback, select.EPOLLOUT)

    def _watch(self, source: Source, callback: Callback, events: int) -> None:
        number = source if isinstance(source, int) else source.fileno()
        if source not in self._numbers:
            self._epoll.register(number, events)
        self._numbers[source] = number
        self._callbacks[number] = callback

    def forget(self, source: Source) -> None:
        """No more calls for `source`; also harmless if there were none."""
        number = self._numbers.pop(source, None)
        if number is not None:
            self._epoll.unregister(number)
            del self._callbacks[number]

    def call_later(self, seconds: float, callback: Callback) -> Timer:
        """Calls back once, `seconds` from now."""
        timer = Timer(callback)
        if len(self._timers) >= self._most_timers:  # each start cancels some whose time is minutes away
            self._timers = [entry for entry in self._timers if not entry[2].is_idle]
            heapq.heapify(self._timers)
            self._most_timers = max(MIN_TIMERS, 2 * len(self._timers))
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._order), timer))
        return timer

    def step(self) -> None:
        """Waits for the next events and handles them."""
        while self._timers and self._timers[0][2].is_idle:  # no reason to wake
            heapq.heappop(self._timers)
        timeout = max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else None
        for number, callback in [(number, self._callbacks.get(number)) for number, _ in self._epoll.poll(timeout)]:
            # An earlier callback of this round may have forgotten it, and the number may be another source's by now.
            if callback is not None and self._callbacks.get(number) is callback:
                _guarded(callback)
        while self._timers and self._timers[0][0] <= time.monotonic():
            _guarded(heapq.heappop(self._timers)[2].fire)


def _guarded(callback: Callback) -> None:
    try:
        callback()
    except Exception:
        log.exception("a callback failed; going on")


class Signals:
    """Signals as a readable socket: the handlers only wake the loop, which decides."""

    def __init__(self, *signals: signal.Signals) -> None:
        self.reader, self._writer = socket.socketpair()
        self.reader.setblocking(False)
        self._writer.setblocking(False)
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for number in signals:
            signal.signal(number, lambda *_: None)

    def drain(self) -> set[int]:
        """The numbers of the signals that came since the last call."""
        try:
            return set(self.reader.recv(4096))
        except BlockingIOError:
            return set()
