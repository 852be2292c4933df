"""Starts, signals and reaps child processes. No other module of the supervisor forks or takes an exit status."""

import logging
import os
import signal
import time
from collections.abc import Callable

from supervisor.runtime.channel import Channel
from supervisor.runtime.child import Child
from supervisor.runtime.child_states import ChildEvent, ChildState
from supervisor.runtime.forked import End, Target, become
from supervisor.runtime.loop import Loop
from workers.system.libc import adopt_orphans

OWN_DESCRIPTORS = 256  # far more than the supervisor has, without those of its children
NOT_STARTED = 1  # the exit status of a child that never got a process

log = logging.getLogger(__name__)


class ProcessManager:
    """All children. For those in `_pending` the forkserver has been asked, but they have no process yet."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._children: dict[int, Child] = {}
        self._pending: list[Child] = []
        self._highest = 0  # the highest descriptor that belongs to a child; the kernel gives the lowest free one
        adopt_orphans()

    @property
    def children(self) -> tuple[Child, ...]:
        """The children that have a process, or are about to get one."""
        return (*self._children.values(), *self._pending)

    def attempt(self, child: Child, start: Callable[[], None]) -> None:
        """Calls `start`, which makes the channels of `child` and spawns it.

        If the kernel refuses any of that, for want of descriptors, memory or processes, the child counts as one that
        died at once: `on_exit` is called in the loop's next round.
        """
        try:
            start()
        except OSError as error:
            log.error("%s could not be started: %s", child.name, error)
            if child.pid is not None:  # only we have no descriptor to hear of it
                self.kill(child, signal.SIGKILL)
                return
            if child.state is not ChildState.STARTING:
                child.starts()
            self._close_ends(child)
            child.refusal = error.strerror or str(error)
            if child not in self._pending:
                self._pending.append(child)
            self._loop.call_later(0, lambda: self._refused(child))

    def _refused(self, child: Child) -> None:
        if child in self._pending and child.channel is None:
            self._give_up(child)

    def spawn(
        self,
        child: Child,
        target: Target,
        *arguments: object,
        channel: Channel | None = None,
        ours: tuple[End, ...] = (),
        theirs: tuple[End, ...] = (),
        keep: End | None = None,
    ) -> None:
        """Forks `child` to run `target(*arguments)`; a string is imported after the fork ("module:function").

        `channel` and `ours` are the supervisor's ends, `theirs` the child's; `keep` is one of the supervisor's
        descriptors that this one needs, too. Raises OSError: call it by `attempt`.
        """
        child.starts()
        child.ends = ours if channel is None else (channel, *ours)
        parent = os.getpid()
        try:
            pid = os.fork()
        except OSError:
            for end in theirs:
                end.close()
            raise
        if pid == 0:
            given = theirs if keep is None else (*theirs, keep)
            limit = self._highest + OWN_DESCRIPTORS
            become(child.name, target, arguments, parent=parent, given=given, far=child.ends, limit=limit)
        for end in theirs:
            end.close()
        child.channel = channel
        self._adopt(child, pid)

    def expect(self, child: Child, channel: Channel) -> None:
        """The forkserver forks `child`; then `forked` or `not_forked` is called. Raises OSError."""
        child.starts()
        child.channel, child.ends = channel, (channel,)
        self._wait_for_fork(child)

    def awaits(self, channel: Channel) -> bool:
        """Whether the child with this channel is still to be forked."""
        return self._pending_with(channel) is not None

    def forked(self, channel: Channel, pid: int) -> None:
        """The child with this channel has this pid. A child that is not pending any more ends when its channel closes.

        A process that has ended already may have been reaped as an orphan.
        """
        child = self._pending_with(channel)
        if child is None:
            return
        try:
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            self._give_up(child)
        else:
            try:
                self._adopt(child, pid)
            except OSError as error:
                log.error("%s could not be started: %s", child.name, error)
                self._give_up(child)
            else:
                self._pending.remove(child)

    def not_forked(self, channel: Channel) -> None:
        """The pid of the child with this channel will not be known. If it has a process, that ends with the channel."""
        child = self._pending_with(channel)
        if child is not None:
            self._give_up(child)

    def _pending_with(self, channel: Channel) -> Child | None:
        return next((child for child in self._pending if child.channel is channel), None)

    def transfer(self, source: Child, child: Child) -> None:
        """`child` gets the process of `source`; `source` does not hear of the end of the process."""
        child.starts()
        child.channel, child.ends, child.pidfd = source.channel, source.ends, source.pidfd
        if source.pid is None:
            self._pending.remove(source)
            self._wait_for_fork(child)
        else:
            self._adopt(child, source.pid)

    def _wait_for_fork(self, child: Child) -> None:
        self._pending.append(child)
        self._listen(child)

    def _adopt(self, child: Child, pid: int) -> None:
        """The child has this process from now on: its messages and its end.

        Raises OSError: a process of whose end we would not hear is killed, and reaped as an orphan.
        """
        try:
            if child.pidfd < 0:
                child.pidfd = os.pidfd_open(pid)
            self._loop.watch(child.pidfd, lambda: self._exited(child))
            self._listen(child)
        except OSError:
            os.kill(pid, signal.SIGKILL)
            if child.pidfd >= 0:
                self._loop.forget(child.pidfd)
                os.close(child.pidfd)
                child.pidfd = -1
            raise
        child.pid, child.has_run = pid, True
        self._children[pid] = child

    def _listen(self, child: Child) -> None:
        self._highest = max(self._highest, child.pidfd, *(end.fileno() for end in child.ends))
        if child.channel is not None:
            self._loop.watch(child.channel, lambda: self._on_channel(child))

    def _on_channel(self, child: Child) -> None:
        self._receive(child)  # one message: others have their turn

    def _receive(self, child: Child) -> bool:
        """Takes one message, if there is one. The exit status comes after the end of the channel."""
        channel = child.channel
        if channel is None:
            return False
        try:
            message = channel.receive()
        except BlockingIOError:
            return False
        except (EOFError, OSError):
            self._loop.forget(channel)
            channel.close()
            child.channel = None
            if child.pid is None:
                self._give_up(child)
            return False
        if child.state is ChildState.STARTING:
            child.advance(ChildEvent.READY)
        child.on_message(message)
        return True

    def _give_up(self, child: Child) -> None:
        """Gives a pending child up: it gets no process."""
        self._pending.remove(child)
        self._close_ends(child)
        child.advance(ChildEvent.EXIT)
        child.on_exit(NOT_STARTED)

    def _exited(self, child: Child) -> None:
        while self._receive(child):  # its last messages first
            pass
        info = os.waitid(os.P_PIDFD, child.pidfd, os.WEXITED | os.WNOHANG)
        if info is None:
            return
        self._forget_process(child)
        status = info.si_status if info.si_code == os.CLD_EXITED else -info.si_status
        child.advance(ChildEvent.EXIT)
        child.on_exit(status)
        self.reap_orphans()  # its zombie may have hidden others

    def _forget_process(self, child: Child) -> None:
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
        """Calls `spawn` after the child's backoff. Returns the backoff in seconds."""
        delay = child.backoff.failed(time.monotonic() - child.spawned)

        def due() -> None:
            if child.state is ChildState.BACKOFF:  # not stopped meanwhile
                spawn()

        child.retry = self._loop.call_later(delay, due)
        return delay

    def stop(self, child: Child, number: signal.Signals) -> None:
        """Ends the child for good; `on_exit` is called when it has ended."""
        if child.state not in (ChildState.STOPPED, ChildState.STOPPING):
            child.advance(ChildEvent.STOP)
            self.kill(child, number)

    def disconnect(self, child: Child) -> None:
        """Ends the child for good by closing its channel, which it takes for the end of the supervisor."""
        if child.state not in (ChildState.STOPPED, ChildState.STOPPING):
            child.advance(ChildEvent.STOP)
        if child.channel is not None:
            self._loop.forget(child.channel)
            child.channel.close()
            child.channel = None
        if child in self._pending:
            self._give_up(child)

    def kill(self, child: Child, number: signal.Signals) -> None:
        """Sends a signal by pidfd, which cannot hit another process that has the same pid by now."""
        if child.pid is not None:
            signal.pidfd_send_signal(child.pidfd, number)
        elif child in self._pending:
            self._give_up(child)  # its process ends as soon as it has no channel

    def reap_orphans(self) -> None:
        """Reaps processes that became our children when a child of ours died."""
        while (pid := _zombie()) is not None and pid not in self._children:
            os.waitpid(pid, 0)
            log.info("reaped orphan %d", pid)


def _zombie() -> int | None:
    """The pid of a child that has ended and is not reaped yet."""
    try:
        info = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return None if info is None else info.si_pid
