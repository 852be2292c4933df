"""Workers are there before they are needed, are the supervisor's own children, and come without the forkserver, too."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from supervisor.runtime import spare_worker
from supervisor.runtime.child import Child
from supervisor.runtime.loop import Timer
from supervisor.runtime.process_manager import NOT_STARTED
from supervisor.runtime.spare_worker import HANG_SECONDS, REFILL_SECONDS, SpareWorker
from tests.lab.command import wait_until
from tests.supervisor.children import Home, descriptors
from workers.contract.client_identity import ClientIdentity
from workers.contract.link import LinkKind, LinkSpec
from workers.contract.messages import Begin, Delete, Deleted, EndpointSpec

ORDERS = 300
NO_BRIDGE = LinkSpec(LinkKind.BRIDGE, "no-bridge")
MAC = "02:00:00:00:00:01"
RECLAIM = Begin(EndpointSpec("n" * 64, "e" * 64, NO_BRIDGE, MAC, ClientIdentity.of_mac(MAC), 0.1), reclaims=True)


@pytest.fixture(name="home")
def _home() -> Iterator[Home]:
    home = Home()
    yield home
    home.close()


@pytest.fixture(name="spare")
def _spare(home: Home) -> Iterator[SpareWorker]:
    spare = SpareWorker(home.process_manager, home.loop)
    spare.start()
    yield spare
    spare.stop()


def _is_ours(child: Child) -> bool:
    return child.pid is not None and psutil.Process(child.pid).ppid() == os.getpid()


def _living() -> set[psutil.Process]:
    """Our children that have not ended. A turn whose worker was killed is one, until it has ended as well."""
    return {child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE}


def _prepared(home: Home, spare: SpareWorker) -> Child:
    """The worker that waits."""
    spare.prepare()
    _, child = spare.children
    home.wait_for(lambda: child.pid)
    return child


def _sockets(process: Path) -> list[str]:
    """The numbers of its descriptors that are sockets."""
    found = []
    for file in (process / "fd").iterdir():
        with suppress(FileNotFoundError):  # it has been closed meanwhile
            found += [file.name] if str(file.readlink()).startswith("socket:") else []
    return found


def _kill_server(home: Home, spare: SpareWorker) -> None:
    server = spare.children[0]
    home.process_manager.kill(server, signal.SIGKILL)
    home.wait_for(lambda: server.pid is None)


def _work(home: Home, spare: SpareWorker) -> Child:
    """An endpoint's child that has got a process and has done with it what it was told."""
    child, diary = home.child()
    spare.assign(child)
    child.send(RECLAIM)
    child.send(Delete())
    home.wait_for(lambda: len(diary.entries) == 2)
    assert diary.entries == [Deleted(), ("exit", 0)]
    return child


def test_prepared(home: Home, spare: SpareWorker) -> None:
    """It is our child although another process has forked it, and is handed over as it is."""
    waiting = _prepared(home, spare)
    assert _is_ours(waiting)
    pid = waiting.pid
    child, _ = home.child()
    spare.assign(child)
    assert (child.pid, child.state, child.restarts) == (pid, "starting", 0)
    home.wait_for(lambda: len(spare.children) == 2)  # there is another one soon


def test_no_descriptor_is_inherited(home: Home, spare: SpareWorker) -> None:
    """A udhcpc has none of the worker's sockets; it would keep the worker from seeing that a turn has died."""
    directory = Path(f"/proc/{_prepared(home, spare).pid}")
    wait_until(lambda: len(_sockets(directory)) == 2, "the channel and the sleeper's end only")
    flags = [int((directory / "fdinfo" / number).read_text().split()[3], 8) for number in _sockets(directory)]
    assert all(flag & os.O_CLOEXEC for flag in flags)


