"""One endpoint: the engine's requests and its worker's reports, in whatever order they come.

Owns how it comes to be and lives. The order of things is phases.TABLE's; what it has is EndpointState's, its worker's
process WorkerProcess's, whoever waits for it Callers', what it waits for itself NextStep's, how it ends Ending's.
"""

import logging
from pathlib import Path

from supervisor.contract.errors import Conflict
from supervisor.contract.messages import Respond
from supervisor.domain.phases import EndpointEvent, Phase, RefusedEndpointEvent
from supervisor.endpoint.context import EndpointContext
from supervisor.endpoint.endpoint_state import EndpointState
from supervisor.endpoint.next_step import NextStep
from supervisor.endpoint.pending_requests import PendingRequests
from supervisor.endpoint.teardown import Ending
from supervisor.endpoint.worker_process import WorkerProcess
from supervisor.engine.container_files import Identity
from supervisor.state.bindings import is_found
from supervisor.state.records import EndpointRecord, Origin
from workers.contract import messages as w

CLEAN_UP_SECONDS = 4.0  # a worker's, after the budget of its first lease


class Endpoint(EndpointState):
    """An endpoint from CreateEndpoint to DeleteEndpoint."""

    def __init__(
        self, spec: w.EndpointSpec, origin: Origin, identity: Identity | None, context: EndpointContext
    ) -> None:
        super().__init__(spec, origin, identity, context.store, context.bindings)
        self._context = context
        self._pending = PendingRequests(context.loop)
        self.worker = WorkerProcess(
            spec,
            context.process_manager,
            context.spare,
            on_report=self._on_report,
            on_death=self._on_death,
            succeed=self._respawn,
        )
        self._ending = Ending(self, self.worker, self._pending, context)
        self._next_step = NextStep(self, self._ending, self._pending, context, self._send_there)

    # Requests of the engine.

    def create(self, respond: Respond) -> None:
        """Makes it, or, for the same request again, waits for or repeats the first answer."""
        if self.phase is Phase.ABSENT:
            self.take(EndpointEvent.CREATE)
            self._pending.arm(self.spec.lease_timeout + CLEAN_UP_SECONDS, self._create_overdue)
            self.worker.start(None)
            self._save()  # while the worker makes the link: should we die, the next instance knows what to look for
        if self.phase is Phase.CREATING:
            self._pending.add(Phase.CREATING, respond)
        elif self.phase is Phase.CREATED:
            respond(self._created_answer())
        else:
            respond(Conflict(f"endpoint {self.spec.endpoint_id[:12]} exists and is {self.phase}"))

    def join(self, sandbox_key: str, respond: Respond) -> None:
        """Tells Docker what to move and which routes to set; the worker then follows the link."""
        if self.has_sandbox and sandbox_key == self.sandbox_key:
            respond(self._joined())
            return
        if self.phase is Phase.CREATED and self._refuse_stranger(respond):
            return
        try:
            self.take(EndpointEvent.JOIN)
        except RefusedEndpointEvent as error:
            respond(Conflict(f"endpoint {self.spec.endpoint_id[:12]}: {error}"))
            return
        self.sandbox_key = sandbox_key
        answer = self._joined()
        self._save()
        self._next_step.await_link()
        respond(answer)
        self._attach()

    def _refuse_stranger(self, respond: Respond) -> bool:
        """Refuses Join where the endpoint was made for another container than it is for.

        The owner's MAC and address stay remembered. Its lease does not wait: the owner's own request has come
        meanwhile, as a rule, and got a fresh identity.
        """
        if self.identity is None or not is_found(self.origin.key):
            return False
        name = self._context.identifier.stranger_at_join(self.spec.endpoint_id, self.identity)
        if name is None:
            return False
        text = f"made for container {self.identity.name}, which is being started, and not for {name}"
        self.journal.say(f"{text}: Join is refused", logging.WARNING)
        self.delete()
        respond(Conflict(f"the endpoint was {text}: try again"))
        return True

    def leave(self, respond: Respond) -> None:
        """Releases the lease from inside the sandbox before the answer."""
        self._ending.leave(respond)

    def delete(self, respond: Respond | None = None) -> None:
        """Removes the link, and releases a lease that is still held."""
        self._ending.delete(respond)

    def restore(self, record: EndpointRecord) -> None:
        """After a restart of the plugin: goes on where the last instance was."""
        self._restore_state(record)
        if self.phase in (Phase.CREATING, Phase.LEAVING, Phase.LEFT):
            self.take(EndpointEvent.DELETE)
        self._next_step.go_on()
        self._respawn()

    def engine_changed(self) -> None:
        """New facts: where the sandbox can be found, which container this is."""
        if self.has_sandbox:
            self._attach()
        container = self._context.engine.container_of(self.spec.endpoint_id)
        if container is None:
            return
        news = self._identify(Identity(container.id, container.name, container.hostname))
        if news and self._hostname and self.has_sandbox:
            self.worker.send(w.Rename(self._hostname))
        self._adopt(container.id)

    @property
    def doubtful(self) -> bool:
        """Whether the engine may have forgotten it: it comes to join at once, unless its call broke."""
        return self._next_step.doubtful

    def look_after(self) -> None:
        """To be called often: a worker that hangs is killed, and a successor goes on."""
        watched = self._all_leases if self.phase is Phase.JOINED and not self.recovering else ()
        if self.worker.hangs(lease.expires for lease in watched if lease.expires is not None):
            self.journal.say("worker says nothing although its lease has run out, and is killed", logging.ERROR)
            self.worker.kill()

    def give_way(self) -> None:
        """The engine starts this container anew, and knows nothing of this endpoint: the next one gets its lease."""
        self._ending.give_way()

    def abandon(self) -> None:
        """The plugin stops: what is being made is undone, all else lives on without us, its lease unreleased."""
        if self.phase is Phase.CREATING:
            self.delete()
        elif self.phase not in (Phase.LEAVING, Phase.DELETING):
            self.worker.hang_up()

    def take(self, event: EndpointEvent) -> None:
        """A phase ends, and with it its deadline. Raises RefusedEndpointEvent."""
        super().take(event)
        self._pending.disarm()

    # Reports of the worker.

    def _on_report(self, report: object) -> None:  # noqa: C901  one line a report
        self.worker.heard()
        match report:
            case w.Created():
                self._on_created(report)
            case w.CreateFailed(reason, unreleased):
                self._ending.failed(reason, unreleased)
            case w.Attached(interface) if self.has_sandbox:
                self._on_attached(interface)
            case w.NotMoved():
                self.recovering = False
            case w.SandboxGone():
                self._ending.sandbox_gone()
            case w.ClientStarted(pid, family):
                self.worker.set_client(family, pid)
            case w.LeaseObtained(lease):
                self.take_lease(lease)
            case w.LeaseTrouble():
                self._on_trouble(report)
            case w.Left(released):
                self._ending.left(released)
            case w.Deleted(unreleased):
                self._ending.deleted(unreleased)

    def _on_created(self, report: w.Created) -> None:
        if self.phase is not Phase.CREATING:
            return  # Delete has overtaken it
        self.take(EndpointEvent.CREATED)
        self._next_step.await_join()
        self.take_first_leases(report)
        self._pending.answer(Phase.CREATING, self._created_answer())

    def _on_attached(self, interface: str) -> None:
        self.journal.interface = interface
        self.recovering = False
        known = self.phase is Phase.JOINED  # and on disk
        self.take(EndpointEvent.ATTACHED)
        if not known:
            self._save()
        self.journal.say("attached")

    def _on_trouble(self, report: w.LeaseTrouble) -> None:
        if report.kind is w.Trouble.CLIENT_DIED and report.family is not None:
            self.worker.set_client(report.family, None)
        self.take_trouble(report)

    def _on_death(self, status: int) -> None:
        """Nobody who waits for the worker waits in vain, and a successor goes on."""
        if self.phase is Phase.ABSENT:
            self._pending.disarm()
            self._context.cleared(self.spec, status)
            return
        self.journal.say(f"worker ended with status {status}", logging.ERROR)
        if self.phase is Phase.CREATING:
            self._ending.undo(f"the endpoint's worker died (status {status}); start it again")
        delay = self.worker.start_again_later()
        self.journal.say(f"worker is started again in {delay:g} s", logging.WARNING)

    def _respawn(self) -> None:
        resume = w.Resume(tuple(self._all_leases), self._held) if self.leases else None
        self.worker.start(resume, reclaims=resume is None and self.phase is Phase.DELETING)
        if self.has_sandbox:
            self._attach()
        else:
            self._ending.go_on()

    def _create_overdue(self) -> None:
        self.journal.say("worker is overdue and is killed", logging.ERROR)
        self.worker.kill()

    def _attach(self) -> None:
        path = self._context.engine.path(self.sandbox_key or "")
        if path is None or self.worker.is_attached_to(path):
            return  # dockerd's pid comes with the watcher's first message, and another one with each new dockerd
        if self.identity is None:
            self.journal.identity = self._context.identifier.at_join(self.spec.endpoint_id)
        self._send_there(path, arrived=self.phase is Phase.JOINED)

    def _send_there(self, path: Path, *, arrived: bool = True) -> None:
        self.worker.attach(w.Attach(str(path), self._hostname, self._gateway, arrived))
