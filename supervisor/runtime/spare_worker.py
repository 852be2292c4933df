"""The processes of workers. One is ready before an endpoint needs it.

Without that one, CreateEndpoint takes half as long again, and the plugin 1 MB less. Owns the forkserver. Must not know
endpoints.
"""

import itertools
import logging
import socket
import time
from functools import partial
from signal import SIGKILL, SIGTERM

from supervisor.runtime.channel import Channel, channel
from supervisor.runtime.child import Child
from supervisor.runtime.child_states import ChildState
from supervisor.runtime.forkserver import SPARE, forks, order, orders_pair, serve
from supervisor.runtime.loop import Loop, Timer
from supervisor.runtime.process_manager import ProcessManager
from workers.entry.sleeper import live
from workers.system.backoff import Backoff

REFILL_SECONDS = 0.25  # the start that took it is over by then as a rule; a fork would compete with that
HANG_SECONDS = 3.0  # a fork takes 1 ms; a forkserver that makes none of those that it owes for so long hangs

log = logging.getLogger(__name__)


class SpareWorker:
    """At most one process that has no endpoint yet."""

    def __init__(self, process_manager: ProcessManager, loop: Loop) -> None:
        self._process_manager = process_manager
        self._loop = loop
        self._server = Child("nd-forkserver", "forkserver", lambda _: None, self._on_server_exit)
        self._orders: socket.socket | None = None
        self._ordered: dict[int, Channel] = {}
        self._progress = 0.0  # `time.monotonic()`: the last fork, or the order that the forkserver has owed since
        self._judging: Timer | None = None
        self._numbers = itertools.count()
        self._child: Child | None = None
        self._backoff = Backoff()  # what killed one may kill the next
        self._refill: Timer | None = None
        self._stopped = False

    @property
    def children(self) -> tuple[Child, ...]:
        """The forkserver, and the spare process if there is one."""
        return (self._server,) if self._child is None else (self._server, self._child)

    def start(self) -> None:
        """Forks the forkserver. To be called before the supervisor's own memory has grown."""
        self._process_manager.attempt(self._server, self._spawn_server)

    def _spawn_server(self) -> None:
        orders, theirs = orders_pair()
        self._process_manager.spawn(self._server, serve, theirs, ours=(orders,), theirs=(theirs,))
        self._orders = orders
        self._loop.watch(orders, self._on_forks)

    def prepare(self) -> None:
        """Makes the spare process, unless there is one."""
        if self._child is None and not self._stopped:
            self._child = Child(SPARE, "spare", lambda _: None, self._on_exit)
            self._make(self._child)

    def assign(self, child: Child) -> None:
        """Gives `child` the spare process, or else a new one."""
        if self._child is None or self._child.channel is None:  # none, or one that could not be started or has died
            self._make(child)
        else:
            spare, self._child = self._child, None
            self._process_manager.transfer(spare, child)
        self._prepare_later(REFILL_SECONDS)  # starts follow each other: another fork would compete with them

    def stop(self) -> None:
        """Ends the forkserver and the spare process for good."""
        self._stopped = True
        self._process_manager.stop(self._server, SIGTERM)
        if self._child is not None:
            self._process_manager.disconnect(self._child)

    def _make(self, child: Child) -> None:
        self._process_manager.attempt(child, partial(self._order, child))

    def _order(self, child: Child) -> None:
        ours, theirs = channel()
        ends = (theirs, *socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET))
        descriptors = [end.fileno() for end in ends]
        number = next(self._numbers)
        try:
            if self._orders is None:
                raise BrokenPipeError
            order(self._orders, number, descriptors)
        except OSError:  # a worker that the supervisor forks takes more memory, which is better than none
            self._process_manager.spawn(child, live, *descriptors, channel=ours, theirs=ends)
        else:
            for end in ends:
                end.close()
            self._owe(number, ours)
            self._process_manager.expect(child, ours)

    def _owe(self, number: int, end: Channel) -> None:
        """The forkserver owes the child at the other end of this channel."""
        if not self._ordered:
            self._progress = time.monotonic()
        self._ordered[number] = end
        if self._judging is None:
            self._judge_later(HANG_SECONDS)

    def _judge_later(self, seconds: float) -> None:
        self._judging = self._loop.call_later(seconds, self._judge)

    def _judge(self) -> None:
        """Does the forkserver make progress? However many forks it owes, one that works makes the next in time."""
        self._judging = None
        owed = {number: end for number, end in self._ordered.items() if self._process_manager.awaits(end)}
        if len(owed) < len(self._ordered):  # the others died before they could say their pids, or are not wanted
            self._ordered, self._progress = owed, time.monotonic()
        if not owed:
            return
        idle = time.monotonic() - self._progress
        if idle < HANG_SECONDS:
            self._judge_later(HANG_SECONDS - idle)
        else:
            log.error("nd-forkserver has made none of %d workers in %.0f s; it is replaced", len(owed), idle)
            self._process_manager.kill(self._server, SIGKILL)

    def _on_forks(self) -> None:
        if self._orders is not None:
            for number, pid in forks(self._orders):
                self._progress = time.monotonic()
                if (end := self._ordered.pop(number, None)) is not None:
                    self._process_manager.forked(end, pid)

    def _on_exit(self, _: int) -> None:
        ran = time.monotonic() - self._child.spawned if self._child else 0.0
        self._child = None
        self._prepare_later(self._backoff.failed(ran))

    def _prepare_later(self, seconds: float) -> None:
        if self._refill is not None:
            self._refill.cancel()
        self._refill = self._loop.call_later(seconds, self.prepare)

    def _on_server_exit(self, _: int) -> None:
        self._orders = None
        ordered, self._ordered = self._ordered, {}
        for end in ordered.values():
            self._process_manager.not_forked(end)
        if self._server.state is ChildState.BACKOFF:
            self._process_manager.respawn_later(self._server, self.start)
