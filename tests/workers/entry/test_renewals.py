"""What a sleeper takes without a turn: a renewal that is to the byte the expected one, and nothing else."""

import math
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import FileIO
from multiprocessing import Pipe

import pytest

from workers.contract.messages import LeaseRenewed
from workers.endpoint.clients import Renewal
from workers.entry.renewals import await_work
from workers.system.alarm import Alarm
from workers.system.clock import boottime
from workers.system.poll import ready

WORDS = b"renew\0ip=192.0.2.10\0\0"


@dataclass
class Ends:
    """A sleeper's descriptors, and what is at their other ends. The next renewal is late at once."""

    alarm: Alarm = field(default_factory=Alarm)

    def __post_init__(self) -> None:
        self.supervisor, self.channel = Pipe()
        self.script, self.events = socket.socketpair()
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        self.log, self.udhcpc = FileIO(reader), FileIO(writer, "w")
        heard = (self.events.fileno(), self.log.fileno())
        self.expected = Renewal(WORDS, 0.0, *heard, math.inf, self.channel.fileno(), self.alarm.fileno())

    def wait(self) -> tuple[float, float] | None:
        """What the sleeper does until there is work for a turn."""
        watched = [self.channel.fileno(), self.alarm.fileno(), self.events.fileno(), self.log.fileno()]
        return await_work(watched, self.expected)

    def close(self) -> None:
        """All of them."""
        for end in (self.supervisor, self.channel, self.script, self.events, self.log, self.udhcpc, self.alarm):
            end.close()


@pytest.fixture(name="ends")
def _ends() -> Iterator[Ends]:
    ends = Ends()
    yield ends
    ends.close()


def test_expected_renewal(ends: Ends) -> None:
    """The supervisor hears of it, the log is emptied, and the alarm goes off when the next renewal is late."""
    ends.udhcpc.write(b"udhcpc: sending renew\n")
    ends.script.send(WORDS)
    begun = boottime()
    renewed = ends.wait()
    assert renewed is not None
    assert begun <= renewed[0] <= boottime()
    assert ends.supervisor.recv() == LeaseRenewed()
    assert not ends.supervisor.poll()
    numbers = [end.fileno() for end in (ends.log, ends.events, ends.alarm)]
    assert ready(numbers, 0) == [ends.alarm.fileno()]


def test_other_deadline(ends: Ends) -> None:
    """What was to be done in any case is not put off by a renewal."""
    ends.expected = ends.expected._replace(seconds=3600.0, other_at=boottime())
    ends.script.send(WORDS)
    assert ends.wait() is not None


@pytest.mark.parametrize(
    "said",
    [WORDS[:-1], WORDS + b"n", WORDS + WORDS, WORDS.replace(b"10", b"11"), b"deconfig\0\0", b""],
    ids=["part", "more", "two", "other", "deconfig", "end"],
)
def test_anything_else(ends: Ends, said: bytes) -> None:
    """It is left for a turn, to the byte, and nobody hears of it."""
    ends.script.send(said)
    if not said:
        ends.script.close()
    assert ends.wait() is None
    assert ends.events.recv(1000) == said
    assert not ends.supervisor.poll()


def test_command_at_the_same_time(ends: Ends) -> None:
    """A turn takes both."""
    ends.script.send(WORDS)
    ends.supervisor.send("command")
    assert ends.wait() is None
    assert ends.events.recv(1000) == WORDS


def test_supervisor_gone(ends: Ends) -> None:
    """A turn finds out."""
    ends.script.send(WORDS)
    ends.supervisor.close()
    assert ends.wait() is None
    assert ends.events.recv(1000) == WORDS


def test_end_of_udhcpc(ends: Ends) -> None:
    """Its log alone wakes nobody, but the log's end does."""
    ends.udhcpc.write(b"udhcpc: received SIGTERM\n")
    ends.udhcpc.close()
    assert ends.wait() is None
    assert ends.log.read(1000) == b"udhcpc: received SIGTERM\n"


def test_nothing_expected(ends: Ends) -> None:
    """Whatever comes is a turn's."""
    ends.script.send(WORDS)
    assert await_work([ends.events.fileno()], None) is None
    assert ends.events.recv(1000) == WORDS
