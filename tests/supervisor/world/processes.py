"""The plugin's processes, played: each goes on by one step whenever the test says so, and may be killed in between.

A process is a generator. It yields the condition on which it goes on.
"""

from collections import deque
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from functools import partial
from signal import SIGKILL, Signals
from typing import TYPE_CHECKING, Any, cast

from supervisor.driver.networks import _probe
from supervisor.runtime.channel import Channel
from supervisor.runtime.child import Child
from supervisor.runtime.child_states import ChildEvent, ChildState
from supervisor.runtime.forked import End, Target
from supervisor.runtime.loop import Loop
from supervisor.runtime.process_manager import ProcessManager
from supervisor.runtime.services import WATCHER
from tests.supervisor.world.host import ON_HOST, Host
from workers.contract.errors import Failing
from workers.contract.lease import AnyLease, Family, Lease
from workers.contract.link import container_link
from workers.contract.messages import (
    Attach,
    Attached,
    Begin,
    Command,
    Created,
    CreateFailed,
    Delete,
    Deleted,
    EndpointSpec,
    LeaveSandbox,
    Left,
    NotMoved,
    SandboxGone,
)
from workers.entry.jobs import give_back, remove
from workers.link.kind import ParentReport
from workers.link.sweep import Swept, sweep
from workers.system.clock import boottime

if TYPE_CHECKING:
    from tests.supervisor.world.dockerd import Dockerd

Ready = Callable[[], object]
Life = Generator[Ready, None, None]
Run = Callable[..., object]  # calls the supervisor, and survives that it dies in there


def at_once() -> bool:
    """The condition of one who waits for nothing."""
    return True


@dataclass(eq=False)
class Process:
    """`life` is None for one that does nothing. `inbox` has the messages that it has not read."""

    child: Child
    life: Life | None = None
    inbox: deque[Any] = field(default_factory=deque)
    spec: EndpointSpec | None = None
    ready: Ready = at_once
    status: int | None = None  # once it has ended, or was killed

    def send(self, message: object) -> None:
        """The supervisor's; it stands for the channel."""
        self.inbox.append(message)

    def close(self) -> None:
        """Stands for the channel's end."""

    @property
    def can_go_on(self) -> bool:
        """Whether its next step is possible."""
        return self.status is not None or (self.life is not None and bool(self.ready()))


