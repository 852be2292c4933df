"""Who waits for an endpoint, and until when. Owns no decision: what is answered and what is overdue is told to it."""

from collections.abc import Callable

from supervisor.contract.errors import RequestError
from supervisor.contract.messages import Answer, Respond
from supervisor.domain.phases import Phase
from supervisor.runtime.loop import Loop, Timer


class PendingRequests:
    """Those who wait for each phase to end, and one deadline for the present one."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._waiting: list[tuple[Phase, Respond]] = []
        self._deadline: Timer | None = None

    def add(self, phase: Phase, respond: Respond) -> None:
        """Somebody waits for the end of `phase`."""
        self._waiting.append((phase, respond))

    def answer(self, phase: Phase, result: Answer | RequestError) -> None:
        """All who wait for it get this, once."""
        waiting, self._waiting = self._waiting, [one for one in self._waiting if one[0] is not phase]
        for respond in [respond for awaited, respond in waiting if awaited is phase]:
            respond(result)

    def arm(self, seconds: float, overdue: Callable[[], None]) -> None:
        """Calls `overdue` after so long, in place of an earlier deadline."""
        self.disarm()
        self._deadline = self._loop.call_later(seconds, overdue)

    def disarm(self) -> None:
        """Also harmless without a deadline."""
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
