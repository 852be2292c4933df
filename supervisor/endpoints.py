"""One endpoint: the engine's requests and its worker's reports, in whatever order they come.

Owns the worker process, over its restarts, and whoever waits for it. The order of things is phases.TABLE's.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import Pipe
from pathlib import Path
from signal import SIGKILL

from supervisor.children import Child, Nursery
from supervisor.childstate import ChildState
from supervisor.engine import Engine
from supervisor.errors import Conflict, Failed, RequestError
from supervisor.identity import Identifier, Identity
from supervisor.joining import join_answer
from supervisor.loop import Loop, Timer
from supervisor.messages import Answer, CreateEndpoint, Done, EndpointCreated, Joined
from supervisor.phases import Happening, Phase, RefusedHappening, after
from supervisor.services import Respond
from workers import messages as w
from workers.endpoint import remove, run
from workers.hostname import legal_hostname
from workers.lease import Lease, Route

CLEAN_UP_SECONDS = 4.0  # a worker's, after the budget of its first lease
LEAVE_SECONDS = 4.0  # release (2 s), udhcpc's end (1 s)
JOIN_SECONDS = 60.0  # the engine's next call; it does not come where the answer was lost, nor does a DeleteEndpoint
DELETE_SECONDS = 6.0  # release from the host's side (2 s), udhcpc's end, a link made again and removed

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Plant:
    """What endpoints share; `gone` is called when one has ended, before whoever waits for that is answered."""

    nursery: Nursery
    loop: Loop
    engine: Engine
    identifier: Identifier
    gone: Callable[["Endpoint"], None]


class Endpoint:
    """An endpoint from CreateEndpoint to DeleteEndpoint. Times are Unix seconds."""

    def __init__(
        self,
        spec: w.EndpointSpec,
        request: CreateEndpoint,
        identity: Identity | None,
        plant: Plant,
    ) -> None:
        self.spec = spec
        self.identity = identity
        self.phase = Phase.ABSENT
        self.lease: Lease | None = None
        self.interface: str | None = None
        self.obtained: float | None = None
        self.renewed: float | None = None
        self.last_trouble: str | None = None
        self.udhcpc_pid: int | None = None
        self.sandbox_key: str | None = None
        self.child = Child(f"nd-{spec.endpoint_id[:12]}", "worker", self._on_report, self._on_exit)
        self._request = request
        self._plant = plant
        self._routes: tuple[Route, ...] = ()
        self._waiting: defaultdict[Phase, list[Respond]] = defaultdict(list)
        self._deadline: Timer | None = None
        self._attached_to: Path | None = None
        self._begun = time.monotonic()

    # Requests of the engine.

    def create(self, respond: Respond) -> None:
        """Makes it, or, for the same request again, waits for or repeats the first answer."""
        if self.phase is Phase.ABSENT:
            self._take(Happening.CREATE)
            self._arm(self.spec.lease_timeout + CLEAN_UP_SECONDS, self._create_overdue)
            self._spawn(resume=None)
        if self.phase is Phase.CREATING:
            self._waiting[Phase.CREATING].append(respond)
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
        respond(self._joined())
        self._attach()

    def leave(self, respond: Respond) -> None:
        """Releases the lease from inside the sandbox before the answer."""
        if self.phase in (Phase.JOINING, Phase.JOINED):
            self._take(Happening.LEAVE)
            self._arm(LEAVE_SECONDS, self._leave_overdue)
            self._tell(w.Leave())
        if self.phase is Phase.LEAVING:
            self._waiting[Phase.LEAVING].append(respond)
        else:
            respond(Done())

    def delete(self, respond: Respond | None = None) -> None:
        """Removes the link, and releases a lease that is still held."""
        if respond is not None:
            self._waiting[Phase.DELETING].append(respond)
        if self.phase is not Phase.DELETING:
            self._take(Happening.DELETE)
            self._answer(Phase.CREATING, Failed("the endpoint was deleted while it was being made"))
            self._answer(Phase.LEAVING, Done())
            self._arm(DELETE_SECONDS, self._delete_overdue)
            self._tell(w.Delete())

    def engine_changed(self) -> None:
        """New facts: where the sandbox can be found, which container this is."""
        if self.phase in (Phase.JOINING, Phase.JOINED):
            self._attach()
        container = self._plant.engine.container_of(self.spec.endpoint_id)
        identity = Identity(container.id, container.name, container.hostname) if container else self.identity
        if identity != self.identity:
            self.identity = identity
            if self._hostname and self.phase in (Phase.JOINING, Phase.JOINED):
                self.child.send(w.Rename(self._hostname))

    def abandon(self) -> None:
        """The plugin stops: what is being made is undone, all else lives on without us, its lease unreleased."""
        if self.phase is Phase.CREATING:
            self.delete()
        elif self.phase not in (Phase.LEAVING, Phase.DELETING):
            self._plant.nursery.hang_up(self.child)

    # Reports of the worker.

    def _on_report(self, report: object) -> None:  # noqa: C901  one line a report
        match report:
            case w.Created(lease, routes):
                self._on_created(lease, routes)
            case w.CreateFailed(reason):
                self._on_failed(reason)
            case w.Attached(interface) if self.phase in (Phase.JOINING, Phase.JOINED):
                self.interface = interface
                self._take(Happening.ATTACHED)
                self._say("attached")
            case w.ClientStarted(pid):
                self.udhcpc_pid = pid
            case w.LeaseObtained(lease):
                self._on_lease(lease)
            case w.LeaseTrouble(kind, detail):
                self.last_trouble = f"{kind}: {detail}"
                self._say(self.last_trouble, logging.WARNING)
            case w.Left(released):
                self._on_left(released)
            case w.Deleted():
                self._take(Happening.DELETED)
                self._say("deleted")
                self._plant.gone(self)
                self._answer(Phase.DELETING, Done())

    def _on_created(self, lease: Lease, routes: tuple[Route, ...]) -> None:
        if self.phase is not Phase.CREATING:
            return  # Delete has overtaken it
        self.lease, self._routes = lease, routes
        self.obtained = self.renewed = time.time()
        self._take(Happening.CREATED)
        self._say(f"first lease {lease.address} from {lease.server}")
        wanted = self.spec.requested
        if wanted is not None and wanted != lease.address.ip:
            self._say(f"asked for {wanted}, the server gave {lease.address.ip}", logging.WARNING)
        self._arm(JOIN_SECONDS, self._join_overdue)
        self._answer(Phase.CREATING, self._created_answer())

    def _on_failed(self, reason: str) -> None:
        self._say(f"not created: {reason}", logging.ERROR)
        self._take(Happening.FAILED)
        self._plant.gone(self)
        self._answer(Phase.CREATING, Failed(reason))
        self._answer(Phase.DELETING, Done())

    def _on_lease(self, lease: Lease) -> None:
        previous, self.lease = self.lease, lease
        self.renewed = time.time()
        self.last_trouble = None
        if previous is None or previous.address != lease.address:
            self.obtained = self.renewed
            self._say(
                f"address changed from {previous and previous.address} to {lease.address}; "
                "docker inspect shows the first one for the container's life",
                logging.WARNING,
            )
        else:
            self._say(f"lease of {lease.address} confirmed by {lease.server} for {lease.duration} s")

    def _on_left(self, released: bool) -> None:
        if self.phase is Phase.LEAVING:
            self._take(Happening.LEFT)
            self._say("left, lease released" if released else "left, lease still to be released")
        self._answer(Phase.LEAVING, Done())

    def _on_exit(self, status: int) -> None:
        self.udhcpc_pid = None
        if self.phase is not Phase.ABSENT and self.child.state is ChildState.BACKOFF:
            self._say(f"worker ended with status {status}", logging.ERROR)
            self._recover(status)

    def _recover(self, status: int) -> None:
        """A worker that died: nobody who waits for it waits in vain, and a successor goes on."""
        if self.phase is Phase.CREATING:
            self._take(Happening.DELETE)
            self._answer(Phase.CREATING, Failed(f"the endpoint's worker died (status {status}); start it again"))
            self._arm(DELETE_SECONDS, self._delete_overdue)
        delay = self._plant.nursery.respawn_later(self.child, self._respawn)
        self._say(f"worker is started again in {delay:g} s", logging.WARNING)

    def _respawn(self) -> None:
        self._spawn(resume=None if self.lease is None else w.Resume(self.lease))
        if self.phase in (Phase.JOINING, Phase.JOINED):
            self._attach()
        elif self.phase is Phase.LEAVING:
            self.child.send(w.Leave())
        elif self.phase is Phase.DELETING:
            self._arm(DELETE_SECONDS, self._delete_overdue)
            self.child.send(w.Delete())

    # Deadlines: the worker, or the engine, must have come back by now.

    def _create_overdue(self) -> None:
        self._say("worker is overdue and is killed", logging.ERROR)
        self._plant.nursery.kill(self.child, SIGKILL)

    def _join_overdue(self) -> None:
        self._say(f"not joined within {JOIN_SECONDS:g} s, so nobody knows of it: removed", logging.WARNING)
        self.delete()

    def _leave_overdue(self) -> None:
        self._say("worker does not leave the sandbox; going on", logging.ERROR)
        self._take(Happening.LEFT)
        self._answer(Phase.LEAVING, Done())

    def _delete_overdue(self) -> None:
        self._say("worker does not remove the link and is killed", logging.ERROR)
        self._answer(Phase.DELETING, Done())
        self._plant.nursery.kill(self.child, SIGKILL)

    # Helpers.

    def _spawn(self, resume: w.Resume | None) -> None:
        ours, theirs = Pipe()
        target = remove if resume is None and self.phase is Phase.DELETING else run
        self._attached_to = None
        self._plant.nursery.spawn(self.child, target, self.spec, theirs, resume, channel=ours, theirs=(theirs,))

    def _attach(self) -> None:
        path = self._plant.engine.path(self.sandbox_key or "")
        if path is None or path == self._attached_to:
            return  # dockerd's pid comes with the watcher's first message, and another one with each new dockerd
        if self.identity is None:
            self.identity = self._plant.identifier.at_join(self.spec.endpoint_id)
        self._attached_to = path
        self.child.send(w.Attach(str(path), self._hostname))

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
            address=None if self._request.address else self.lease.address,
            mac=None if self._request.mac else self.spec.mac,
        )

    def _joined(self) -> Joined:
        assert self.lease is not None
        return join_answer(self.spec, self.lease, self._routes)

    def _take(self, happening: Happening) -> None:
        self.phase = after(self.phase, happening)
        self._disarm()

    def _arm(self, seconds: float, overdue: Callable[[], None]) -> None:
        self._disarm()
        self._deadline = self._plant.loop.call_later(seconds, overdue)
        self._begun = time.monotonic()

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _answer(self, phase: Phase, result: Answer | RequestError) -> None:
        waiting, self._waiting[phase] = self._waiting[phase], []
        for respond in waiting:
            respond(result)

    def _say(self, text: str, level: int = logging.INFO) -> None:
        log.log(
            level,
            text,
            extra={
                "network": self.spec.network_id,
                "endpoint": self.spec.endpoint_id,
                "container": self.identity.name if self.identity else None,
                "interface": self.interface or self.spec.container_link,
                "ms": round((time.monotonic() - self._begun) * 1000, 1),
            },
        )
