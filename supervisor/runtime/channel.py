"""The supervisor's end of a channel to one of its children, which never waits for that child.

multiprocessing's `Connection` waits for room when it sends, and for the rest of a message of which it has read the
beginning. A child that was stopped in the middle of one would stop the supervisor, too.
"""

import os
import struct
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler

_HEADER = struct.Struct("!i")  # before each message: its length in bytes, as `Connection` writes it


class Channel:
    """Whole messages over `end`, whose other end a `Connection` has. Sets `end` to non-blocking."""

    def __init__(self, end: Connection) -> None:
        os.set_blocking(end.fileno(), False)
        self._end = end
        self._received = bytearray()  # the beginning of a message
        self._missing = _HEADER.size
        self._has_header = False

    def fileno(self) -> int:
        """The descriptor."""
        return self._end.fileno()

    def close(self) -> None:
        """Gives the descriptor back; harmless a second time."""
        self._end.close()

    def send(self, message: object) -> None:
        """Raises OSError; BlockingIOError if the child has not read for so long that the channel is full."""
        self._end.send(message)

    def receive(self) -> object:
        """The next message. Raises BlockingIOError until one is there as a whole, EOFError or OSError at the end."""
        if not self._has_header:
            (length,) = _HEADER.unpack(self._read())
            self._missing, self._has_header = length, True
        payload = self._read()
        self._missing, self._has_header = _HEADER.size, False
        message: object = ForkingPickler.loads(payload)
        return message

    def _read(self) -> bytes:
        """All that is missing. Reads no further: what waits in the kernel wakes the loop."""
        while self._missing:
            part = os.read(self._end.fileno(), self._missing)
            if not part:
                raise EOFError
            self._received += part
            self._missing -= len(part)
        whole = bytes(self._received)
        self._received.clear()
        return whole


def channel() -> tuple[Channel, Connection]:
    """A new channel: the supervisor's end and the child's."""
    ours, theirs = Pipe()
    return Channel(ours), theirs