class PlayedProcesses(ProcessManager):
    """All processes of one instance of the plugin. `run` calls the supervisor."""

    def __init__(self, loop: Loop, host: Host, dockerd: "Dockerd", run: Run) -> None:
        self._loop = loop
        self._host = host
        self._dockerd = dockerd
        self._run = run
        self._children: dict[int, Child] = {}
        self._pending: list[Child] = []
        self._numbers = 0
        self.alive: dict[Child, Process] = {}

    def spawn(
        self,
        child: Child,
        target: Target,
        *arguments: object,
        channel: Channel | None = None,
        ours: tuple[End, ...] = (),
        theirs: tuple[End, ...] = (),
        keep: End | None = None,
    ) -> None:
        """A job, or the watcher."""
        for end in (*theirs, *ours, *([channel] if channel else ())):
            end.close()
        process = self.add(child)
        process.life = (
            self._dockerd.watch(process, self._report) if target == WATCHER else self._job(process, target, arguments)
        )

    def add(self, child: Child) -> Process:
        """A process for this child."""
        child.starts()
        self._numbers += 1
        process = Process(child)
        child.pid, child.has_run, child.channel = self._numbers, True, cast(Channel, process)
        self._children[child.pid] = child
        self.alive[child] = process
        return process

    def add_worker(self, child: Child) -> None:
        """One that has no endpoint yet."""
        process = self.add(child)
        process.life = Worker(process, self._host, self._dockerd, self._report).live()

    def kill(self, child: Child, number: Signals) -> None:
        """Its end comes with its next step."""
        if child in self.alive:
            self.alive[child].status = -number

    def disconnect(self, child: Child) -> None:
        """As for a supervisor that has ended: the process ends and releases nothing."""
        if child.state not in (ChildState.STOPPED, ChildState.STOPPING):
            child.advance(ChildEvent.STOP)
        child.channel = None
        self.kill(child, SIGKILL)

    def reap_orphans(self) -> None:
        """There are none."""

    def step(self, process: Process) -> None:
        """The process goes on, or its end becomes known."""
        if process.status is None:
            assert process.life is not None
            try:
                process.ready = next(process.life)
            except StopIteration:
                process.status = 0
            if process.status is None:
                return
        self._end(process)

    def reap(self) -> None:
        """The kernel ends those that were killed."""
        for process in tuple(self.alive.values()):
            if process.status is not None and process.child in self.alive:
                self._end(process)

    def _end(self, process: Process) -> None:
        child, status = process.child, process.status
        assert child.pid is not None
        assert status is not None
        del self.alive[child]
        del self._children[child.pid]
        child.pid = child.channel = None

        def ended() -> None:
            child.advance(ChildEvent.EXIT)
            child.on_exit(status)

        self._run(ended)

    def _report(self, process: Process, message: object) -> None:
        def told() -> None:
            if process.child.state is ChildState.STARTING:
                process.child.advance(ChildEvent.READY)
            process.child.on_message(message)

        if process.child in self.alive:  # the instance of the plugin may have died meanwhile
            self._run(told)

    def _job(self, process: Process, target: Target, arguments: tuple[object, ...]) -> Life:
        yield at_once
        answers: dict[object, Callable[..., object]] = {
            sweep: self._sweep,
            remove: self._remove,
            give_back: self._give_back,
            _probe: lambda *_: ParentReport(error=None),
        }
        if target in answers:
            self._report(process, answers[target](*arguments[:-1]))
        yield at_once

    def _sweep(self, _mark: int, ends: frozenset[str], _parents: object) -> Swept:
        found = [one for one, place in self._host.links.items() if place == ON_HOST]
        swept = [one for one in found if container_link(one) not in ends]
        for one in swept:
            del self._host.links[one]
        return Swept(tuple(swept))

    def _remove(self, endpoint_id: str) -> Deleted:
        self._host.links.pop(endpoint_id, None)
        return Deleted()

    def _give_back(self, spec: EndpointSpec, leases: Mapping[Family, AnyLease]) -> Deleted:
        if not self._host.server.answers:
            return Deleted(frozenset(leases))
        for lease in leases.values():
            assert isinstance(lease, Lease)
            self._host.server.release(spec.client_identity, lease.address.ip)
        return Deleted()


