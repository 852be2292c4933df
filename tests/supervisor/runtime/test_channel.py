"""The supervisor's end of a channel takes whole messages only, and never waits."""

import os
import signal
import struct
from collections.abc import Iterator
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler

import pytest

from supervisor.runtime.channel import Channel, channel

OVERDUE_SECONDS = 5.0  # then a call that waits is interrupted, and fails


@pytest.fixture(name="ends")
def _ends() -> Iterator[tuple[Channel, Connection]]:
    def overdue(_: int, __: object) -> None:
        raise TimeoutError("it waits")

    previous = signal.signal(signal.SIGALRM, overdue)
    signal.setitimer(signal.ITIMER_REAL, OVERDUE_SECONDS)
    ours, theirs = channel()
    yield ours, theirs
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, previous)
    ours.close()
    theirs.close()


def _as_sent(message: object) -> bytes:
    """The bytes of the message as multiprocessing sends them."""
    payload = bytes(ForkingPickler.dumps(message))
    return struct.pack("!i", len(payload)) + payload


def _send_for_ever(ours: Channel) -> None:
    while True:
        ours.send("x" * 1000)


def test_both_ways(ends: tuple[Channel, Connection]) -> None:
    """What one end sends the other one receives, one message after the other."""
    ours, theirs = ends
    for message in ("one", {"two": 2}):
        theirs.send(message)
    assert (ours.receive(), ours.receive()) == ("one", {"two": 2})
    ours.send("three")
    assert theirs.recv() == "three"


def test_byte_by_byte(ends: tuple[Channel, Connection]) -> None:
    """However the message is cut, it is there with its last byte, and not before; the next one is not lost."""
    ours, theirs = ends
    whole = _as_sent(["a", "message"])
    for index in range(len(whole)):
        with pytest.raises(BlockingIOError):
            ours.receive()
        os.write(theirs.fileno(), whole[index : index + 1])
    theirs.send("next")
    assert ours.receive() == ["a", "message"]
    assert ours.receive() == "next"


def test_large(ends: tuple[Channel, Connection]) -> None:
    """A message that is larger than the buffer of the kernel comes in parts."""
    ours, theirs = ends
    sent = _as_sent("x" * 1_000_000)
    os.set_blocking(theirs.fileno(), False)
    received = None
    while received is None:
        if sent:
            sent = sent[os.write(theirs.fileno(), sent) :]
        try:
            received = ours.receive()
        except BlockingIOError:
            assert sent
    assert received == "x" * 1_000_000


def test_full(ends: tuple[Channel, Connection]) -> None:
    """A child that does not read does not make the supervisor wait."""
    ours, _ = ends
    with pytest.raises(BlockingIOError):
        _send_for_ever(ours)


@pytest.mark.parametrize("received", [b"", b"\0\0", _as_sent("half")[:-1]], ids=["nothing", "header", "payload"])
def test_ended(ends: tuple[Channel, Connection], received: bytes) -> None:
    """The end is told, in the middle of a message as well."""
    ours, theirs = ends
    os.write(theirs.fileno(), received)
    theirs.close()
    with pytest.raises(EOFError):  # and no BlockingIOError, after which the loop would wait for more
        ours.receive()


def test_of_a_connection() -> None:
    """An end that exists already, such as a queue's reader, is taken over."""
    reader, writer = Pipe(duplex=False)
    with writer:
        ours = Channel(reader)
        with pytest.raises(BlockingIOError):
            ours.receive()
        writer.send("request")
        assert ours.receive() == "request"
    ours.close()
