"""A question to a process of its own: its answer, its silence, its end."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection

import pytest

from supervisor.runtime.jobs import Jobs
from tests.lab.command import SLACK_SECONDS
from tests.supervisor.children import PATIENCE_SECONDS, Home, descriptors


@pytest.fixture(name="home")
def _home() -> Iterator[Home]:
    home = Home()
    yield home
    home.close()


def _pid(word: str, channel: Connection) -> None:
    channel.send((word, os.getpid()))


def _nothing(_: str, channel: Connection) -> None:
    channel.close()


def _answer_and_fail(word: str, channel: Connection) -> None:
    channel.send(word)
    sys.exit(3)


def _raise(_: str, __: Connection) -> None:
    raise RuntimeError("a bug of ours")


def _hang(_: str, channel: Connection) -> None:
    channel.poll(None)


def _asked(home: Home, target: Callable[..., None], deadline: float = PATIENCE_SECONDS) -> object | None:
    answers: list[object | None] = []
    Jobs(home.process_manager, home.loop).ask("nd-ask", target, "hello", deadline=deadline, answer=answers.append)
    home.wait_for(lambda: answers)
    home.wait_for(lambda: not home.process_manager.children)
    assert len(answers) == 1
    return answers[0]


def test_an_answer(home: Home) -> None:
    """The job's message is the answer, and comes from another process."""
    answer = _asked(home, _pid)
    assert isinstance(answer, tuple)
    assert answer[0] == "hello"
    assert answer[1] != os.getpid()


@pytest.mark.parametrize("target", [_nothing, _raise])
def test_no_answer(home: Home, target: Callable[..., None]) -> None:
    """A job that ends in silence has the answer None, however it ended."""
    assert _asked(home, target) is None


def test_an_answer_before_a_failure(home: Home) -> None:
    """What was said counts, also where the job failed afterwards."""
    assert _asked(home, _answer_and_fail) == "hello"


def test_deadline(home: Home) -> None:
    """A job that hangs is killed at its deadline; the answer is None."""
    begun = time.monotonic()
    assert _asked(home, _hang, deadline=0.05) is None
    assert 0.05 <= time.monotonic() - begun < SLACK_SECONDS


def test_nothing_is_left(home: Home) -> None:
    """Jobs take no descriptor with them, and their deadlines do nothing once they have answered."""
    before = descriptors()
    for _ in range(10):
        _asked(home, _pid, deadline=0.2)
    due: list[bool] = []
    home.loop.call_later(0.25, lambda: due.append(True))
    home.wait_for(lambda: due)
    assert descriptors() == before
