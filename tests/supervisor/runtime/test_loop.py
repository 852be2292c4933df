"""The place where the supervisor waits: order, cancelling, forgetting, and callbacks that fail."""

import logging
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from weakref import WeakSet

import pytest

from supervisor.runtime.loop import MIN_TIMERS, Loop, Timer


def _fail() -> None:
    raise RuntimeError("a bug of ours")


@pytest.fixture(name="ready")
def _ready() -> Iterator[list[Connection]]:
    """Three channels, each with a message to be read."""
    pairs = [Pipe() for _ in range(3)]
    for _, theirs in pairs:
        theirs.send("hello")
    yield [ours for ours, _ in pairs]
    for pair in pairs:
        for end in pair:
            end.close()


def _steps_until(loop: Loop, done: Callable[[], object]) -> None:
    while not done():
        loop.step()


def test_timers_fire_in_order() -> None:
    """Timers fire when due, by their times and not by when they were set; equal ones as they were set."""
    loop, fired = Loop(), list[str]()
    begun = time.monotonic()
    loop.call_later(0.03, lambda: fired.append("third"))
    loop.call_later(0.01, lambda: fired.append("first"))
    loop.call_later(0.02, lambda: fired.append("second"))
    _steps_until(loop, lambda: len(fired) == 3)
    assert fired == ["first", "second", "third"]
    assert time.monotonic() - begun >= 0.03


def test_a_cancelled_timer() -> None:
    """A cancelled timer does nothing, also where an earlier one of the same round cancels it."""
    loop, fired = Loop(), list[str]()
    timer = loop.call_later(0, lambda: fired.append("cancelled at once"))
    late = loop.call_later(0.002, lambda: fired.append("cancelled by its neighbour"))
    loop.call_later(0.001, late.cancel)
    timer.cancel()
    loop.call_later(0.003, lambda: fired.append("end"))
    time.sleep(0.005)  # so that all are due in one round
    _steps_until(loop, lambda: fired)
    assert fired == ["end"]


def test_nobody_wakes_for_a_cancelled_timer() -> None:
    """The wait goes on until the next one."""
    loop, fired = Loop(), list[str]()
    for seconds in (0.01, 0.02):
        loop.call_later(seconds, lambda: fired.append("cancelled")).cancel()
    loop.call_later(0.03, lambda: fired.append("end"))
    loop.step()
    assert fired == ["end"]


def test_cancelled_timers_take_no_memory() -> None:
    """Timers that are cancelled do not stay until their time comes, and the others fire in their order."""
    loop, fired = Loop(), list[int]()
    gone: WeakSet[Timer] = WeakSet()

    def cancel_one() -> None:
        timer = loop.call_later(3600, lambda: None)
        gone.add(timer)
        timer.cancel()

    for number in range(1000):
        if number % 100 == 0:
            loop.call_later(0.001 * (1000 - number), partial(fired.append, number))
        cancel_one()
    assert len(gone) <= 2 * MIN_TIMERS
    _steps_until(loop, lambda: len(fired) == 10)
    assert fired == sorted(fired, reverse=True)


def test_a_timer_fires_once() -> None:
    """What has fired does not fire again, and cancelling it then is harmless."""
    loop, fired = Loop(), list[str]()
    timer = loop.call_later(0, lambda: fired.append("once"))
    loop.step()
    timer.fire()
    timer.cancel()
    assert fired == ["once"]


def test_forgotten_during_the_round(ready: list[Connection], caplog: pytest.LogCaptureFixture) -> None:
    """A callback that forgets all sources is the only one called, though all were readable; that is no error."""
    loop, called = Loop(), list[Connection]()

    def first_wins(own: Connection) -> None:
        called.append(own)
        for source in ready:
            loop.forget(source)

    for source in ready:
        loop.watch(source, partial(first_wins, source))
    loop.call_later(0, lambda: None)
    loop.step()
    assert len(called) == 1
    assert caplog.records == []


def test_number_of_another_one_during_the_round(ready: list[Connection]) -> None:
    """A descriptor that is closed and made anew in a round does not get the event of the former one of that number: who
    reads there would wait for a message."""
    loop, calls = Loop(), list[str]()
    one, other, _ = ready
    reader, writer = made = list(os.pipe())

    def replace(source: Connection) -> None:
        calls.append("former")
        number = source.fileno()
        made.append(number)
        loop.forget(source)
        source.close()
        os.dup2(reader, number)
        loop.watch(number, lambda: calls.append("next"))
        loop.forget(one if source is other else other)

    loop.watch(one, lambda: replace(other))
    loop.watch(other, lambda: replace(one))
    loop.call_later(0, lambda: None)
    loop.step()
    assert calls == ["former"]
    os.write(writer, b"!")
    loop.step()
    assert calls == ["former", "next"]
    for number in made:
        os.close(number)


def test_a_failing_callback(ready: list[Connection], caplog: pytest.LogCaptureFixture) -> None:
    """Callbacks that raise are logged, with where they raised, and cost neither sources nor timers their turn."""
    loop, called = Loop(), list[str]()
    loop.watch(ready[0], _fail)
    loop.watch(ready[1], lambda: called.append("source"))
    loop.call_later(0, _fail)
    loop.call_later(0, lambda: called.append("timer"))
    with caplog.at_level(logging.ERROR):
        loop.step()
    assert called == ["source", "timer"]
    assert [record.exc_info is not None for record in caplog.records] == [True, True]


def test_any_kind_of_source(ready: list[Connection]) -> None:
    """Channels, sockets and bare descriptors can be watched together."""
    loop, called = Loop(), set[str]()
    left, right = socket.socketpair()
    pidfd = os.pidfd_open(os.getpid())  # not readable: we live
    read, write = os.pipe()
    with left, right, os.fdopen(read, "rb"), os.fdopen(write, "wb", buffering=0) as pipe:
        right.send(b"x")
        pipe.write(b"x")
        loop.watch(left, lambda: called.add("socket"))
        loop.watch(read, lambda: called.add("descriptor"))
        loop.watch(pidfd, lambda: called.add("pidfd"))
        loop.watch(ready[0], lambda: called.add("channel"))
        loop.step()
    os.close(pidfd)
    assert called == {"socket", "descriptor", "channel"}


def test_forgetting_the_unknown() -> None:
    """Nothing happens."""
    loop, fired = Loop(), list[str]()
    loop.forget(12345)
    loop.call_later(0, lambda: fired.append("still alive"))
    loop.step()
    assert fired == ["still alive"]


SIGNALLED = """
    import os, signal
    from supervisor.runtime.loop import Loop, Signals

    loop, signals, seen = Loop(), Signals(signal.SIGTERM, signal.SIGHUP), set()
    loop.watch(signals.reader, lambda: seen.update(signals.drain()))
    loop.call_later(0, lambda: os.kill(os.getpid(), signal.SIGHUP))
    loop.call_later(0, lambda: print("ready", flush=True))
    while signal.SIGTERM not in seen:
        loop.step()
    print(sorted(seen), signals.drain())
"""


def test_signals() -> None:
    """Signals end the wait and are all told, own and foreign ones; once told they are gone."""
    command = [sys.executable, "-c", textwrap.dedent(SIGNALLED)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=30)
    assert output == f"{[int(signal.SIGHUP), int(signal.SIGTERM)]} set()\n"
    assert process.returncode == 0
