"""One endpoint: the engine's requests and its worker's reports, in whatever order they come.

Owns whoever waits for it and until when. The order of things is phases.TABLE's; what it has is EndpointState's, its
worker's process WorkerProcess's.
"""

import logging
import time
from pathlib import Path

from supervisor.callers import Callers
from supervisor.containerfiles import Identity
from supervisor.endpointstate import EndpointState
from supervisor.errors import Conflict, Failed
from supervisor.memory import is_found
from supervisor.messages import Done
from supervisor.phases import Happening, Phase, RefusedHappening
from supervisor.plant import Plant
from supervisor.records import EndpointRecord, Origin
from supervisor.services import Respond
from supervisor.workerprocess import WorkerProcess
from workers import messages as w
from workers.lease import Lease, Route, boottime

CLEAN_UP_SECONDS = 4.0  # a worker's, after the budget of its first lease
JOIN_SECONDS = 120.0  # from its creation to Join and the move of the link; where that broke off, nobody tells us
LOOK_SECONDS = 5.0  # until it is looked again for a container that is still being started then
DOUBT_SECONDS = 1.0  # of the same, for telling whether a request can be for this container again
GONE_SECONDS = 5.0  # in which Leave comes for a sandbox that ends in order
STUCK_SECONDS = 10.0  # after the end of a lease, which a worker that lives has told by then
LEAVE_SECONDS = 4.0  # release (2 s), udhcpc's end (1 s)
END_SECONDS = 2.0  # a worker's, from its last word: it has a link to remove
DELETE_SECONDS = 6.0  # release from the host's side (2 s), udhcpc's end, a link made again and removed


