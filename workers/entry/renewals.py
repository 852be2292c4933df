"""A renewal that brings nothing new: the sleeper takes it by itself, because a turn costs several times as much.

    turn ──what udhcpc will say then──► sleeper ──when it last did──► the next turn
The sleeper compares bytes, tells the supervisor and moves the alarm. It leaves all else where it is, for a turn.
Runs in the sleeper, so it touches as little memory as it can. Must not know what udhcpc's words mean.
"""

import os
import select
import socket
from multiprocessing import Pipe

from workers.contract.messages import LeaseRenewed
from workers.endpoint.clients import Renewal
from workers.system.alarm import set_alarm
from workers.system.clock import boottime, slept
from workers.system.poll import ready

LOG_BYTES = 4096


def await_work(watched: list[int], expected: Renewal | None) -> tuple[float, float] | None:
    """Returns as soon as one of the `watched` descriptors has something for a turn.

    The answer is the `boottime()` and `slept()` of the last renewal that was taken meanwhile, if there was any.
    """
    if expected is None:
        ready(watched)
        return None
    renewed = None
    poll = select.poll()
    for number in watched:
        poll.register(number, select.POLLIN)
    poll.modify(expected.log, 0)  # udhcpc says a few words at each renewal; its end is told all the same
    events = socket.SocketType(fileno=expected.events)
    while poll.poll() == [(expected.events, select.POLLIN)] and _take(events, expected):
        renewed = boottime(), slept()
        set_alarm(expected.alarm, min(renewed[0] + expected.seconds, expected.other_at))
    events.detach()
    return renewed


def _take(events: socket.SocketType, expected: Renewal) -> bool:
    """Takes the expected renewal, and what udhcpc's log says of it. False if something else has come."""
    words = expected.words
    if events.recv(len(words) + 1, socket.MSG_PEEK) != words:
        return False
    try:
        os.write(expected.channel, RENEWED)
    except OSError:
        return False  # the supervisor is gone, which a turn notices
    events.recv(len(words))
    try:  # noqa: SIM105  `suppress` takes memory
        os.read(expected.log, LOG_BYTES)
    except BlockingIOError:
        pass  # it has said nothing
    return True


def _as_sent(message: object) -> bytes:
    """What a Connection writes for it."""
    reader, writer = Pipe(duplex=False)
    with reader, writer:
        writer.send(message)
        return os.read(reader.fileno(), LOG_BYTES)


RENEWED = _as_sent(LeaseRenewed())
