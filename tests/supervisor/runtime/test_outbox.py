"""What the supervisor writes to a reader that may be slow: in order, bounded, the short before the long."""

import os
import pickle
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import Connection

import pytest

from supervisor.runtime import outbox as outboxes
from supervisor.runtime.loop import Loop
from supervisor.runtime.outbox import LONG_BYTES, Outbox

LONG = "x" * 300_000  # more than a pipe holds


@dataclass
class Channel:
    """An outbox and its reader's end."""

    loop: Loop = field(default_factory=Loop)
    reasons: list[str] = field(default_factory=list)
    outbox: Outbox = field(init=False)
    reader: Connection = field(init=False)
    writer: Connection = field(init=False)

    def __post_init__(self) -> None:
        self.reader, self.writer = Pipe(duplex=False)
        os.set_blocking(self.writer.fileno(), False)
        os.set_blocking(self.reader.fileno(), False)
        self.outbox = Outbox(self.loop, self.writer, self.reasons.append)

    def read(self, number: int) -> list[object]:
        """So many messages, read while the outbox writes."""
        received, messages = bytearray(), list[object]()
        while len(messages) < number:
            try:
                received += os.read(self.reader.fileno(), 1 << 20)
            except BlockingIOError:
                self.loop.step()
            while len(received) >= 4 and len(received) >= 4 + (size := int.from_bytes(received[:4], "big")):
                messages.append(pickle.loads(received[4 : 4 + size]))  # noqa: S301  our own
                del received[: 4 + size]
        return messages


@pytest.fixture(name="channel")
def _channel() -> Iterator[Channel]:
    channel = Channel()
    yield channel
    channel.outbox.close()
    channel.reader.close()
    channel.writer.close()


def test_short_messages_overtake_long_ones(channel: Channel) -> None:
    """All come whole; a short one waits for no long one but that which is being written."""
    for number in range(3):
        channel.outbox.put((number, LONG), is_long=True)
    channel.outbox.put("short")
    channel.outbox.put("shorter")
    assert channel.read(5) == [(0, LONG), "short", "shorter", (1, LONG), (2, LONG)]


def test_bound(channel: Channel) -> None:
    """Long messages that nobody reads fill it; once they are read there is room again."""
    number = 0
    while not channel.outbox.is_full:
        channel.outbox.put(LONG, is_long=True)
        number += 1
    assert LONG_BYTES < number * len(LONG) < LONG_BYTES + 3 * len(LONG)  # one more is being written
    assert channel.read(number) == [LONG] * number
    assert not channel.outbox.is_full


def test_reader_that_hangs(channel: Channel, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is given up once it has taken nothing for a while, but not one that takes a little; nothing is kept for it."""
    monkeypatch.setattr(outboxes, "STALL_SECONDS", 0.2)
    channel.outbox.put(LONG)
    for _ in range(4):
        overdue: list[bool] = []
        channel.loop.call_later(0.1, lambda overdue=overdue: overdue.append(True))  # type: ignore[misc]  # its default
        while not overdue:
            channel.loop.step()
        os.read(channel.reader.fileno(), 1 << 14)
    assert channel.reasons == []
    while not channel.reasons:
        channel.loop.step()
    channel.outbox.put("too late")
    assert [reason.split(" for ")[0] for reason in channel.reasons] == ["nothing was read"]


@pytest.mark.parametrize("waits", [False, True])
def test_reader_that_has_gone(channel: Channel, waits: bool) -> None:
    """It is told once, whether something waited for the reader or not."""
    if waits:
        channel.outbox.put(LONG)
    channel.reader.close()
    channel.outbox.put("nobody")
    while not channel.reasons:
        channel.loop.step()
    channel.outbox.put("nobody either")
    assert channel.reasons == ["[Errno 32] Broken pipe"]
