"""What an endpoint waits for of the engine: Join, and then the move of its link.

Nobody tells of a start that broke off. Owns how long it is waited for.
"""

import logging
import time
from collections.abc import Callable
from pathlib import Path

from supervisor.domain.phases import Phase
from supervisor.endpoint.context import EndpointContext
from supervisor.endpoint.endpoint_state import EndpointState
from supervisor.endpoint.pending_requests import PendingRequests
from supervisor.endpoint.teardown import Ending

JOIN_SECONDS = 120.0  # from its creation to Join and the move of the link
LOOK_SECONDS = 5.0  # until it is looked again for a container that is still being started then
DOUBT_SECONDS = 1.0  # of the same, for telling whether a request can be for this container again


class NextStep:
    """One endpoint's. `look` gets the way to a sandbox that the link should have come to."""

    def __init__(
        self,
        state: EndpointState,
        ending: Ending,
        pending: PendingRequests,
        context: EndpointContext,
        look: Callable[[Path], None],
    ) -> None:
        self._state = state
        self._ending = ending
        self._pending = pending
        self._context = context
        self._look = look
        self._created = -DOUBT_SECONDS  # `time.monotonic()`; long ago for one that is found again

    @property
    def doubtful(self) -> bool:
        """Whether the engine may have forgotten it: it comes to join at once, unless its call broke."""
        return self._state.phase is Phase.CREATED and time.monotonic() - self._created > DOUBT_SECONDS

    def await_join(self) -> None:
        """It has just been created."""
        self._created = time.monotonic()
        self._pending.arm(JOIN_SECONDS, self._join_overdue)

    def await_link(self) -> None:
        """It has just been joined."""
        self._pending.arm(JOIN_SECONDS, self._link_overdue)

    def go_on(self) -> None:
        """Another instance of the plugin has begun to wait, if any has."""
        if self._state.phase is Phase.CREATED:
            self._pending.arm(self._rest(), self._join_overdue)
        elif self._state.phase is Phase.JOINING:
            self._pending.arm(self._rest(), self._link_overdue)

    def _rest(self) -> float:
        """What is left of JOIN_SECONDS, however often the plugin has been started since, by a clock that may be set.

        The lease was obtained when it was created.
        """
        since = time.time() - min((one.obtained for one in self._state.leases.values()), default=time.time())
        return JOIN_SECONDS - min(max(0.0, since), JOIN_SECONDS)

    def _join_overdue(self) -> None:
        """One that only takes long is waited for. Which of them it is cannot be told before dockerd has been found."""
        if self._context.engine.pid is None or self._context.identifier.is_starting(self._state.identity):
            self._pending.arm(LOOK_SECONDS, self._join_overdue)
        else:
            text = f"not joined within {JOIN_SECONDS:g} s, so nobody knows of it: removed"
            self._state.journal.say(text, logging.WARNING)
            self._ending.delete()

    def _link_overdue(self) -> None:
        """A start that broke after Join, with an engine that does not say so; a link still at home has no container."""
        path = self._context.engine.path(self._state.sandbox_key or "")
        if path is None or self._context.identifier.is_starting(self._state.identity):
            self._pending.arm(LOOK_SECONDS, self._link_overdue)
        else:
            self._pending.arm(JOIN_SECONDS, self._link_overdue)
            self._look(path)