class Worker:
    """A worker as the supervisor sees it: what it is told, what it reports, and what it does on the LAN."""

    def __init__(
        self, process: Process, host: Host, dockerd: "Dockerd", report: Callable[[Process, object], None]
    ) -> None:
        self._process = process
        self._host = host
        self._dockerd = dockerd
        self._report: Callable[[object], None] = partial(report, process)
        self._lease: Lease | None = None
        self._held = self._tried = False
        self._attach: Attach | None = None
        self._seen: str | None = None  # where its link was when it last looked
        self._is_inside = self._has_left = self._takes_over = False

    def live(self) -> Life:
        """From its first command to its exit."""
        yield lambda: self._process.inbox
        begin = self._process.inbox.popleft()
        assert isinstance(begin, Begin)
        self._spec = self._process.spec = begin.spec
        if begin.reclaims:
            yield from self._reclaim()
            return
        if begin.resume is None:
            yield from self._create()
            if self._lease is None:
                return
        else:
            self._takes_over = True
            self._lease = next((lease for lease in begin.resume.leases if isinstance(lease, Lease)), None)
            self._held = Family.IPV4 in begin.resume.held
        yield from self._serve()

    @property
    def _place(self) -> str | None:
        return self._host.links.get(self._spec.endpoint_id)

    def _create(self) -> Life:
        self._host.links[self._spec.endpoint_id] = ON_HOST
        yield at_once
        unconfirmed, lease = frozenset[Family](), None
        if self._process.inbox:  # Delete
            granted = None
        elif self._host.server.answers:
            remembered = self._spec.remembered
            wanted = remembered.address.ip if remembered else self._spec.requested
            granted = lease = self._host.server.grant(self._spec.client_identity, wanted)
        else:
            granted, lease, unconfirmed = None, self._spec.remembered, frozenset({Family.IPV4})
        yield at_once
        if lease is None or self._process.inbox:
            waiting = self._roll_back(granted)
            self._report(CreateFailed("no server answers", waiting, Failing.LINK))
            yield at_once
            return
        self._lease, self._held = lease, True
        self._report(Created((lease,), (), unconfirmed))

    def _roll_back(self, granted: Lease | None) -> tuple[Lease, ...]:
        """As a worker does: a remembered lease goes on waiting, and another one is released."""
        self._host.links.pop(self._spec.endpoint_id, None)
        remembered = self._spec.remembered
        waiting = [remembered] if remembered is not None and remembered.runs(boottime()) else []
        if granted is not None and granted.address.ip not in {one.address.ip for one in waiting}:
            if self._host.server.answers:
                self._host.server.release(self._spec.client_identity, granted.address.ip)
            else:
                waiting.append(granted)
        return tuple(waiting)

    def _reclaim(self) -> Life:
        """Finds out what its predecessor was granted, and gives that back."""
        yield lambda: self._process.inbox
        assert isinstance(self._process.inbox.popleft(), Delete)
        granted = None
        if self._host.server.answers:
            granted = self._host.server.grant(self._spec.client_identity, None)
        else:
            self._host.server.lost.add(self._spec.client_identity.client_id)
        yield at_once
        waiting = self._roll_back(granted)
        if set(waiting) <= set(self._spec.all_remembered):
            self._report(Deleted())
        else:
            self._report(CreateFailed("not given back", waiting, Failing.LINK))
        yield at_once

    def _serve(self) -> Life:
        done = False
        while not done:
            yield lambda: self._process.inbox or self._has_news()
            if not self._process.inbox:
                yield from self._look()
                continue
            command: Command = self._process.inbox.popleft()
            match command:
                case Attach():
                    self._attach, self._seen = command, "unknown"
                case LeaveSandbox(keep):
                    self._leave(keep=keep)
                case Delete():
                    self._discard()
                    done = True
                case _:
                    pass
        yield at_once  # it was told; now the link goes
        self._host.links.pop(self._spec.endpoint_id, None)

    def _has_news(self) -> bool:
        """Whether the link has moved, or the sandbox gone, since it last looked."""
        return self._attach is not None and self._place != self._seen

    def _look(self) -> Life:
        assert self._attach is not None
        place, self._seen = self._place, self._place
        if self._is_inside:
            if place is None or place == ON_HOST:
                self._is_inside, self._attach = False, None
                self._report(SandboxGone(only_link=False))
                yield at_once
        elif place is None or (place == ON_HOST and self._attach.arrived):
            if place == ON_HOST or self._takes_over or self._attach.arrived:
                self._attach = None
                self._report(SandboxGone())
                yield at_once
        elif place == ON_HOST:
            if self._takes_over:
                self._report(NotMoved())
                yield at_once
        elif self._dockerd.leads_to(self._attach.path, place):
            self._is_inside = True
            self._report(Attached("eth0"))
            yield at_once

    def _leave(self, *, keep: bool) -> None:
        released = False
        if keep:
            self._held = False
        elif self._is_inside and self._held and self._lease is not None:
            self._tried = True
            if self._host.server.answers:
                self._host.server.release(self._spec.client_identity, self._lease.address.ip)
                self._held, released = False, True
        self._is_inside, self._attach = False, None
        self._report(Left(frozenset({Family.IPV4}) if released else frozenset()))

    def _discard(self) -> None:
        if self._held and self._lease is not None and not self._tried:
            runs = self._lease.runs(boottime())
            if runs and self._host.server.answers:
                self._host.server.release(self._spec.client_identity, self._lease.address.ip)
            self._held = runs and not self._host.server.answers
        self._report(Deleted(frozenset({Family.IPV4}) if self._held else frozenset()))
