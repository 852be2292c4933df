"""What a sleeper does by itself: renewals that bring nothing new."""

import os
import select
import threading
from collections.abc import Iterator
from multiprocessing import Pipe
from multiprocessing.connection import Connection

import pytest

from workers.alarm import Alarm
from workers.lease import boottime
from workers.messages import LeaseRenewed
from workers.renewal import LOG_BYTES, NOTHING, READ_BYTES, Expected, Heard, await_news
from workers.udhcpc import renewal

RECORD = renewal({"ip": "192.0.2.10", "lease": "600"})
OTHER = renewal({"ip": "192.0.2.11", "lease": "600"})
FIRST = b"bound" + RECORD[5:]
SECONDS = 0.05
PATIENCE_SECONDS = 10.0


class Asleep:
    """One who waits for news: of udhcpc's `events` and `errors`, and of anything else by `wake`."""

    def __init__(self, *, expects: bool = True) -> None:
        events, self.events = os.pipe()
        errors, self.errors = os.pipe()
        os.set_blocking(errors, False)
        others, self.others = os.pipe()
        self.supervisor, channel = Pipe()
        self.alarm = Alarm()
        self.alarm.set(boottime() + 600)
        self.unread, self.log = events, errors
        self._open: list[int] = [events, errors, others, self.events, self.errors, self.others]
        self._channel: Connection = channel
        expected = Expected(FIRST, RECORD, SECONDS, channel.fileno(), self.alarm.fileno(), events, errors)
        self._heard: list[Heard] = []
        self._thread = threading.Thread(
            target=lambda: self._heard.append(await_news([others, events, errors], expected if expects else None))
        )
        self._thread.start()

    def wake(self) -> None:
        """By something that is not udhcpc's."""
        os.write(self.others, b".")

    def heard(self) -> Heard:
        """What it tells, now that it is awake."""
        self._thread.join(PATIENCE_SECONDS)
        return self._heard[0]

    def told(self) -> object:
        """What the supervisor is told."""
        assert self.supervisor.poll(PATIENCE_SECONDS)
        return self.supervisor.recv()

    def close(self) -> None:
        """All of it."""
        self.wake()
        self._thread.join(PATIENCE_SECONDS)
        self.supervisor.close()
        self._channel.close()
        self.alarm.close()
        for number in self._open:
            os.close(number)


@pytest.fixture
def asleep() -> Iterator[Asleep]:
    """One that expects a renewal."""
    one = Asleep()
    yield one
    one.close()


def test_nothing_new(asleep: Asleep) -> None:
    """Each renewal is told and puts the alarm off, whatever the pieces that it is read in; udhcpc's log is kept."""
    begun = boottime()
    for words, *pieces in ((b"", FIRST[:5], FIRST[5:]), *[(b"a word\n", RECORD)] * 3):
        os.write(asleep.errors, words)
        for piece in pieces:
            os.write(asleep.events, piece)
        assert asleep.told() == LeaseRenewed()
    assert select.select([asleep.alarm], [], [], PATIENCE_SECONDS)[0]
    ended = boottime()
    asleep.wake()
    log, said, renewed = asleep.heard()
    assert (log, said) == (b"a word\n" * 3, b"")
    assert renewed is not None
    assert begun < renewed[0] <= ended - SECONDS
    assert not asleep.supervisor.poll()


@pytest.mark.parametrize(
    "said", [OTHER, FIRST + OTHER, RECORD, b"nak\0message=no\0\0"], ids=["other", "both", "later", "nak"]
)
def test_news(asleep: Asleep, said: bytes) -> None:
    """Whatever else udhcpc says is for a turn, to the last byte."""
    os.write(asleep.events, said)
    assert asleep.heard() == Heard(b"", said)
    assert not asleep.supervisor.poll()


def test_half_a_record(asleep: Asleep) -> None:
    """What has come of a record when something else happens goes to the turn; udhcpc's log is left to it."""
    os.write(asleep.errors, b"a word\n")
    os.write(asleep.events, FIRST[:7])
    asleep.wake()
    heard = asleep.heard()
    assert FIRST.startswith(heard.said)
    assert (heard.log, os.read(asleep.log, READ_BYTES)) == (b"", b"a word\n")


def test_long_log(asleep: Asleep) -> None:
    """The latest of it is kept, and none of it stays in the way."""
    os.write(asleep.errors, b"x" * 2 * LOG_BYTES + b"last\n")
    os.write(asleep.events, FIRST)
    assert asleep.told() == LeaseRenewed()
    asleep.wake()
    log = asleep.heard().log
    assert (len(log), log[-5:]) == (LOG_BYTES, b"last\n")
    assert not select.select([asleep.log], [], [], 0)[0]


@pytest.mark.parametrize("end", ["events", "errors"])
def test_death(asleep: Asleep, end: str) -> None:
    """The end of udhcpc is for a turn."""
    number: int = getattr(asleep, end)
    os.close(number)
    asleep._open.remove(number)
    assert asleep.heard() == NOTHING


def test_supervisor_gone(asleep: Asleep) -> None:
    """A renewal that cannot be told goes to the turn, which will find out why."""
    asleep.supervisor.close()
    os.write(asleep.events, FIRST)
    asleep.wake()
    heard = asleep.heard()
    assert (heard.said or os.read(asleep.unread, len(FIRST)), heard.renewed) == (FIRST, None)


def test_nothing_expected() -> None:
    """Then all is for a turn, unread."""
    one = Asleep(expects=False)
    os.write(one.events, FIRST)
    assert one.heard() == NOTHING
    one.close()
