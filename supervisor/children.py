"""Fork and reap. The only file that makes processes and takes their exit statuses."""

import gc
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

from supervisor.childstate import ChildEvent, ChildState, after
from supervisor.forked import End, Target, become
from supervisor.loop import Loop, Timer
from workers.backoff import Backoff
from workers.libc import adopt_orphans

OWN_DESCRIPTORS = 256  # far more than the supervisor has but for its children's

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Child:
    """A process of ours, over all its restarts. `pid` is None while none runs; `started` is a Unix time.

    `on_message` gets what the child sends over its channel, `on_exit` its exit status (negative: the signal).
    """

    name: str
    role: str
    on_message: Callable[[object], None]
    on_exit: Callable[[int], None]
    backoff: Backoff = field(default_factory=Backoff)
    state: ChildState = ChildState.STOPPED
    pid: int | None = None
    started: float | None = None
    restarts: int = -1
    channel: Connection | None = None
    pidfd: int = -1
    spawned: float = 0.0
    ends: tuple[End, ...] = ()
    retry: Timer | None = None

    def advance(self, event: ChildEvent) -> None:
        """Takes the event; raises RefusedEvent where it does not belong."""
        self.state = after(self.state, event)

    def send(self, message: object) -> None:
        """To the child. What cannot be delivered is dropped: `on_exit` is about to say why."""
        if self.channel is not None:
            try:
                self.channel.send(message)
            except OSError as error:
                log.warning("%s does not take messages: %s", self.name, error)


class Nursery:
    """All children."""

    def __init__(self, loop: Loop) -> None:
        """To be made when all that children share has been imported."""
        self._loop = loop
        self._children: dict[int, Child] = {}
        self._highest = 0  # the highest descriptor that belongs to a child; the kernel gives the lowest free one
        gc.freeze()  # supervisor.forked tells why
        adopt_orphans()

    @property
    def children(self) -> tuple[Child, ...]:
        """Those with a living process."""
        return tuple(self._children.values())

    def spawn(
        self,
        child: Child,
        target: Target,
        *arguments: object,
        channel: Connection | None = None,
        ours: tuple[End, ...] = (),
        theirs: tuple[End, ...] = (),
        keep: End | None = None,
    ) -> None:
        """Forks `child` to run `target(*arguments)`; a string is imported after the fork ("module:function").

        `channel` and `ours` are the supervisor's ends, `theirs` the child's; `keep` is one of the supervisor's
        descriptors that this one needs, too.
        """
        child.advance(ChildEvent.SPAWN)
        if child.retry is not None:
            child.retry.cancel()  # somebody could not wait for it
            child.retry = None
        child.ends = ours if channel is None else (channel, *ours)
        parent = os.getpid()
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            given = theirs if keep is None else (*theirs, keep)
            limit = self._highest + OWN_DESCRIPTORS
            become(child.name, target, arguments, parent=parent, given=given, far=child.ends, limit=limit)
        for end in theirs:
            end.close()
        child.pid, child.channel, child.spawned = pid, channel, time.monotonic()
        child.started = time.time()
        child.restarts += 1
        child.pidfd = os.pidfd_open(pid)
        self._highest = max(self._highest, child.pidfd, *(end.fileno() for end in child.ends))
        self._children[pid] = child
        self._loop.watch(child.pidfd, lambda: self._exited(child))
        if channel is not None:
            self._loop.watch(channel, lambda: self._receive(child))

    def _receive(self, child: Child) -> None:
        """Takes one message; at the end of the channel the exit status is about to follow."""
        channel = child.channel
        if channel is None:
            return
        try:
            message = channel.recv()
        except (EOFError, OSError):
            self._loop.forget(channel)
            channel.close()
            child.channel = None
            return
        if child.state is ChildState.STARTING:
            child.advance(ChildEvent.READY)
        child.on_message(message)

    def _exited(self, child: Child) -> None:
        while child.channel is not None and child.channel.poll():
            self._receive(child)  # last words first
        info = os.waitid(os.P_PIDFD, child.pidfd, os.WEXITED | os.WNOHANG)
        if info is None:
            return
        self._bury(child)
        status = info.si_status if info.si_code == os.CLD_EXITED else -info.si_status
        child.advance(ChildEvent.EXIT)
        child.on_exit(status)
        self.reap_orphans()  # its zombie may have hidden others

    def _bury(self, child: Child) -> None:
        assert child.pid is not None
        del self._children[child.pid]
        self._loop.forget(child.pidfd)
        os.close(child.pidfd)
        for end in child.ends:
            self._loop.forget(end)
            end.close()
        child.pid, child.channel, child.ends = None, None, ()

    def respawn_later(self, child: Child, spawn: Callable[[], None]) -> float:
        """Calls `spawn` after the child's backoff; gives the seconds until then."""
        delay = child.backoff.failed(time.monotonic() - child.spawned)

        def due() -> None:
            if child.state is ChildState.BACKOFF:  # not stopped meanwhile
                spawn()

        child.retry = self._loop.call_later(delay, due)
        return delay

    def stop(self, child: Child, number: signal.Signals) -> None:
        """The child is not wanted any more; `on_exit` comes when it is gone."""
        if child.state not in (ChildState.STOPPED, ChildState.STOPPING):
            child.advance(ChildEvent.STOP)
            self.kill(child, number)

    def hang_up(self, child: Child) -> None:
        """Stops a child by the end of its channel, which it takes as the supervisor's end."""
        if child.state not in (ChildState.STOPPED, ChildState.STOPPING):
            child.advance(ChildEvent.STOP)
        if child.channel is not None:
            self._loop.forget(child.channel)
            child.channel.close()
            child.channel = None

    def kill(self, child: Child, number: signal.Signals) -> None:
        """A signal by pidfd: it cannot hit a stranger that has the same pid by now."""
        if child.pid is not None:
            signal.pidfd_send_signal(child.pidfd, number)

    def reap_orphans(self) -> None:
        """Takes the statuses of processes that became our children when a child of ours died."""
        while (pid := _zombie()) is not None and pid not in self._children:
            os.waitpid(pid, 0)
            log.info("reaped orphan %d", pid)


def _zombie() -> int | None:
    """The pid of some child whose status can be taken; it is not taken yet."""
    try:
        info = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return None if info is None else info.si_pid
