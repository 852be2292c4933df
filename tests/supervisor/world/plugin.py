"""The plugin on the played host: the real supervisor, whose clock, processes, engine and disk are played.

It may be killed at any time, also right behind a commit in the middle of what it does.
"""

import heapq
import itertools
import secrets
import socket
import sqlite3
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from supervisor import core
from supervisor.contract.errors import RequestError
from supervisor.contract.messages import Answer, EngineRequest, GetCapabilities, Request
from supervisor.core import Supervisor
from supervisor.driver import parents
from supervisor.driver.parents import Parents
from supervisor.engine import facts, identity
from supervisor.engine.facts import Engine
from supervisor.ops.tcp import TcpSetting
from supervisor.runtime.child import Child
from supervisor.runtime.loop import Callback, Loop, Timer
from supervisor.runtime.process_manager import ProcessManager
from supervisor.state.store import Store
from tests.supervisor.world.dockerd import Dockerd, Files, Result, Undelivered
from tests.supervisor.world.host import Host
from tests.supervisor.world.processes import PlayedProcesses
from workers.link.parent_watch import ParentState

DIAL_SECONDS = 7.0  # in which a plugin that comes back still gets a request that could not be delivered
Respond = Callable[[Result], None]


class Killed(BaseException):
    """The plugin was killed in the middle of a callback. No handler of its own is to catch it."""


class PlayedLoop(Loop):
    """Timers by the played clock. `between` lets the host go on whenever the supervisor waits within a callback."""

    def __init__(self, host: Host, between: Callback, die_if_doomed: Callback) -> None:
        self._host = host
        self._between = between
        self._die_if_doomed = die_if_doomed
        self._heap: list[tuple[float, int, Timer]] = []
        self._row = itertools.count()

    def watch(self, source: object, callback: Callback) -> None:
        """Nothing is read here."""

    def forget(self, source: object) -> None:
        """The same."""

    def call_later(self, seconds: float, callback: Callback) -> Timer:
        """By the played clock."""
        timer = Timer(callback)
        heapq.heappush(self._heap, (self._host.clock.now + seconds, next(self._row), timer))
        return timer

    def step(self) -> None:
        """The supervisor waits."""
        self._between()
        self._die_if_doomed()

    @property
    def next_at(self) -> float | None:
        """When the next timer is due."""
        while self._heap and self._heap[0][2].is_idle:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def pop_due(self) -> Timer | None:
        """A timer whose time has come."""
        at = self.next_at
        return heapq.heappop(self._heap)[2] if at is not None and at <= self._host.clock.now else None

    @property
    def timers(self) -> int:
        """How many there are."""
        return sum(not timer.is_idle for _, _, timer in self._heap)


class NoSignals:
    """The test's own process keeps its handlers."""

    def __init__(self, *_: object) -> None:
        self.reader = None

    def drain(self) -> set[int]:
        """None came."""
        return set()


class PlayedApi:
    """The test asks the supervisor itself."""

    def __init__(self, *_: object) -> None:
        self.child = Child("nd-api", "api", lambda _: None, lambda _: None)

    def start(self) -> None:
        """Nothing to start."""

    def stop(self) -> None:
        """Nothing to stop."""


class PlayedSpare:
    """Each worker is made when it is needed."""

    children = ()

    def __init__(self, processes: PlayedProcesses, _: Loop) -> None:
        self._processes = processes

    def start(self) -> None:
        """There is no forkserver."""

    prepare = stop = start

    def assign(self, child: Child) -> None:
        """A new one."""
        self._processes.attempt(child, lambda: self._processes.add_worker(child))


class NoParents:
    """The bridge is always there."""

    def __init__(self) -> None:
        pass

    def state(self, _name: str) -> ParentState:
        """Up, with a carrier."""
        return ParentState(1, up=True, running=True, mtu=1500)

    def listen(self, *_: object, **__: object) -> None:
        """Nothing changes."""


@dataclass
class Disk:
    """`dies_after`: the plugin is killed right behind so many further commits."""

    full: bool = False
    dies_after: int | None = None