class Endpoint(EndpointState):
    """An endpoint from CreateEndpoint to DeleteEndpoint."""

    def __init__(self, spec: w.EndpointSpec, origin: Origin, identity: Identity | None, plant: Plant) -> None:
        super().__init__(spec, origin, identity, plant.store, plant.memory)
        self._plant = plant
        self._callers = Callers(plant.loop)
        self.worker = WorkerProcess(
            spec, plant.nursery, plant.spare, on_report=self._on_report, on_death=self._on_death, succeed=self._respawn
        )
        self._keep = False
        self._heard = boottime()
        self._mute: float | None = None
        self._created = -DOUBT_SECONDS  # `time.monotonic()`; long ago for one that is found again

    # Requests of the engine.

    def create(self, respond: Respond) -> None:
        """Makes it, or, for the same request again, waits for or repeats the first answer."""
        if self.phase is Phase.ABSENT:
            self._take(Happening.CREATE)
            self._callers.arm(self.spec.lease_timeout + CLEAN_UP_SECONDS, self._create_overdue)
            self.worker.start(None)
            self._save()  # while the worker makes the link: should we die, the next instance knows what to look for
        if self.phase is Phase.CREATING:
            self._callers.add(Phase.CREATING, respond)
        elif self.phase is Phase.CREATED:
            respond(self._created_answer())
        else:
            respond(Conflict(f"endpoint {self.spec.endpoint_id[:12]} exists and is {self.phase}"))

    def join(self, sandbox_key: str, respond: Respond) -> None:
        """Tells Docker what to move and which routes to set; the worker then follows the link."""
        if self.has_sandbox and sandbox_key == self.sandbox_key:
            respond(self._joined())
            return
        if self.phase is Phase.CREATED and self._is_strangers(respond):
            return
        try:
            self._take(Happening.JOIN)
        except RefusedHappening as error:
            respond(Conflict(f"endpoint {self.spec.endpoint_id[:12]}: {error}"))
            return
        self.sandbox_key = sandbox_key
        answer = self._joined()
        self._save()
        self._await_link(JOIN_SECONDS)
        respond(answer)
        self._attach()

    def leave(self, respond: Respond) -> None:
        """Releases the lease from inside the sandbox before the answer."""
        if self.has_sandbox:
            self._take(Happening.LEAVE)
            self._callers.arm(LEAVE_SECONDS, self._leave_overdue)
            self._keep = self.origin.keep_lease or self._plant.identifier.comes_back(self.identity)
            self.worker.tell(w.Leave(self._keep))
        if self.phase is Phase.LEAVING:
            self._callers.add(Phase.LEAVING, respond)
        else:
            respond(Done())

    def delete(self, respond: Respond | None = None) -> None:
        """Removes the link, and releases a lease that is still held."""
        if respond is not None:
            self._callers.add(Phase.DELETING, respond)
        if self.phase is not Phase.DELETING:
            self._take(Happening.DELETE)
            self._callers.answer(Phase.CREATING, Failed("the endpoint was deleted while it was being made"))
            self._callers.answer(Phase.LEAVING, Done())
            self._callers.arm(DELETE_SECONDS, self._delete_overdue)
            self.worker.tell(w.Delete())

    def restore(self, record: EndpointRecord) -> None:
        """After a restart of the plugin: goes on where the last instance was."""
        self._restore_state(record)
        if self.phase is Phase.CREATING or self.phase in (Phase.LEAVING, Phase.LEFT):
            self._take(Happening.DELETE)
        elif self.phase is Phase.CREATED:
            self._await_join(self._rest())
        elif self.phase is Phase.JOINING:
            self._await_link(self._rest())
        self._respawn()

    def engine_changed(self) -> None:
        """New facts: where the sandbox can be found, which container this is."""
        if self.has_sandbox:
            self._attach()
        container = self._plant.engine.container_of(self.spec.endpoint_id)
        if container is None:
            return
        news = self._identify(Identity(container.id, container.name, container.hostname))
        if news and self._hostname and self.has_sandbox:
            self.worker.send(w.Rename(self._hostname))
        self._adopt(container.id)

    @property
    def doubtful(self) -> bool:
        """Whether the engine may have forgotten it: it comes to join at once, unless its call broke."""
        return self.phase is Phase.CREATED and time.monotonic() - self._created > DOUBT_SECONDS

    def look_after(self) -> None:
        """To be called often: a worker that lets a lease end without a word hangs, and a successor goes on.

        Right after a suspend it may just not have come to it, so it is given time again.
        """
        ends = self.lease.expires if self.lease and self.phase is Phase.JOINED and not self.recovering else None
        if ends is None or self._heard > ends or boottime() < ends + STUCK_SECONDS:
            self._mute = None
        elif self._mute is None:
            self._mute = time.monotonic()
        elif time.monotonic() - self._mute >= STUCK_SECONDS:
            self._mute = None
            self._journal.say("worker says nothing although its lease has run out, and is killed", logging.ERROR)
            self.worker.kill()

    def give_way(self) -> None:
        """The engine starts this container anew, and knows nothing of this endpoint: the next one gets its lease."""
        if self.phase is not Phase.DELETING:
            self._journal.say("never joined, and its container is started again: replaced", logging.WARNING)
            self._part()
            self.delete()

    def _is_strangers(self, respond: Respond) -> bool:
        """Refuses Join where the endpoint was made for another container than it is for.

        That happens when one is started while another one, which runs already, is connected: CreateEndpoint names
        nobody, but by now the engine's store does. The owner's MAC and address stay remembered. Its lease does not
        wait: the owner's own request has come meanwhile, as a rule, and got a fresh identity.
        """
        if self.identity is None or not is_found(self.origin.key):
            return False
        name = self._plant.identifier.name_at_join(self.spec.endpoint_id)
        if name in (None, self.identity.name):
            return False
        text = f"made for container {self.identity.name}, which is being started, and not for {name}"
        self._journal.say(f"{text}: Join is refused", logging.WARNING)
        self._plant.identifier.mistook(self.identity)
        self.delete()
        respond(Conflict(f"the endpoint was {text}: try again"))
        return True

    def abandon(self) -> None:
        """The plugin stops: what is being made is undone, all else lives on without us, its lease unreleased."""
        if self.phase is Phase.CREATING:
            self.delete()
        elif self.phase not in (Phase.LEAVING, Phase.DELETING):
            self.worker.hang_up()

    # Reports of the worker.

    def _on_report(self, report: object) -> None:  # noqa: C901  one line a report
        self._heard = boottime()
        match report:
            case w.Created(lease, routes, confirmed):
                self._on_created(lease, routes, confirmed)
            case w.CreateFailed(reason, silent, owed):
                self._on_failed(reason, silent, owed)
            case w.Attached(interface) if self.has_sandbox:
                self._journal.interface = interface
                self.recovering = False
                known = self.phase is Phase.JOINED  # and on disk
                self._take(Happening.ATTACHED)
                if not known:
                    self._save()
                self._journal.say("attached")
            case w.NotMoved():
                self.recovering = False
            case w.SandboxGone():
                self._on_sandbox_gone()
            case w.ClientStarted(pid):
                self.worker.udhcpc_pid = pid
            case w.LeaseObtained(lease):
                self._on_ack(lease)
            case w.LeaseRenewed() if self.lease is not None:
                self._on_ack(self.lease.renewed(boottime()))
            case w.LeaseTrouble(kind, detail):
                self._on_trouble(kind, detail)
            case w.Left(released):
                self._on_left(released)
            case w.Deleted(owed):
                self._on_deleted(owed)

    def _on_created(self, lease: Lease, routes: tuple[Route, ...], confirmed: bool) -> None:
        if self.phase is not Phase.CREATING:
            return  # Delete has overtaken it
        self._take(Happening.CREATED)
        self._await_join(JOIN_SECONDS)
        self._created = time.monotonic()
        self._take_first_lease(lease, routes, confirmed)
        if confirmed:
            self._plant.silence.broken(self.spec.bridge)
        self._callers.answer(Phase.CREATING, self._created_answer())

    def _on_failed(self, reason: str, silent: bool, owed: Lease | None) -> None:
        if silent:
            self._plant.silence.found(self.spec.bridge)
        self._journal.note("failed", f"not created: {reason}", self.lease, logging.ERROR)
        self._take(Happening.FAILED)
        waiting = owed or self.spec.remembered  # which was not ours yet
        if waiting is not None:
            self._journal.set_aside(waiting)
        self._plant.gone(self.spec)
        self._callers.answer(Phase.CREATING, Failed(reason))
        self._callers.answer(Phase.DELETING, Done())
        self._callers.arm(END_SECONDS, self.worker.kill)

    def _on_ack(self, lease: Lease) -> None:
        self._plant.silence.broken(self.spec.bridge)
        self._take_lease(lease)

    def _on_trouble(self, kind: w.Trouble, detail: str) -> None:
        if kind is w.Trouble.CLIENT_DIED:
            self.worker.udhcpc_pid = None
        self._take_trouble(kind, detail)

    def _on_left(self, released: bool) -> None:
        if self.phase is Phase.LEAVING:
            self._take(Happening.LEFT)
            self._take_left(released, self._keep)
        self._callers.answer(Phase.LEAVING, Done())

    def _on_deleted(self, owed: bool) -> None:
        self._take(Happening.DELETED)
        self._take_deleted(owed)
        self._plant.gone(self.spec)
        self._callers.answer(Phase.DELETING, Done())
        self._callers.arm(END_SECONDS, self.worker.kill)

    def _on_sandbox_gone(self) -> None:
        """Either the container is about to leave, then its requests come within moments, or nobody will tell us.

        The way led through dockerd: where that has ended it says nothing, and the next one brings another.
        """
        if not self._plant.engine.is_there:
            self._journal.say("dockerd has ended, and with it the way to the sandbox: the next dockerd is waited for")
            return
        if self.recovering:
            self._bury()
        elif self.has_sandbox:
            self._callers.arm(GONE_SECONDS, self._bury)

    def _bury(self) -> None:
        """There is no container any more; its lease waits for it if the engine is going to start it again."""
        if not self.has_sandbox:
            return
        self.recovering = False
        self._journal.say("its sandbox has gone", logging.WARNING)
        if self.origin.keep_lease or self._plant.identifier.comes_back(self.identity):
            self._part()
        self.delete()

    def _part(self) -> None:
        """Of the lease, which is left to whoever has the key."""
        if self._let_go():
            self.worker.send(w.Leave(keep=True))

    def _on_death(self, status: int) -> None:
        """Nobody who waits for the worker waits in vain, and a successor goes on."""
        if self.phase is Phase.ABSENT:
            self._callers.disarm()
            self._plant.cleared(self.spec, status)
            return
        self._journal.say(f"worker ended with status {status}", logging.ERROR)
        if self.phase is Phase.CREATING:
            self._take(Happening.DELETE)
            self._callers.answer(
                Phase.CREATING, Failed(f"the endpoint's worker died (status {status}); start it again")
            )
            self._callers.arm(DELETE_SECONDS, self._delete_overdue)
        delay = self.worker.start_again_later()
        self._journal.say(f"worker is started again in {delay:g} s", logging.WARNING)

    def _respawn(self) -> None:
        resume = None if self.lease is None else w.Resume(self.lease, self._held)
        self.worker.start(resume, reclaims=resume is None and self.phase is Phase.DELETING)
        if self.has_sandbox:
            self._attach()
        elif self.phase is Phase.LEAVING:
            self.worker.send(w.Leave(self._keep))
        elif self.phase is Phase.DELETING:
            self._callers.arm(DELETE_SECONDS, self._delete_overdue)
            self.worker.send(w.Delete())

    # Deadlines: the worker, or the engine, must have come back by now.

    def _create_overdue(self) -> None:
        self._journal.say("worker is overdue and is killed", logging.ERROR)
        self.worker.kill()

    def _leave_overdue(self) -> None:
        self._journal.say("worker does not leave the sandbox; going on", logging.ERROR)
        self._take(Happening.LEFT)
        self._callers.answer(Phase.LEAVING, Done())

    def _delete_overdue(self) -> None:
        self._journal.say("worker does not remove the link and is killed", logging.ERROR)
        self._callers.answer(Phase.DELETING, Done())
        self.worker.kill()

    def _rest(self) -> float:
        """What is left of JOIN_SECONDS, however often the plugin has been started since, by a clock that may be set.

        The lease was obtained when it was created.
        """
        since = 0.0 if self.obtained is None else time.time() - self.obtained
        return JOIN_SECONDS - min(max(0.0, since), JOIN_SECONDS)

    def _await_join(self, seconds: float) -> None:
        self._callers.arm(seconds, self._join_overdue)

    def _join_overdue(self) -> None:
        """Nobody tells us of a start that failed before Join; one that only takes long is waited for.

        Which of them it is cannot be told before dockerd has been found.
        """
        if self._plant.engine.pid is None or self._plant.identifier.is_starting(self.identity):
            self._await_join(LOOK_SECONDS)
        else:
            self._journal.say(f"not joined within {JOIN_SECONDS:g} s, so nobody knows of it: removed", logging.WARNING)
            self.delete()

    def _await_link(self, seconds: float) -> None:
        self._callers.arm(seconds, self._link_overdue)

    def _link_overdue(self) -> None:
        """A start that broke after Join, with an engine that does not say so; a link still at home has no container."""
        path = self._plant.engine.path(self.sandbox_key or "")
        if path is None or self._plant.identifier.is_starting(self.identity):
            self._await_link(LOOK_SECONDS)
        else:
            self._await_link(JOIN_SECONDS)
            self._send_there(path, arrived=True)

    # Helpers.

    def _attach(self) -> None:
        path = self._plant.engine.path(self.sandbox_key or "")
        if path is None or self.worker.is_attached_to(path):
            return  # dockerd's pid comes with the watcher's first message, and another one with each new dockerd
        if self.identity is None:
            self._journal.identity = self._plant.identifier.at_join(self.spec.endpoint_id)
        self._send_there(path, arrived=self.phase is Phase.JOINED)

    def _send_there(self, path: Path, *, arrived: bool) -> None:
        self.worker.attach(w.Attach(str(path), self._hostname, self._gateway, arrived))

    def _take(self, happening: Happening) -> None:
        super()._take(happening)
        self._callers.disarm()
