"""One `docker run -d` from the command to the lease's confirmation in the sandbox: which process did what when.

Owns what the kernel's events mean. Must not know how the figures are shown.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import OURS, Figures
from benchmarks.ftrace import Event, Tracer, tracer
from benchmarks.life import CONTAINER
from benchmarks.networks import NETWORKS
from benchmarks.serverlog import Acknowledged
from benchmarks.timeline import Stamp
from tests.lab.command import NotReached
from tests.lab.containers import Container
from tests.lab.lab import Lab
from tests.lab.plugin import Plugin

AF_PACKET = 17
API, SUPERVISOR, WORKER, CLIENT, SERVER, USER = "api", "supervisor", "worker", "udhcpc", "DHCP server", "user"
OFFSPRING = {SUPERVISOR: WORKER, WORKER: CLIENT, CLIENT: CLIENT, API: API}  # what the API forks are threads
A_REQUEST = 16  # bytes at least: what wakes gunicorn's loop has one

Does = Callable[[Event], bool]


def _received(event: Event) -> bool:
    return event.name in ("sys_read", "sys_recvfrom") and event.value > 0


def _requested(event: Event) -> bool:
    return event.name == "sys_recvfrom" and event.value > A_REQUEST


def _call(*names: str) -> Does:
    return lambda event: event.name in names


def _packet_socket(event: Event) -> bool:
    return event.name == "sys_socket" and event.value == AF_PACKET


@dataclass(frozen=True, slots=True)
class Phase:
    """Its end: the first event, after the end of the phase before, with which `process` does that."""

    process: str
    what: str
    does: Does


PHASES = (
    Phase(API, "CreateEndpoint received", _requested),
    Phase(API, "passed on", _call("sys_write")),
    Phase(SUPERVISOR, "taken", _received),
    Phase(SUPERVISOR, "worker forked", _call("sched_process_fork")),
    Phase(WORKER, "link made", _packet_socket),
    Phase(WORKER, "DHCPDISCOVER sent", _call("sys_sendto")),
    Phase(SERVER, "DHCPOFFER sent", _call("sys_sendmsg")),
    Phase(SERVER, "DHCPACK sent", _call("sys_sendmsg")),
    Phase(WORKER, "lease reported", _call("sys_write")),
    Phase(SUPERVISOR, "report taken", _received),
    Phase(API, "reply taken", _received),
    Phase(API, "CreateEndpoint answered", _call("sys_sendto")),
    Phase(API, "Join received", _requested),
    Phase(API, "passed on", _call("sys_write")),
    Phase(SUPERVISOR, "taken", _received),
    Phase(API, "reply taken", _received),
    Phase(API, "Join answered", _call("sys_sendto")),
    Phase(WORKER, "sandbox entered", _call("sys_setns")),
    Phase(CLIENT, "executed", _call("sched_process_exec")),
)


def measure_phases(lab: Lab, plugin: Plugin, traces: int, figures: Figures) -> None:
    """So many starts, one after the other; raises NotReached where one has skipped a phase."""
    container = Container(plugin.docker, CONTAINER)
    with tracer() as kernel:
        for _ in range(traces):
            try:
                figures.timelines.append(_traced_start(lab, plugin, kernel))
            finally:
                container.remove()


def _traced_start(lab: Lab, plugin: Plugin, kernel: Tracer) -> list[Stamp]:
    acknowledged, roles = Acknowledged(lab.dhcp), _roles(lab, plugin)
    kernel.start(roles)
    began = time.monotonic()
    Container.run(plugin.docker, CONTAINER, "--network", NETWORKS[OURS])
    returned = time.monotonic()
    acknowledged.wait_for_clients(1)
    events = [event for event in kernel.stop() if event.time >= began]
    doers = _doers(events, roles)
    ends = [*_ends(events, doers), Stamp(SERVER, "DHCPACK to udhcpc", _last_packet(events, doers))]
    ends.append(Stamp(USER, "docker run returned", returned))
    return [Stamp(end.process, end.what, (end.at - began) * 1000) for end in ends]


def _roles(lab: Lab, plugin: Plugin) -> dict[int, str]:
    """What each thread is that takes part, now."""
    found = plugin.processes()
    supervisor = min(found, key=lambda process: (process.started, process.pid))
    roles = {int(task.name): API for p in found if p.name == "nd-api" for task in Path(f"/proc/{p.pid}/task").iterdir()}
    server = lab.dhcp.process
    assert server is not None
    return {**roles, supervisor.pid: SUPERVISOR, server.pid: SERVER}


def _doers(events: Sequence[Event], roles: Mapping[int, str]) -> list[str | None]:
    """Who each event is of; None for a process that takes no part."""
    known: dict[int, str | None] = dict(roles)
    doers = []
    for event in events:
        doer = known.get(event.thread)
        doers.append(doer)
        if event.name == "sched_process_fork":
            known[event.value] = OFFSPRING.get(doer) if doer else None
    return doers


def _ends(events: Sequence[Event], doers: Sequence[str | None]) -> list[Stamp]:
    ends, rest = [], iter(zip(events, doers, strict=True))
    for phase in PHASES:
        end = next((event for event, doer in rest if doer == phase.process and phase.does(event)), None)
        if end is None:
            raise NotReached(f"{phase.process}: {phase.what}: not seen in a trace of {len(events)} events")
        ends.append(Stamp(phase.process, phase.what, end.time))
    return ends


def _last_packet(events: Sequence[Event], doers: Sequence[str | None]) -> float:
    return max(e.time for e, doer in zip(events, doers, strict=True) if doer == SERVER and e.name == "sys_sendmsg")
