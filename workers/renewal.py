"""A renewal that brings nothing new: the sleeper takes it by itself, as a turn for it would cost ten times as much.

    turn ──what udhcpc will say then──► sleeper ──what it has said──► the next turn
Runs in the sleeper, so it touches as little memory as it can. Must not know what udhcpc's words mean.
"""

import os
import select
from multiprocessing import Pipe
from typing import NamedTuple

from workers.alarm import set_in
from workers.lease import boottime, slept
from workers.messages import LeaseRenewed

READ_BYTES = 4096
LOG_BYTES = 1024  # of udhcpc's latest words


class Expected(NamedTuple):
    """`first` is what a DHCPACK that changes nothing makes udhcpc's script write to `events` next, `record` all others.

    When it has come the supervisor is told over `channel`, and `alarm` is set to `seconds` later. `errors` is udhcpc's
    log. All but the records and the time are descriptors.
    """

    first: bytes
    record: bytes
    seconds: float
    channel: int
    alarm: int
    events: int
    errors: int


class Heard(NamedTuple):
    """What udhcpc has said since the last turn: its `log`, and of its script what was not expected.

    `renewed` is when the lease was renewed last: `boottime()` and `slept()`.
    """

    log: bytes = b""
    said: bytes = b""
    renewed: tuple[float, float] | None = None


NOTHING = Heard()


def await_news(watched: list[int], expected: Expected | None) -> Heard:
    """Returns as soon as one of the `watched` descriptors has anything for a turn."""
    poll = select.poll()
    for number in watched:
        poll.register(number, select.POLLIN)
    if expected is not None:
        poll.modify(expected.errors, 0)  # it says a few words before each event; its end is told all the same
        return _take_renewals(poll, expected)
    poll.poll()
    return NOTHING


def _take_renewals(poll: select.poll, expected: Expected) -> Heard:
    log, said, renewed, record = b"", b"", None, expected.first
    while record.startswith(said):
        for number, happened in poll.poll():
            if happened != select.POLLIN or number != expected.events:
                return Heard(log, said, renewed)
            said += os.read(number, READ_BYTES)
        if said == record and _tell(expected):
            said, renewed, record = b"", (boottime(), slept()), expected.record
            log = (log + _read(expected.errors))[-LOG_BYTES:]
    return Heard(log, said, renewed)


def _read(number: int) -> bytes:
    """What is there, which may be nothing."""
    try:
        return os.read(number, READ_BYTES)
    except BlockingIOError:
        return b""


def _tell(expected: Expected) -> bool:
    """False where the supervisor is gone."""
    try:
        os.write(expected.channel, RENEWED)
    except OSError:
        return False
    set_in(expected.alarm, expected.seconds)
    return True


def _as_sent(message: object) -> bytes:
    """What a Connection writes for it."""
    reader, writer = Pipe(duplex=False)
    with reader, writer:
        writer.send(message)
        return os.read(reader.fileno(), READ_BYTES)


RENEWED = _as_sent(LeaseRenewed())
