"""How an endpoint ends: it could not be made, the engine's Leave and Delete, or a sandbox that goes without them.

Owns whether the lease is given back then, or waits for its container. Must not know how an endpoint comes to be.
"""

import logging

from supervisor.contract.errors import Failed
from supervisor.contract.messages import Done, Respond
from supervisor.domain.phases import EndpointEvent, Phase
from supervisor.endpoint.context import EndpointContext
from supervisor.endpoint.endpoint_state import EndpointState
from supervisor.endpoint.pending_requests import PendingRequests
from supervisor.endpoint.worker_process import WorkerProcess
from workers.contract import messages as w
from workers.contract.lease import Family, Lease

GONE_SECONDS = 5.0  # in which Leave comes for a sandbox that ends in order
LEAVE_SECONDS = 4.0  # release (2 s), udhcpc's end (1 s)
DELETE_SECONDS = 6.0  # release from the host's side (2 s), udhcpc's end, a link made again and removed
END_SECONDS = 2.0  # a worker's, from its last word: it has a link to remove


class Ending:
    """One endpoint's, over several workers if need be."""

    def __init__(
        self, state: EndpointState, worker: WorkerProcess, pending: PendingRequests, context: EndpointContext
    ) -> None:
        self._state = state
        self._worker = worker
        self._pending = pending
        self._context = context
        self._keep = False

    def leave(self, respond: Respond) -> None:
        """Releases the lease from inside the sandbox before the answer."""
        if self._state.has_sandbox:
            self._state.take(EndpointEvent.LEAVE)
            self._pending.arm(LEAVE_SECONDS, self._leave_overdue)
            self._keep = self._is_to_wait()
            self._worker.tell(w.LeaveSandbox(self._keep))
        if self._state.phase is Phase.LEAVING:
            self._pending.add(Phase.LEAVING, respond)
        else:
            respond(Done())

    def left(self, released: frozenset[Family]) -> None:
        """The worker has left the sandbox."""
        if self._state.phase is Phase.LEAVING:
            self._state.take(EndpointEvent.LEFT)
            self._state.take_left(released, self._keep)
        self._pending.answer(Phase.LEAVING, Done())

    def delete(self, respond: Respond | None = None) -> None:
        """Removes the link, and releases a lease that is still held."""
        if respond is not None:
            self._pending.add(Phase.DELETING, respond)
        if self._state.phase is not Phase.DELETING:
            self.undo("the endpoint was deleted while it was being made")
            self._pending.answer(Phase.LEAVING, Done())
            self._worker.tell(w.Delete())

    def undo(self, reason: str) -> None:
        """From now on it is being deleted; whoever waits for its creation is told the reason."""
        self._state.take(EndpointEvent.DELETE)
        self._pending.answer(Phase.CREATING, Failed(reason))
        self._pending.arm(DELETE_SECONDS, self._delete_overdue)

    def deleted(self, unreleased: frozenset[Family]) -> None:
        """The worker is about to remove the link; these leases could not be released."""
        self._state.take(EndpointEvent.DELETED)
        self._state.take_deleted(unreleased)
        self._context.gone(self._state.spec)
        self._finish()

    def failed(self, reason: str, unreleased: tuple[Lease, ...]) -> None:
        """The worker could not make it, and has rolled back."""
        self._state.journal.note("failed", f"not created: {reason}", (), logging.ERROR)
        self._state.take(EndpointEvent.FAILED)
        remembered = self._state.spec.remembered  # which was not ours yet
        for lease in unreleased or (() if remembered is None else (remembered,)):
            self._state.journal.set_aside(lease)
        self._context.gone(self._state.spec)
        self._pending.answer(Phase.CREATING, Failed(reason))
        self._finish()

    def give_way(self) -> None:
        """The engine starts this container anew, and knows nothing of this endpoint: the next one gets its lease."""
        if self._state.phase is not Phase.DELETING:
            self._state.journal.say("never joined, and its container is started again: replaced", logging.WARNING)
            self._part()
            self.delete()

    def sandbox_gone(self) -> None:
        """Either the container is about to leave, then its requests come within moments, or nobody will tell us.

        The way led through dockerd: where that has ended it says nothing, and the next one brings another.
        """
        if not self._context.engine.is_there:
            text = "dockerd has ended, and with it the way to the sandbox: the next dockerd is waited for"
            self._state.journal.say(text)
        elif self._state.recovering:
            self._bury()
        elif self._state.has_sandbox:
            self._pending.arm(GONE_SECONDS, self._bury)

    def go_on(self) -> None:
        """A worker has died over it, or an instance of the plugin: this is what its successor has still to do."""
        if self._state.phase is Phase.LEAVING:
            self._worker.send(w.LeaveSandbox(self._keep))
        elif self._state.phase is Phase.DELETING:
            self._pending.arm(DELETE_SECONDS, self._delete_overdue)
            self._worker.send(w.Delete())

    def _bury(self) -> None:
        """There is no container any more; its lease waits for it if the engine is going to start it again."""
        if not self._state.has_sandbox:
            return
        self._state.recovering = False
        self._state.journal.say("its sandbox has gone", logging.WARNING)
        if self._is_to_wait():
            self._part()
        self.delete()

    def _is_to_wait(self) -> bool:
        """Whether its lease is to wait for its container."""
        return self._state.origin.keep_lease or self._context.identifier.comes_back(self._state.identity)

    def _part(self) -> None:
        """Of the lease, which is left to whoever has the key."""
        if self._state.let_go():
            self._worker.send(w.LeaveSandbox(keep=True))

    def _finish(self) -> None:
        """The worker has said its last word."""
        self._pending.answer(Phase.DELETING, Done())
        self._pending.arm(END_SECONDS, self._worker.kill)

    def _leave_overdue(self) -> None:
        self._state.journal.say("worker does not leave the sandbox; going on", logging.ERROR)
        self._state.take(EndpointEvent.LEFT)
        self._pending.answer(Phase.LEAVING, Done())

    def _delete_overdue(self) -> None:
        self._state.journal.say("worker does not remove the link and is killed", logging.ERROR)
        self._pending.answer(Phase.DELETING, Done())
        self._worker.kill()
