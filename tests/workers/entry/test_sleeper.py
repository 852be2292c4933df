"""A worker sleeps between its turns, in a process that stays, and ends as its turns do."""

import errno
import itertools
import os
import signal
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NoReturn

import psutil
import pytest

from tests.lab.command import wait_until
from workers.contract.client_identity import ClientIdentity
from workers.contract.lease import Family, Lease
from workers.contract.link import LinkKind, LinkSpec
from workers.contract.messages import Begin, Delete, Deleted, EndpointSpec, LeaveSandbox, Left, Resume
from workers.entry import sleeper
from workers.entry.sleeper import live
from workers.system.alarm import Alarm
from workers.system.clock import boottime

BR0 = LinkSpec(LinkKind.BRIDGE, "br0")
MAC = "02:00:00:00:00:01"
SPEC = EndpointSpec("n" * 64, "e" * 64, BR0, MAC, ClientIdentity.of_mac(MAC), 10.0)
NAME = "nd-eeeeeeeeeeee"
LEASE = Lease(IPv4Interface("192.0.2.10/24"), IPv4Address("192.0.2.1"), 600, boottime())


@dataclass
class Sleeper:
    """A worker's process and the supervisor's end of its channel."""

    pid: int
    channel: Connection

    @property
    def turns(self) -> list[psutil.Process]:
        """Its children."""
        return psutil.Process(self.pid).children()

    @property
    def descriptors(self) -> int:
        """How many it has."""
        return psutil.Process(self.pid).num_fds()

    @property
    def name(self) -> str:
        """As the kernel has it."""
        return Path(f"/proc/{self.pid}/comm").read_text().strip()

    def turn(self) -> psutil.Process:
        """The one that there is, or will be soon."""
        return wait_until(lambda: self.turns, "a turn")[0]

    def fall_asleep(self) -> None:
        """Waits until it has taken over from a turn that knew its endpoint, and there is no other."""
        wait_until(lambda: self.name == NAME and not self.turns, "the end of the turn")

    def end(self) -> int:
        """Its exit status, when it has ended."""
        _, status = os.waitpid(self.pid, 0)
        self.pid = 0
        return os.waitstatus_to_exitcode(status)


def _start() -> Sleeper:
    ours, theirs = Pipe()
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if pid == 0:
        _live(ours, theirs, near, far)
    for end in (theirs, near, far):
        end.close()
    return Sleeper(pid, ours)


def _live(ours: Connection, *theirs: Connection | socket.socket) -> NoReturn:
    status = 1
    try:
        ours.close()
        live(*(end.fileno() for end in theirs))
        status = 0
    except SystemExit as error:
        status = int(str(error.code))
    finally:
        os._exit(status)


@pytest.fixture
def start() -> Iterator[Callable[[], Sleeper]]:
    """Starts a worker; what is left of them at the end is killed."""
    started: list[Sleeper] = []

    def one() -> Sleeper:
        started.append(_start())
        return started[-1]

    yield one
    for left in started:
        left.channel.close()
        if left.pid:
            os.kill(left.pid, signal.SIGKILL)
            os.waitpid(left.pid, 0)


@pytest.fixture(autouse=True)
def _soon_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.endpoint.worker.QUIET_SECONDS", 0.05)


def test_asleep(start: Callable[[], Sleeper]) -> None:
    """Its first turn waits for what to do; when there is nothing left, one process stays, with the endpoint's name."""
    worker = start()
    turn = worker.turn()
    worker.channel.send(Begin(SPEC, Resume((LEASE,), frozenset({Family.IPV4}))))
    worker.fall_asleep()
    assert not turn.is_running()


def test_woken(start: Callable[[], Sleeper]) -> None:
    """Each command after that has a turn of its own; descriptors do not pile up, and what was told is known on."""
    worker = start()
    worker.channel.send(Begin(SPEC, Resume((LEASE,), frozenset({Family.IPV4}))))
    worker.fall_asleep()
    descriptors = worker.descriptors
    for _ in range(3):
        worker.channel.send(LeaveSandbox(keep=True))
        assert worker.channel.recv() == Left()
        worker.fall_asleep()
    wait_until(lambda: worker.descriptors <= descriptors, "no more descriptors than before")
    worker.channel.send(Delete())
    assert worker.channel.recv() == Deleted()  # as the lease was to be kept
    assert worker.end() == 0


@pytest.mark.parametrize("begun", [False, True])
def test_supervisor_gone(start: Callable[[], Sleeper], *, begun: bool) -> None:
    """The end of the channel ends it, asleep or not begun yet, and with success."""
    worker = start()
    if begun:
        worker.channel.send(Begin(SPEC, Resume((LEASE,), frozenset({Family.IPV4}))))
        worker.fall_asleep()
    worker.channel.close()
    assert worker.end() == 0


def test_turn_killed(start: Callable[[], Sleeper]) -> None:
    """It ends by the signal that ended its turn: its successor begins with what the supervisor knows."""
    worker = start()
    turn = worker.turn()
    turn.kill()
    assert worker.end() == -signal.SIGKILL


def test_turn_failed(start: Callable[[], Sleeper], monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends with the exit status of its turn."""

    def fail(*_: object) -> NoReturn:
        raise SystemExit(7)

    monkeypatch.setattr(sleeper, "begin", fail)
    worker = start()
    worker.channel.send(Begin(SPEC, Resume((LEASE,), frozenset({Family.IPV4}))))
    assert worker.end() == 7


def test_later_turn_failed(start: Callable[[], Sleeper], monkeypatch: pytest.MonkeyPatch) -> None:
    """A turn that cannot be made of what the last one left ends it, too."""
    monkeypatch.setattr(sleeper, "Worker", Alarm)
    worker = start()
    worker.channel.send(Begin(SPEC, Resume((LEASE,), frozenset({Family.IPV4}))))
    worker.fall_asleep()
    worker.channel.send(LeaveSandbox(keep=True))
    assert worker.end() == 1


def test_killed(start: Callable[[], Sleeper]) -> None:
    """No turn outlives it."""
    worker = start()
    turn = worker.turn()
    os.kill(worker.pid, signal.SIGKILL)
    assert worker.end() == -signal.SIGKILL
    wait_until(lambda: not turn.is_running(), "the turn's end")


def test_no_process_for_a_turn(start: Callable[[], Sleeper], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the kernel has no room for a turn it waits for that, and neither its udhcpc nor what was told is lost."""
    forks, fork = itertools.count(), os.fork  # the worker's own, the first turn's, and two that are refused

    def refused() -> int:
        if next(forks) in (2, 3):
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return fork()

    monkeypatch.setattr(sleeper, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(os, "fork", refused)
    worker = start()
    worker.channel.send(Begin(SPEC, Resume((LEASE,), frozenset({Family.IPV4}))))
    worker.fall_asleep()
    worker.channel.send(LeaveSandbox(keep=True))
    assert worker.channel.recv() == Left()
    worker.channel.send(Delete())
    assert worker.channel.recv() == Deleted()
    assert worker.end() == 0
