"""One start from the request to the answer, and on to the lease's confirmation in the sandbox: which process did what
when.

Owns what the kernel's events mean. Must not know who asks, nor how the figures are shown.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.ftrace import Event, Tracer
from benchmarks.timeline import Stamp
from benchmarks.tree import supervisor
from tests.lab.command import NotReached, wait_until
from tests.lab.dhcp import DhcpServer
from tests.lab.process import Process

AF_PACKET = 17
API, SUPERVISOR, WORKER, CLIENT, SERVER, USER = "api", "supervisor", "worker", "udhcpc", "DHCP server", "user"
OFFSPRING = {WORKER: WORKER, CLIENT: CLIENT, API: API}  # what the API forks are threads
DISCOVER, ACK, ACKED = "DHCPDISCOVER sent", "DHCPACK sent", "DHCPACK received"
SPARE, SPARE_PROCESSES, SPARE_SECONDS = "nd-spare", 2, 5.0
A_REQUEST = 16  # bytes at least: what wakes gunicorn's loop has one

Does = Callable[[Event], bool]


def _received(event: Event) -> bool:
    return event.name in ("sys_read", "sys_recvfrom") and event.value > 0


def _requested(event: Event) -> bool:
    return event.name == "sys_recvfrom" and event.value > A_REQUEST


def _packet_socket(event: Event) -> bool:
    return event.name == "sys_socket" and event.value == AF_PACKET


def _call(name: str) -> Does:
    return lambda event: event.name == name


@dataclass(frozen=True, slots=True)
class Phase:
    """It ends with the first event, after the end of the phase before, by which `process` does that."""

    process: str
    what: str
    does: Does


CREATION = (
    Phase(API, "CreateEndpoint received", _requested),
    Phase(API, "passed on", _call("sys_write")),
    Phase(SUPERVISOR, "taken", _received),
    Phase(SUPERVISOR, "worker told", _call("sys_write")),
    Phase(WORKER, "taken", _received),
    Phase(WORKER, "link made", _packet_socket),
    Phase(WORKER, DISCOVER, _call("sys_sendto")),
    Phase(SERVER, "DHCPOFFER sent", _call("sys_sendmsg")),
    Phase(SERVER, ACK, _call("sys_sendmsg")),
    Phase(WORKER, ACKED, _received),
    Phase(WORKER, "lease reported", _call("sys_write")),
    Phase(SUPERVISOR, "report taken", _received),
    Phase(API, "reply taken", _received),
    Phase(API, "CreateEndpoint answered", _call("sys_sendto")),
)
JOINING = (
    Phase(API, "Join received", _requested),
    Phase(API, "passed on", _call("sys_write")),
    Phase(SUPERVISOR, "taken", _received),
    Phase(API, "reply taken", _received),
    Phase(API, "Join answered", _call("sys_sendto")),
    Phase(WORKER, "sandbox entered", _call("sys_setns")),
    Phase(CLIENT, "executed", _call("sched_process_exec")),
    Phase(CLIENT, DISCOVER, _call("sys_sendto")),
    Phase(SERVER, "DHCPOFFER sent", _call("sys_sendmsg")),
    Phase(CLIENT, "DHCPREQUEST sent", _call("sys_sendto")),
    Phase(SERVER, ACK, _call("sys_sendmsg")),
)


@dataclass(frozen=True, slots=True)
class Cast:
    """Who takes part: all processes of the plugin, and the DHCP server."""

    plugin: Callable[[], Sequence[Process]]
    server: DhcpServer

    def roles(self) -> dict[int, str]:
        """What each thread is now. Waits for the spare worker and its turn."""
        found = wait_until(self._with_spare, "the spare worker", SPARE_SECONDS)
        threads = [task for p in found if p.name == "nd-api" for task in Path(f"/proc/{p.pid}/task").iterdir()]
        server = self.server.process
        assert server is not None
        workers = {p.pid: WORKER for p in found if p.name == SPARE}
        return {
            **{int(task.name): API for task in threads},
            **workers,
            supervisor(found).pid: SUPERVISOR,
            server.pid: SERVER,
        }

    def _with_spare(self) -> Sequence[Process]:
        found = self.plugin()
        return found if sum(process.name == SPARE for process in found) == SPARE_PROCESSES else ()


def traced(kernel: Tracer, cast: Cast, phases: Sequence[Phase], act: Callable[[], float]) -> list[Stamp]:
    """The end of each phase of what `act` does, and its answer, whose `time.monotonic()` it gives; since the beginning.

    Raises NotReached for a phase that is not seen.
    """
    roles = cast.roles()
    kernel.start(roles)
    began = time.monotonic()
    answered = act()
    events = [event for event in kernel.stop() if event.time >= began]
    ends = [*_ends(events, roles, phases), Stamp(USER, "answered", answered)]
    return [replace(end, at=(end.at - began) * 1000) for end in ends]


def exchange(creation: Sequence[Stamp]) -> float:
    """The milliseconds from the first packet until the DHCPACK is there: those of the LAN and its server."""
    ends = {stamp.what: stamp.at for stamp in creation}
    return ends[ACKED] - ends[DISCOVER]


def _ends(events: Sequence[Event], roles: Mapping[int, str], phases: Sequence[Phase]) -> list[Stamp]:
    ends, rest = [], _attributed(events, roles)
    for phase in phases:
        end = next((event for event, doer in rest if doer == phase.process and phase.does(event)), None)
        if end is None:
            raise NotReached(f"{phase.process}: {phase.what}: not seen in a trace of {len(events)} events")
        ends.append(Stamp(phase.process, phase.what, end.time))
    return ends


def _attributed(events: Iterable[Event], roles: Mapping[int, str]) -> Iterator[tuple[Event, str | None]]:
    """Each event with the process that it is of; None for one that takes no part."""
    known: dict[int, str | None] = dict(roles)
    for event in events:
        doer = known.get(event.thread)
        if doer == WORKER and event.name == "sched_process_exec":
            doer = known[event.thread] = CLIENT
        yield event, doer
        if event.name == "sched_process_fork":
            known[event.value] = OFFSPRING.get(doer) if doer else None
