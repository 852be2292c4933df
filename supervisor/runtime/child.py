"""One child of the supervisor: its name, its state, and its channel. Makes no process."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

from supervisor.runtime.child_states import ChildEvent, ChildState, after
from supervisor.runtime.forked import End
from supervisor.runtime.loop import Timer
from workers.system.backoff import Backoff

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Child:
    """A process of ours, over all its restarts. `pid` is None while none runs; `started` is a Unix time.

    `on_message` gets what the child sends over its channel, `on_exit` its exit status (negative: the signal).
    `refusal` says why the kernel has made no process for it.
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
    refusal: str | None = None

    def advance(self, event: ChildEvent) -> None:
        """Takes the event; raises RefusedChildEvent if it does not fit the state."""
        self.state = after(self.state, event)

    def starts(self) -> None:
        """The child gets a process now, and none later."""
        self.advance(ChildEvent.SPAWN)
        self.refusal = None
        if self.retry is not None:
            self.retry.cancel()
            self.retry = None
        self.spawned, self.started = time.monotonic(), time.time()
        self.restarts += 1

    def send(self, message: object) -> None:
        """Sends to the child. Drops a message that cannot be delivered: `on_exit` is about to say why."""
        if self.channel is not None:
            try:
                self.channel.send(message)
            except OSError as error:
                log.warning("%s does not take messages: %s", self.name, error)