def test_one_start_after_the_other(home: Home, spare: SpareWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next one is made a while after the last start, not after each."""
    timers: list[Timer] = []

    def call_later(seconds: float, callback: Callable[[], None]) -> Timer:
        timer = Timer(callback)
        if seconds == REFILL_SECONDS:
            timers.append(timer)
        return timer

    monkeypatch.setattr(home.loop, "call_later", call_later)
    for _ in range(2):
        spare.assign(home.child()[0])
    first, last = timers
    first.fire()
    assert len(spare.children) == 1
    last.fire()
    assert len(spare.children) == 2


def test_works(home: Home, spare: SpareWorker) -> None:
    """It does what the endpoint tells it, and its exit is the endpoint's child's; the next one, too."""
    _prepared(home, spare)
    _work(home, spare)
    _work(home, spare)


def test_employed_before_its_birth(home: Home, spare: SpareWorker) -> None:
    """What it is told meanwhile waits for it."""
    spare.prepare()
    assert spare.children[1].pid is None
    _work(home, spare)


def test_spare_killed(home: Home, spare: SpareWorker) -> None:
    """An endpoint gets another one then."""
    waiting = _prepared(home, spare)
    home.process_manager.kill(waiting, signal.SIGKILL)
    home.wait_for(lambda: len(spare.children) == 1)
    _work(home, spare)


def test_forkserver_killed(home: Home, spare: SpareWorker) -> None:
    """The supervisor forks workers itself until there is another forkserver."""
    _kill_server(home, spare)
    child, _ = home.child()
    spare.assign(child)
    assert _is_ours(child)
    home.wait_for(lambda: spare.children[0].pid)
    _work(home, spare)


def test_lost_order(home: Home, spare: SpareWorker) -> None:
    """A worker that a killed forkserver has not made is told of as one that has ended."""
    server = spare.children[0]
    home.process_manager.kill(server, signal.SIGSTOP)
    child, diary = home.child()
    spare.assign(child)
    home.process_manager.kill(server, signal.SIGKILL)
    home.wait_for(lambda: diary.entries)
    assert diary.entries == [("exit", NOT_STARTED)]
    assert child.state == "backoff"


def test_forkserver_stopped(home: Home, spare: SpareWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A forkserver that makes none of the workers that it owes is replaced."""
    monkeypatch.setattr(spare_worker, "HANG_SECONDS", 0.2)
    server = spare.children[0]
    first = server.pid
    home.process_manager.kill(server, signal.SIGSTOP)
    child, diary = home.child()
    spare.assign(child)
    home.wait_for(lambda: diary.entries)
    assert diary.entries == [("exit", NOT_STARTED)]
    assert not child.has_run
    home.wait_for(lambda: server.pid not in (None, first))
    _work(home, spare)


def test_forkserver_at_work(home: Home, spare: SpareWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that has paid all its debts is left alone, however long it has nothing to do."""
    monkeypatch.setattr(spare_worker, "HANG_SECONDS", 0.2)
    server = spare.children[0]
    pid = server.pid
    _prepared(home, spare)
    judged: list[bool] = []
    home.loop.call_later(0.5, lambda: judged.append(True))
    home.wait_for(lambda: judged)
    assert server.pid == pid


def test_orders_of_a_whole_host(home: Home, spare: SpareWorker) -> None:
    """A forkserver that was stopped takes no order, which costs the supervisor nothing, and catches up afterwards."""
    server = spare.children[0]
    home.process_manager.kill(server, signal.SIGSTOP)
    children = [home.child()[0] for _ in range(ORDERS)]
    began = time.monotonic()
    for child in children:
        spare.assign(child)
    assert time.monotonic() - began < HANG_SECONDS
    assert [child.pid for child in children] == [None] * ORDERS
    home.process_manager.kill(server, signal.SIGCONT)
    home.wait_for(lambda: all(child.pid for child in children))


def test_born_unheard(home: Home, spare: SpareWorker) -> None:
    """A worker of which the forkserver's death leaves no word is lost although it lives, and ends with its channel."""
    child, diary = home.child()
    others = _living()
    spare.assign(child)
    assert child.channel is not None
    (worker,) = wait_until(lambda: _living() - others, "the worker")
    home.process_manager.not_forked(child.channel)
    assert diary.entries == [("exit", NOT_STARTED)]
    _, status = os.waitpid(worker.pid, 0)
    assert status == 0


@pytest.mark.parametrize("how", ["killed", "hung up"])
def test_not_wanted_before_its_birth(home: Home, spare: SpareWorker, how: str) -> None:
    """It counts as gone at once, and ends by itself when it is born."""
    server = spare.children[0]
    home.process_manager.kill(server, signal.SIGSTOP)
    child, diary = home.child()
    spare.assign(child)
    assert child in home.process_manager.children
    if how == "killed":
        home.process_manager.kill(child, signal.SIGKILL)
    else:
        home.process_manager.disconnect(child)
    assert child not in home.process_manager.children
    assert diary.entries == [("exit", NOT_STARTED)]
    home.process_manager.kill(server, signal.SIGCONT)
    assert isinstance(_work(home, spare), Child)


def test_stopped(home: Home) -> None:
    """Nothing is left, not even a descriptor."""
    before = descriptors()
    spare = SpareWorker(home.process_manager, home.loop)
    spare.start()
    _prepared(home, spare)
    spare.stop()
    home.wait_for(lambda: not home.process_manager.children)
    spare.prepare()
    assert not home.process_manager.children
    assert descriptors() == before
