"""Keeps messages to a process that may be slow to read them, and writes them in order as its pipe takes them.

The supervisor never waits for a reader. Short messages overtake long ones. The long ones have a bound: put none while
`is_full`. Must not know what the messages say.
"""

import os
import struct
import time
from collections import deque
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler

from supervisor.runtime.loop import Loop

LONG_BYTES = 1 << 20  # bound for waiting long messages; a page of 200 endpoints has 80 kB
STALL_SECONDS = 10.0  # a reader that takes nothing for so long hangs


class Outbox:
    """The messages that wait for the reader at the other end of a pipe; our `end` must not block.

    When the reader has gone or hangs, `broken` is called once with the reason. The outbox keeps no messages after that.
    """

    def __init__(self, loop: Loop, end: Connection, broken: Callable[[str], None]) -> None:
        self._loop = loop
        self._end = end
        self._broken = broken
        self._short: deque[bytes] = deque()
        self._long: deque[bytes] = deque()
        self._long_bytes = 0
        self._rest = memoryview(b"")  # of the message that is being written
        self._waits = False
        self._is_judged = False  # a timer runs
        self._progress = time.monotonic()
        self._is_open = True

    @property
    def is_full(self) -> bool:
        """Whether too many long messages wait for another one."""
        return self._long_bytes >= LONG_BYTES

    def put(self, message: object, *, is_long: bool = False) -> None:
        """Writes the message now, or as soon as the pipe takes it."""
        if not self._is_open:
            return
        payload = bytes(ForkingPickler.dumps(message))
        frame = struct.pack("!i", len(payload)) + payload  # as multiprocessing's Connection frames a message
        if is_long:
            self._long.append(frame)
            self._long_bytes += len(frame)
        else:
            self._short.append(frame)
        if not self._waits:
            self._write()

    def close(self) -> None:
        """Drops all waiting messages and writes none any more."""
        self._is_open = False
        self._short.clear()
        self._long.clear()
        self._rest = memoryview(b"")
        self._stop_waiting()

    def _write(self) -> None:
        while self._rest or self._take_next():
            try:
                written = os.write(self._end.fileno(), self._rest)
            except BlockingIOError:
                self._wait()
                return
            except OSError as error:
                self._break(str(error))
                return
            self._rest = self._rest[written:]
            self._progress = time.monotonic()
        self._stop_waiting()

    def _take_next(self) -> bool:
        if self._short:
            self._rest = memoryview(self._short.popleft())
        elif self._long:
            self._rest = memoryview(self._long.popleft())
            self._long_bytes -= len(self._rest)
        return bool(self._rest)

    def _wait(self) -> None:
        if not self._waits:
            self._waits = True
            self._progress = time.monotonic()
            self._loop.watch_writable(self._end, self._write)
            if not self._is_judged:
                self._judge_later(STALL_SECONDS)

    def _stop_waiting(self) -> None:
        if self._waits:
            self._waits = False
            self._loop.forget(self._end)

    def _judge_later(self, seconds: float) -> None:
        self._is_judged = True
        self._loop.call_later(seconds, self._judge)

    def _judge(self) -> None:
        """Has the reader taken anything?"""
        self._is_judged = False
        idle = time.monotonic() - self._progress
        if self._waits and idle >= STALL_SECONDS:
            self._break(f"nothing was read for {idle:.0f} s")
        elif self._waits:
            self._judge_later(STALL_SECONDS - idle)

    def _break(self, reason: str) -> None:
        self.close()
        self._broken(reason)
