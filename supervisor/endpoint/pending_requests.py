"""The requests that wait for an endpoint's phase to end. Must not know what ends it, nor what an answer means."""

from supervisor.contract.errors import RequestError
from supervisor.contract.messages import Answer, Respond
from supervisor.domain.phases import Phase


class PendingRequests:
    """The pending requests of one endpoint."""

    def __init__(self) -> None:
        self._pending: list[tuple[Phase, Respond]] = []

    def add(self, phase: Phase, respond: Respond) -> None:
        """Keeps the request until the end of `phase`."""
        self._pending.append((phase, respond))

    def awaits(self, phase: Phase) -> bool:
        """Whether a request waits for the end of `phase`."""
        return any(awaited is phase for awaited, _ in self._pending)

    def answer(self, phase: Phase, result: Answer | RequestError) -> None:
        """Answers all requests that wait for the end of `phase`."""
        responds = [respond for awaited, respond in self._pending if awaited is phase]
        self._pending = [one for one in self._pending if one[0] is not phase]
        for respond in responds:
            respond(result)
