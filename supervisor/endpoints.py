"""One endpoint: the engine's requests and its worker's reports, in whatever order they come.

Owns the worker process, over its restarts, and whoever waits for it. The order of things is phases.TABLE's.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from multiprocessing import Pipe
from pathlib import Path
from signal import SIGKILL

from supervisor.callers import Callers
from supervisor.children import Child, Nursery
from supervisor.childstate import ChildState
from supervisor.engine import Engine
from supervisor.errors import Conflict, Failed
from supervisor.identity import Identifier, Identity
from supervisor.joining import join_answer
from supervisor.journal import Journal
from supervisor.loop import Loop
from supervisor.memory import Memory, key_of_container
from supervisor.messages import Done, EndpointCreated, Joined
from supervisor.phases import Happening, Phase, RefusedHappening, after
from supervisor.records import EndpointRecord, Origin
from supervisor.services import Respond
from supervisor.silence import Silence
from supervisor.store import Store
from workers import messages as w
from workers.endpoint import reclaim, run
from workers.hostname import legal_hostname
from workers.lease import Lease, Route

CLEAN_UP_SECONDS = 4.0  # a worker's, after the budget of its first lease
JOIN_SECONDS = 120.0  # the engine's next call; it does not come where the answer was lost, nor does a DeleteEndpoint
DOUBT_SECONDS = 1.0  # of the same, for telling whether a request can be for this container again
GONE_SECONDS = 5.0  # in which Leave comes for a sandbox that ends in order
LEAVE_SECONDS = 4.0  # release (2 s), udhcpc's end (1 s)
DELETE_SECONDS = 6.0  # release from the host's side (2 s), udhcpc's end, a link made again and removed


@dataclass(frozen=True, slots=True)
class Plant:
    """What endpoints share; `gone` is called when one has ended, before whoever waits for that is answered."""

    nursery: Nursery
    loop: Loop
    engine: Engine
    identifier: Identifier
    store: Store
    memory: Memory
    silence: Silence
    gone: Callable[["Endpoint"], None]


class Endpoint:
    """An endpoint from CreateEndpoint to DeleteEndpoint. Times are Unix seconds."""

    def __init__(
        self,
        spec: w.EndpointSpec,
        origin: Origin,
        identity: Identity | None,
        plant: Plant,
    ) -> None:
        self.spec = spec
        self.phase = Phase.ABSENT
        self.lease: Lease | None = None
        self.obtained: float | None = None
        self.renewed: float | None = None
        self.last_trouble: str | None = None
        self.udhcpc_pid: int | None = None
        self.recovering = False
        self.sandbox_key: str | None = None
        self.child = Child(f"nd-{spec.endpoint_id[:12]}", "worker", self._on_report, self._on_exit)
        self.origin = origin
        self._plant = plant
        self._routes: tuple[Route, ...] = ()
        self._callers = Callers(plant.loop)
        self._journal = Journal(spec, origin, plant.store, plant.memory)
        self._journal.identity = identity
        self._attached_to: Path | None = None
        self._gateway: IPv4Address | None = None
        self._held = False
        self._keep = False
        self._created = -DOUBT_SECONDS  # `time.monotonic()`; long ago for one that is found again

    @property
    def identity(self) -> Identity | None:
        """The container, once known."""
        return self._journal.identity

    @property
    def interface(self) -> str | None:
        """What the link is called in the sandbox, once it is there."""
        return None if self._journal.interface == self.spec.container_link else self._journal.interface

    # Requests of the engine.

    def create(self, respond: Respond) -> None:
        """Makes it, or, for the same request again, waits for or repeats the first answer."""
        if self.phase is Phase.ABSENT:
            self._take(Happening.CREATE)
            self._callers.arm(self.spec.lease_timeout + CLEAN_UP_SECONDS, self._create_overdue)
            self._spawn(resume=None)
            self._save()  # while the worker makes the link: should we die, the next instance knows what to look for
        if self.phase is Phase.CREATING:
            self._callers.add(Phase.CREATING, respond)
        elif self.phase is Phase.CREATED:
            respond(self._created_answer())
        else:
            respond(Conflict(f"endpoint {self.spec.endpoint_id[:12]} exists and is {self.phase}"))

    def join(self, sandbox_key: str, respond: Respond) -> None:
        """Tells Docker what to move and which routes to set; the worker then follows the link."""
        if self.phase in (Phase.JOINING, Phase.JOINED) and sandbox_key == self.sandbox_key:
            respond(self._joined())
            return
        try:
            self._take(Happening.JOIN)
        except RefusedHappening as error:
            respond(Conflict(f"endpoint {self.spec.endpoint_id[:12]}: {error}"))
            return
        self.sandbox_key = sandbox_key
        answer = self._joined()
        self._save()
        respond(answer)
        self._attach()

    def leave(self, respond: Respond) -> None:
        """Releases the lease from inside the sandbox before the answer."""
        if self.phase in (Phase.JOINING, Phase.JOINED):
            self._take(Happening.LEAVE)
            self._callers.arm(LEAVE_SECONDS, self._leave_overdue)
            self._keep = self.origin.keep_lease or self._plant.identifier.comes_back(self.identity)
            self._tell(w.Leave(self._keep))
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
            self._tell(w.Delete())

    def restore(self, record: EndpointRecord) -> None:
        """After a restart of the plugin: goes on where the last instance was."""
        self.phase, self.sandbox_key, self.lease = record.phase, record.sandbox_key, record.lease
        self._held, self._routes = record.held and record.lease is not None, record.routes
        self._gateway = record.gateway
        self.obtained, self.renewed = record.obtained, record.renewed
        self.recovering = self.phase in (Phase.JOINING, Phase.JOINED)
        if self.phase is Phase.CREATING or self.phase in (Phase.LEAVING, Phase.LEFT):
            self._take(Happening.DELETE)
        elif self.phase is Phase.CREATED:
            self._await_join()
        self._respawn()

    def record(self) -> EndpointRecord:
        """What is to be known of it after a restart."""
        return EndpointRecord(
            spec=self.spec,
            phase=self.phase,
            origin=self.origin,
            identity=self.identity,
            sandbox_key=self.sandbox_key,
            lease=self.lease,
            held=self._held,
            routes=self._routes,
            gateway=self._gateway,
            obtained=self.obtained,
            renewed=self.renewed,
        )

    def engine_changed(self) -> None:
        """New facts: where the sandbox can be found, which container this is."""
        if self.phase in (Phase.JOINING, Phase.JOINED):
            self._attach()
        container = self._plant.engine.container_of(self.spec.endpoint_id)
        identity = Identity(container.id, container.name, container.hostname) if container else self.identity
        if identity != self.identity:
            self._journal.identity = identity
            self._save()
            if self._hostname and self.phase in (Phase.JOINING, Phase.JOINED):
                self.child.send(w.Rename(self._hostname))
        if container and self.origin.key is None:
            self._adopt(container.id)

    def _adopt(self, container_id: str) -> None:
        """Nobody's until now, as several were started at once: this container's from its next start on."""
        self.origin = self._journal.origin = replace(self.origin, key=key_of_container(container_id))
        self._save()
        if self.lease is not None:
            self._journal.remember(self.lease)

    @property
    def doubtful(self) -> bool:
        """Whether the engine may have forgotten it: it comes to join at once, unless its call broke."""
        return self.phase is Phase.CREATED and time.monotonic() - self._created > DOUBT_SECONDS

    def give_way(self) -> None:
        """The engine starts this container anew, and knows nothing of this endpoint: the next one gets its lease."""
        if self.phase is not Phase.DELETING:
            self._journal.say("never joined, and its container is started again: replaced", logging.WARNING)
            self._let_go()
            self.delete()

    def abandon(self) -> None:
        """The plugin stops: what is being made is undone, all else lives on without us, its lease unreleased."""
        if self.phase is Phase.CREATING:
            self.delete()
        elif self.phase not in (Phase.LEAVING, Phase.DELETING):
            self._plant.nursery.hang_up(self.child)

    # Reports of the worker.

    def _on_report(self, report: object) -> None:  # noqa: C901  one line a report
        match report:
            case w.Created(lease, routes, confirmed):
                self._on_created(lease, routes, confirmed)
            case w.CreateFailed(reason, silent, owed):
                self._on_failed(reason, silent, owed)
            case w.Attached(interface) if self.phase in (Phase.JOINING, Phase.JOINED):
                self._journal.interface = interface
                self.recovering = False
                self._take(Happening.ATTACHED)
                self._save()
                self._journal.say("attached")
            case w.SandboxGone():
                self._on_sandbox_gone()
            case w.ClientStarted(pid):
                self.udhcpc_pid = pid
            case w.LeaseObtained(lease):
                self._on_lease(lease)
            case w.LeaseTrouble(kind, detail):
                self._on_trouble(kind, detail)
            case w.Left(released):
                self._on_left(released)
            case w.Deleted(owed):
                self._on_deleted(owed)

    def _on_created(self, lease: Lease, routes: tuple[Route, ...], confirmed: bool) -> None:
        if self.phase is not Phase.CREATING:
            return  # Delete has overtaken it
        self.lease, self._routes, self._held = lease, routes, True
        self.obtained = self.renewed = time.time()
        self._created = time.monotonic()
        self._take(Happening.CREATED)
        self._await_join()
        if confirmed:
            self._plant.silence.broken(self.spec.bridge)
        silent = f"no server answers; starting on {lease.address}, whose lease still runs"
        with self._plant.store.together():
            self._save()
            self._journal.remember(lease)
            if confirmed:
                self._journal.note("bound", f"first lease {lease.address} from {lease.server}", lease)
            else:
                self._journal.note("unconfirmed", silent, lease)
        wanted = self.spec.requested
        if wanted is not None and wanted != lease.address.ip:
            self._journal.say(f"asked for {wanted}, the server gave {lease.address.ip}", logging.WARNING)
        self._callers.answer(Phase.CREATING, self._created_answer())

    def _on_failed(self, reason: str, silent: bool, owed: Lease | None) -> None:
        if silent:
            self._plant.silence.found(self.spec.bridge)
        self._journal.note("failed", f"not created: {reason}", self.lease, logging.ERROR)
        self._take(Happening.FAILED)
        waiting = owed or self.spec.remembered  # which was not ours yet
        if waiting is not None:
            self._journal.set_aside(waiting)
        self._plant.gone(self)
        self._callers.answer(Phase.CREATING, Failed(reason))
        self._callers.answer(Phase.DELETING, Done())

    def _on_lease(self, lease: Lease) -> None:
        previous, self.lease = self.lease, lease
        self.renewed = time.time()
        self.last_trouble = None
        self._plant.silence.broken(self.spec.bridge)
        changed = previous is None or previous.address != lease.address
        if changed:
            self.obtained = self.renewed
        with self._plant.store.together():
            self._save()
            self._journal.remember(lease)
            if changed:
                text = (
                    f"address changed from {previous and previous.address} to {lease.address}; "
                    "docker inspect shows the first one for the container's life"
                )
                self._journal.note("changed", text, lease, logging.WARNING)
            else:
                text = f"lease of {lease.address} confirmed by {lease.server} for {lease.duration} s"
                self._journal.note("renewed", text, lease)

    def _on_trouble(self, kind: w.Trouble, detail: str) -> None:
        if kind is w.Trouble.CLIENT_DIED:
            self.udhcpc_pid = None
        text = f"{kind}: {detail}"
        if text != self.last_trouble:  # one line, however often it is said
            self.last_trouble = text
            self._journal.note(kind, text, self.lease, logging.WARNING)

    def _on_left(self, released: bool) -> None:
        if self.phase is Phase.LEAVING:
            if released or self._keep:
                self._held = False
            self._take(Happening.LEFT)
            if self._keep and self.lease is not None:
                self._journal.set_aside(self.lease)
            self._save()
            what = "released" if released else "kept" if self._keep else "still to be released"
            self._journal.note("left", f"left, lease {what}", self.lease)
        self._callers.answer(Phase.LEAVING, Done())

    def _on_deleted(self, owed: bool) -> None:
        self._take(Happening.DELETED)
        waiting = self.spec.remembered if self.lease is None else self.lease if owed else None
        if waiting is not None:
            self._journal.set_aside(waiting)
        self._journal.note("deleted", "deleted, lease to be released later" if owed else "deleted", self.lease)
        self._plant.gone(self)
        self._callers.answer(Phase.DELETING, Done())

    def _on_sandbox_gone(self) -> None:
        """Either the container is about to leave, then its requests come within moments, or nobody will tell us."""
        if self.recovering:
            self._bury()
        elif self.phase in (Phase.JOINING, Phase.JOINED):
            self._callers.arm(GONE_SECONDS, self._bury)

    def _bury(self) -> None:
        """There is no container any more; its lease waits for it if the engine is going to start it again."""
        if self.phase not in (Phase.JOINING, Phase.JOINED):
            return
        self.recovering = False
        self._journal.say("its sandbox has gone", logging.WARNING)
        if self.origin.keep_lease or self._plant.identifier.comes_back(self.identity):
            self._let_go()
        self.delete()

    def _let_go(self) -> None:
        """The lease waits for whoever has the key."""
        if self.lease is not None and self._held:
            self._journal.set_aside(self.lease)
            self._held = False
            self.child.send(w.Leave(keep=True))

    def _on_exit(self, status: int) -> None:
        self.udhcpc_pid = None
        if self.phase is not Phase.ABSENT and self.child.state is ChildState.BACKOFF:
            self._journal.say(f"worker ended with status {status}", logging.ERROR)
            self._recover(status)

    def _recover(self, status: int) -> None:
        """A worker that died: nobody who waits for it waits in vain, and a successor goes on."""
        if self.phase is Phase.CREATING:
            self._take(Happening.DELETE)
            self._callers.answer(
                Phase.CREATING, Failed(f"the endpoint's worker died (status {status}); start it again")
            )
            self._callers.arm(DELETE_SECONDS, self._delete_overdue)
        delay = self._plant.nursery.respawn_later(self.child, self._respawn)
        self._journal.say(f"worker is started again in {delay:g} s", logging.WARNING)

    def _respawn(self) -> None:
        self._spawn(resume=None if self.lease is None else w.Resume(self.lease, self._held))
        if self.phase in (Phase.JOINING, Phase.JOINED):
            self._attach()
        elif self.phase is Phase.LEAVING:
            self.child.send(w.Leave(self._keep))
        elif self.phase is Phase.DELETING:
            self._callers.arm(DELETE_SECONDS, self._delete_overdue)
            self.child.send(w.Delete())

    # Deadlines: the worker, or the engine, must have come back by now.

    def _create_overdue(self) -> None:
        self._journal.say("worker is overdue and is killed", logging.ERROR)
        self._plant.nursery.kill(self.child, SIGKILL)

    def _leave_overdue(self) -> None:
        self._journal.say("worker does not leave the sandbox; going on", logging.ERROR)
        self._take(Happening.LEFT)
        self._callers.answer(Phase.LEAVING, Done())

    def _delete_overdue(self) -> None:
        self._journal.say("worker does not remove the link and is killed", logging.ERROR)
        self._callers.answer(Phase.DELETING, Done())
        self._plant.nursery.kill(self.child, SIGKILL)

    def _await_join(self) -> None:
        self._callers.arm(JOIN_SECONDS, self._join_overdue)

    def _join_overdue(self) -> None:
        """Nobody tells us of a start that failed before Join; one that only takes long is waited for."""
        if self._plant.identifier.is_starting(self.identity):
            self._await_join()
        else:
            self._journal.say(f"not joined within {JOIN_SECONDS:g} s, so nobody knows of it: removed", logging.WARNING)
            self.delete()

    # Helpers.

    def _save(self) -> None:
        self._plant.store.put_endpoint(self.record())

    def _spawn(self, resume: w.Resume | None) -> None:
        ours, theirs = Pipe()
        target = reclaim if resume is None and self.phase is Phase.DELETING else run
        self._attached_to = None
        self._plant.nursery.spawn(self.child, target, self.spec, theirs, resume, channel=ours, theirs=(theirs,))

    def _attach(self) -> None:
        path = self._plant.engine.path(self.sandbox_key or "")
        if path is None or path == self._attached_to:
            return  # dockerd's pid comes with the watcher's first message, and another one with each new dockerd
        if self.identity is None:
            self._journal.identity = self._plant.identifier.at_join(self.spec.endpoint_id)
        self._attached_to = path
        self.child.send(w.Attach(str(path), self._hostname, self._gateway, arrived=self.phase is Phase.JOINED))

    def _tell(self, command: w.Leave | w.Delete) -> None:
        """Somebody waits for this, so a worker that waits for its next start gets it now, and is told then."""
        if self.child.state is ChildState.BACKOFF:
            self._respawn()
        else:
            self.child.send(command)

    @property
    def _hostname(self) -> str | None:
        return legal_hostname(self.identity.hostname) if self.identity else None

    def _created_answer(self) -> EndpointCreated:
        assert self.lease is not None
        return EndpointCreated(
            address=None if self.origin.given_address else self.lease.address,
            mac=None if self.origin.given_mac else self.spec.mac,
        )

    def _joined(self) -> Joined:
        assert self.lease is not None
        answer = join_answer(self.spec, self.lease, self._routes)
        self._gateway = answer.gateway
        return answer

    def _take(self, happening: Happening) -> None:
        self.phase = after(self.phase, happening)
        self._callers.disarm()
        if happening in (Happening.CREATE, Happening.JOIN, Happening.LEAVE, Happening.DELETE):
            self._journal.begun = time.monotonic()