class Plugin:
    """At most one instance at a time. `between` is called while an instance waits at its start or its end."""

    def __init__(
        self, host: Host, state: Path, version: int, between: Callback, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self._host = host
        self._state = state
        self._between = between
        self._undelivered: deque[tuple[float, EngineRequest | GetCapabilities, Respond]] = deque()
        self._unanswered: dict[Respond, float] = {}  # since when
        self._numbers = itertools.count()
        self.disk = Disk()
        self.supervisor: Supervisor | None = None
        self.is_ready = False
        self._is_doomed = False  # killed while it starts: it ends as soon as it waits
        self.forgets = False  # it was killed with a state that was not on disk
        self.dockerd = Dockerd(host, version, self.ask)
        self._install(monkeypatch, version)

    def _install(self, monkeypatch: pytest.MonkeyPatch, version: int) -> None:
        dockerd, host = self.dockerd, self._host
        host.clock.install(monkeypatch)
        random = itertools.count(1)
        monkeypatch.setattr(secrets, "token_bytes", lambda size: next(random).to_bytes(size))
        monkeypatch.setattr(secrets, "token_hex", lambda size: next(random).to_bytes(size).hex())
        for name, played in (
            ("Loop", lambda: PlayedLoop(host, self._between, self._die_if_doomed)),
            ("Signals", NoSignals),
            ("ProcessManager", lambda loop: PlayedProcesses(loop, host, dockerd, self.run)),
            ("SpareWorker", PlayedSpare),
            ("HttpService", PlayedApi),
        ):
            monkeypatch.setattr(core, name, played)
        monkeypatch.setattr(parents, "ParentWatch", NoParents)
        monkeypatch.setattr(Parents, "_examine", lambda *_: None)
        monkeypatch.setattr(facts, "_program_file", lambda _: f"dockerd {version}")
        monkeypatch.setattr(facts, "resolve", lambda root, seen: Path(f"{root}{seen}"))
        monkeypatch.setattr(Engine, "is_there", property(lambda engine: dockerd.is_up and engine.pid == dockerd.pid))
        monkeypatch.setattr(identity, "MountedRoots", lambda engine: Files(dockerd, engine))
        monkeypatch.setattr(identity, "NetworkStore", lambda engine: Files(dockerd, engine))
        monkeypatch.setattr(identity, "_beginning", lambda _: dockerd.began)
        monkeypatch.setattr(identity, "_lives", lambda one: dockerd.containers[one.identity.id].lives)
        for name in ("_carry_out", "_open"):
            monkeypatch.setattr(Store, name, self._on_disk(getattr(Store, name), commits=name == "_carry_out"))

    def _on_disk(self, method: Callable[..., Any], *, commits: bool) -> Callable[..., Any]:
        def called(store: Store, *arguments: object) -> object:
            if self.disk.full:
                raise sqlite3.OperationalError("database or disk is full")
            result = method(store, *arguments)
            if commits and self.disk.dies_after is not None:
                self.disk.dies_after -= 1
                if self.disk.dies_after <= 0:
                    self.disk.dies_after = None
                    raise Killed
            return result

        return called

    # Its life.

    @property
    def processes(self) -> PlayedProcesses:
        """Those of the present instance."""
        assert self.supervisor is not None
        manager: ProcessManager = self.supervisor._process_manager
        assert isinstance(manager, PlayedProcesses)
        return manager

    @property
    def loop(self) -> PlayedLoop:
        """That of the present instance."""
        assert self.supervisor is not None
        loop = self.supervisor._loop
        assert isinstance(loop, PlayedLoop)
        return loop

    def run(self, callback: Callable[..., object], *arguments: object) -> None:
        """Calls the supervisor. It may be killed meanwhile, and then the rest does not happen."""
        if self._is_doomed:
            return
        try:
            callback(*arguments)
        except Killed:
            if self.is_ready:
                self.die()
            else:
                self._is_doomed = True

    def _die_if_doomed(self) -> None:
        if self._is_doomed:
            raise Killed

    def start(self) -> None:
        """Returns when requests are handled, or it was killed before that."""
        with socket.socket(socket.AF_UNIX) as listener:
            self.supervisor = Supervisor(listener, "/nowhere/docker.sock", self._state, TcpSetting())
        self.dockerd.plugin_started()
        undelivered, self._undelivered = self._undelivered, deque()
        try:
            for _, body, respond in undelivered:
                self.ask(body, respond)
            self.supervisor._start()
        except Killed:
            self.die()
        else:
            self.is_ready = True

    def stop(self) -> None:
        """SIGTERM."""
        assert self.supervisor is not None
        supervisor = self.supervisor
        self.run(supervisor._stop)
        while self.supervisor is supervisor and self.processes.children:
            self._between()
        if self.supervisor is supervisor:
            self.run(supervisor._store.settle)
        if self.supervisor is supervisor:
            self.die()

    def die(self) -> None:
        """SIGKILL, to all its processes."""
        assert self.supervisor is not None
        store = self.supervisor._store
        self.forgets = self.forgets or store.problem is not None
        if store._database is not None:
            store._database.close()
        self.processes.alive.clear()
        self.supervisor, self.is_ready, self._is_doomed = None, False, False
        unanswered, self._unanswered = self._unanswered, {}
        for respond in unanswered:
            respond(Undelivered("EOF"))

    # What comes to it.

    def ask(self, body: EngineRequest | GetCapabilities, respond: Respond) -> None:
        """A request of the engine's. While no instance runs, the engine tries again for a while."""
        if self.supervisor is None:
            self._undelivered.append((self._host.clock.now, body, respond))
            return
        self._unanswered[respond] = self._host.clock.now

        def answered(result: Answer | RequestError) -> None:
            if self._unanswered.pop(respond, None) is not None:
                respond(result)

        self.run(self.supervisor._on_api_request, Request(next(self._numbers), body), answered)

    @property
    def next_at(self) -> float | None:
        """When the next timer of the present instance is due."""
        return self.loop.next_at if self.supervisor is not None else None

    @property
    def longest_wait(self) -> float:
        """For how long a request has waited for its answer."""
        return max((self._host.clock.now - since for since in self._unanswered.values()), default=0.0)

    def give_up_dialling(self) -> None:
        """The engine has tried for long enough to reach a plugin that does not run."""
        while self._undelivered and self._host.clock.now - self._undelivered[0][0] > DIAL_SECONDS:
            _, _, respond = self._undelivered.popleft()
            respond(Undelivered("the plugin does not run"))

    def fire(self) -> bool:
        """One timer, if one is due."""
        timer = self.loop.pop_due() if self.supervisor is not None else None
        if timer is None:
            return False
        self.run(timer.fire)
        return True
