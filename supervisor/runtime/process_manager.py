"""Fork and reap. The only file that makes processes and takes their exit statuses."""

import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection

from supervisor.runtime.child import Child
from supervisor.runtime.child_states import ChildEvent, ChildState
from supervisor.runtime.forked import End, Target, become
from supervisor.runtime.loop import Loop
from workers.system.libc import adopt_orphans

OWN_DESCRIPTORS = 256  # far more than the supervisor has but for its children's
NEVER_BORN = 1  # for an exit status

log = logging.getLogger(__name__)


class ProcessManager:
    """All children."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._children: dict[int, Child] = {}
        self._expected_children: list[Child] = []
        self._highest = 0  # the highest descriptor that belongs to a child; the kernel gives the lowest free one
        adopt_orphans()

    @property
    def children(self) -> tuple[Child, ...]:
        """Those with a living process, or one that is on its way."""
        return (*self._children.values(), *self._expected_children)

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
        child.starts()
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
        child.channel = channel
        self._adopt(child, pid)

    def expect(self, child: Child, channel: Connection) -> None:
        """`child` is being forked by another process and will be ours; `born` is to be called then."""
        child.starts()
        child.channel, child.ends = channel, (channel,)
        self._await_birth(child)

    def born(self, channel: Connection, pid: int) -> None:
        """Whoever is expected with this channel has this pid; one that is not expected any more ends by itself.

        It may have ended already, and have been taken for an orphan.
        """
        child = self._expected(channel)
        if child is None:
            return
        try:
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            self._lose(child)
        else:
            self._expected_children.remove(child)
            self._adopt(child, pid)

    def lost(self, channel: Connection) -> None:
        """Nobody will say that whoever is expected with this channel is born; if it is, it ends with its channel."""
        child = self._expected(channel)
        if child is not None:
            self._lose(child)

    def _expected(self, channel: Connection) -> Child | None:
        return next((child for child in self._expected_children if child.channel is channel), None)

    def hand_over(self, other: Child, child: Child) -> None:
        """`child` takes the process of `other`, which has none any more and is not told of its end."""
        child.starts()
        child.channel, child.ends, child.pidfd = other.channel, other.ends, other.pidfd
        if other.pid is None:
            self._expected_children.remove(other)
            self._await_birth(child)
        else:
            self._adopt(child, other.pid)

    def _await_birth(self, child: Child) -> None:
        self._expected_children.append(child)
        self._listen(child)

    def _adopt(self, child: Child, pid: int) -> None:
        """What comes from this process is the child's from now on."""
        child.pid = pid
        if child.pidfd < 0:
            child.pidfd = os.pidfd_open(pid)
        self._children[pid] = child
        self._loop.watch(child.pidfd, lambda: self._exited(child))
        self._listen(child)

    def _listen(self, child: Child) -> None:
        self._highest = max(self._highest, child.pidfd, *(end.fileno() for end in child.ends))
        if child.channel is not None:
            self._loop.watch(child.channel, lambda: self._receive(child))

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
            if child.pid is None:
                self._lose(child)
            return
        if child.state is ChildState.STARTING:
            child.advance(ChildEvent.READY)
        child.on_message(message)

    def _lose(self, child: Child) -> None:
        """There will be no process."""
        self._expected_children.remove(child)
        self._close_ends(child)
        child.advance(ChildEvent.EXIT)
        child.on_exit(NEVER_BORN)

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
        child.pid, child.pidfd = None, -1
        self._close_ends(child)

    def _close_ends(self, child: Child) -> None:
        for end in child.ends:
            self._loop.forget(end)
            end.close()
        child.channel, child.ends = None, ()

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

    def disconnect(self, child: Child) -> None:
        """Stops a child by the end of its channel, which it takes as the supervisor's end."""
        if child.state not in (ChildState.STOPPED, ChildState.STOPPING):
            child.advance(ChildEvent.STOP)
        if child.channel is not None:
            self._loop.forget(child.channel)
            child.channel.close()
            child.channel = None
        if child in self._expected_children:
            self._lose(child)

    def kill(self, child: Child, number: signal.Signals) -> None:
        """A signal by pidfd: it cannot hit a stranger that has the same pid by now."""
        if child.pid is not None:
            signal.pidfd_send_signal(child.pidfd, number)
        elif child in self._expected_children:
            self._lose(child)  # it ends as soon as it has no channel

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
