"""One child of the supervisor: its name, its state, and its channel. Makes no process."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from signal import SIGKILL, pidfd_send_signal

from supervisor.runtime.channel import Channel
from supervisor.runtime.child_states import ChildEvent, ChildState, after
from supervisor.runtime.forked import End
from supervisor.runtime.loop import Timer
from workers.system.backoff import Backoff

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Child:
    """A process of ours, over all its restarts. `pid` is None while none runs; `started` is a Unix time.

    `on_message` gets what the child sends over its channel, `on_exit` its exit status (negative: the signal).
    `has_run` says whether it has got a process since its last start, `refusal` why the kernel has made none for it.
    """

    name: str
    role: str
    on_message: Callable[[object], None]
    on_exit: Callable[[int], None]
    backoff: Backoff = field(default_factory=Backoff)
    state: ChildState = ChildState.STOPPED
    pid: int | None = None
    has_run: bool = False
    started: float | None = None
    restarts: int = -1
    channel: Channel | None = None
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
        self.has_run = False
        if self.retry is not None:
            self.retry.cancel()
            self.retry = None
        self.spawned, self.started = time.monotonic(), time.time()
        self.restarts += 1

    def send(self, message: object) -> None:
        """Sends to the child. Drops a message that cannot be delivered: `on_exit` is about to say why.

        A child that has left a whole buffer of messages unread hangs, or was stopped: it is killed.
        """
        if self.channel is None:
            return
        try:
            self.channel.send(message)
        except BlockingIOError:
            log.error("%s reads no messages any more; it is killed", self.name)
            if self.pidfd >= 0:
                pidfd_send_signal(self.pidfd, SIGKILL)
        except OSError as error:
            log.warning("%s does not take messages: %s", self.name, error)
