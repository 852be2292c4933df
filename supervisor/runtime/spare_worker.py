"""Workers' processes: one is there before an endpoint needs it, as a start would wait some milliseconds for its forks.

Owns the forkserver. Must not know endpoints.
"""

import itertools
import socket
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from signal import SIGTERM

from supervisor.runtime.child import Child
from supervisor.runtime.child_states import ChildState
from supervisor.runtime.forkserver import SPARE, births, order, serve
from supervisor.runtime.loop import Loop, Timer
from supervisor.runtime.process_manager import ProcessManager
from workers.entry.sleeper import live

REFILL_SECONDS = 0.25  # by then the start that took it is over as a rule; to fork would compete with that

RETRY_SECONDS = 1.0  # whatever killed one may kill the next


class Spare:
    """One worker at most that has not been told anything yet."""

    def __init__(self, process_manager: ProcessManager, loop: Loop) -> None:
        self._process_manager = process_manager
        self._loop = loop
        self._server = Child("nd-forkserver", "forkserver", lambda _: None, self._on_server_exit)
        self._orders: socket.socket | None = None
        self._ordered: dict[int, Connection] = {}
        self._numbers = itertools.count()
        self._child: Child | None = None
        self._refill: Timer | None = None
        self._stopped = False

    @property
    def children(self) -> tuple[Child, ...]:
        """The forkserver, and the worker if there is one."""
        return (self._server,) if self._child is None else (self._server, self._child)

    def start(self) -> None:
        """To be called before the supervisor has done anything."""
        self._orders, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._process_manager.spawn(self._server, serve, theirs, ours=(self._orders,), theirs=(theirs,))
        self._loop.watch(self._orders, self._on_births)

    def prepare(self) -> None:
        """Makes one, unless there is one."""
        if self._child is None and not self._stopped:
            self._child = Child(SPARE, "spare", lambda _: None, self._on_exit)
            self._make(self._child)

    def assign(self, child: Child) -> None:
        """`child` has a worker's process from now on: the one that there is, or else a new one."""
        if self._child is None:
            self._make(child)
        else:
            spare, self._child = self._child, None
            self._process_manager.hand_over(spare, child)
        if self._refill is not None:
            self._refill.cancel()  # a start follows the other: the next one would compete with both
        self._refill = self._loop.call_later(REFILL_SECONDS, self.prepare)

    def stop(self) -> None:
        """There is none any more, and none will be made."""
        self._stopped = True
        self._process_manager.stop(self._server, SIGTERM)
        if self._child is not None:
            self._process_manager.disconnect(self._child)

    def _make(self, child: Child) -> None:
        ours, theirs = Pipe()
        ends = (theirs, *socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET))
        descriptors = [end.fileno() for end in ends]
        number = next(self._numbers)
        try:
            if self._orders is None:
                raise BrokenPipeError
            order(self._orders, number, descriptors)
        except OSError:  # a worker that takes more memory is better than none
            self._process_manager.spawn(child, live, *descriptors, channel=ours, theirs=ends)
        else:
            for end in ends:
                end.close()
            self._ordered[number] = ours
            self._process_manager.expect(child, ours)

    def _on_births(self) -> None:
        if self._orders is not None:
            for number, pid in births(self._orders):
                self._process_manager.born(self._ordered.pop(number), pid)

    def _on_exit(self, _: int) -> None:
        self._child = None
        self._loop.call_later(RETRY_SECONDS, self.prepare)

    def _on_server_exit(self, _: int) -> None:
        self._orders = None
        ordered, self._ordered = self._ordered, {}
        for channel in ordered.values():
            self._process_manager.lost(channel)
        if self._server.state is ChildState.BACKOFF:
            self._process_manager.respawn_later(self._server, self.start)
