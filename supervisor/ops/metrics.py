"""The numbers that Prometheus scrapes, in its text format and by its conventions for names.

A job makes the text: forked from the supervisor, it has all state in its memory, so that nothing is copied to it and
nobody waits for it. It also loads prometheus_client, which no process keeps. Must not change anything.
"""

import gzip
import os
import time
import urllib.request
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

from supervisor.contract.messages import Health
from supervisor.domain.lease_states import lease_state
from supervisor.domain.tally import BOUNDS, Tally
from supervisor.endpoint.endpoint import RENEWALS, Endpoint
from supervisor.engine.facts import Engine
from supervisor.ops.loads import Load, children_of, load_of
from supervisor.runtime.child import Child
from supervisor.runtime.stand_ins import stand_ins
from supervisor.state.records import LeaseRecord
from workers.contract.errors import Failing
from workers.contract.lease import Family
from workers.contract.messages import Trouble
from workers.system.clock import boottime

if TYPE_CHECKING:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

NICENESS = 10  # a container's start comes first
COMPRESSION = 1
PREFIX = "net_dhcp_"
Labels = tuple[str, str, str, str]  # the values of LABELS
LABELS = ("endpoint", "network", "container", "family")
COUNTED = {
    RENEWALS: ("renewals", "Renewals that a server has confirmed"),
    Trouble.NAK: ("naks", "Refusals of the address by the server"),
    Trouble.CONFLICT: ("conflicts", "Claims of the address by other machines"),
    Trouble.NO_ANSWER: ("outages", "Times in which no server answered until T2 or longer"),
}


@dataclass(frozen=True, slots=True)
class Scene:
    """The state of the plugin at the time of the scrape. `services` are the children that belong to no endpoint."""

    health: Health
    endpoints: tuple[Endpoint, ...]
    engine: Engine
    services: tuple[Child, ...]
    tally: Tally


def write(scene: Scene, channel: Connection) -> None:
    """Sends the compressed text. To be called in a process of its own, which ends then."""
    os.nice(NICENESS)
    if not hasattr(urllib.request, "HTTPSHandler"):  # the plugin's Python has none, and nothing is pushed here
        urllib.request.HTTPSHandler = urllib.request.HTTPHandler  # type: ignore[misc, assignment]
    with stand_ins():
        from prometheus_client.exposition import generate_latest

    text = generate_latest(_Collector(scene))
    channel.send(gzip.compress(text, COMPRESSION))


@dataclass(frozen=True, slots=True)
class _Collector:
    scene: Scene

    def collect(self) -> "Iterator[Metric]":
        """What prometheus_client writes."""
        yield from _of_plugin(self.scene)
        yield from _of_leases(self.scene)
        yield from _of_processes(self.scene)
        yield from _of_requests(self.scene.tally)


def _of_plugin(scene: Scene) -> "Iterator[Metric]":
    health = scene.health
    yield _gauge(
        "info", "Version and instance of the plugin", ("version", "instance"), [(health.version, health.instance, 1)]
    )
    yield _gauge("healthy", "1 if /healthz has no problems", (), [(health.healthy,)])
    yield _gauge("problems", "Problems that /healthz tells of", (), [(len(health.problems),)])
    yield _gauge("engine_connected", "1 if the Docker Engine answers", (), [(health.engine_connected,)])
    yield _gauge("start_time_seconds", "When the plugin was started", (), [(time.time() - health.uptime,)])
    yield _gauge("networks", "Networks of this plugin", (), [(health.networks,)])
    phases = [endpoint.phase for endpoint in scene.endpoints]
    counted = [(phase, phases.count(phase)) for phase in dict.fromkeys(phases)]
    yield _gauge("endpoints", "Endpoints of this plugin", ("phase",), counted)


def _of_leases(scene: Scene) -> "Iterator[Metric]":
    """One series for each lease, under the labels that name it."""
    now, wall = boottime(), time.time()
    leases: list[tuple[Labels, Endpoint, Family, LeaseRecord]] = []
    for endpoint in scene.endpoints:
        labels = _labels(endpoint, scene.engine)
        leases += [((*labels, family), endpoint, family, one) for family, one in endpoint.leases.items()]
    info = (*LABELS, "mac", "address", "server", "state")
    rows = [(*labels, *_told(endpoint, one, now), 1) for labels, endpoint, _, one in leases]
    yield _gauge("lease_info", "What the lease is, and its state", info, rows)
    ends = [(*labels, wall + at - now) for labels, _, _, one in leases if (at := one.lease.expires) is not None]
    yield _gauge("lease_expiry_timestamp_seconds", "When the lease ends unless it is renewed", LABELS, ends)
    renewed = [(*labels, one.renewed) for labels, _, _, one in leases]
    yield _gauge("lease_last_renewal_timestamp_seconds", "When a server last confirmed the lease", LABELS, renewed)
    lasting = [(*labels, seconds) for labels, _, _, one in leases if (seconds := one.lease.duration) is not None]
    yield _gauge("lease_duration_seconds", "How long the server has granted the lease", LABELS, lasting)
    for kind, (name, text) in COUNTED.items():
        counts = [(*labels, endpoint.counts[family, kind]) for labels, endpoint, family, _ in leases]
        yield _counter(f"lease_{name}", text, LABELS, counts)


def _labels(endpoint: Endpoint, engine: Engine) -> tuple[str, str, str]:
    """What names an endpoint; a name may come from outside, so it is made such that it can be written."""
    network_id = endpoint.spec.network_id
    container = endpoint.identity.name if endpoint.identity else ""
    network = engine.network_name(network_id) or network_id[:12]
    return endpoint.spec.endpoint_id[:12], _writable(network), _writable(container)


def _writable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def _told(endpoint: Endpoint, one: LeaseRecord, now: float) -> tuple[str, str, str, str]:
    lease = one.lease
    mac = endpoint.spec.mac if endpoint.spec.link.has_own_mac else ""
    server = "" if lease.is_guess else lease.source
    return mac, str(lease.address.ip), server, lease_state(lease, now)


def _of_processes(scene: Scene) -> "Iterator[Metric]":
    """What each process costs. A worker's turns are in its processor time as soon as they have ended."""
    labels = ("name", "role", "endpoint")
    loads: dict[tuple[str, str, str], Load] = {}
    states: list[tuple[str | float, ...]] = []
    for child, pids, endpoint in _processes(scene):
        key = (child.name, child.role, endpoint)
        states.append((*key, child.state, 1))
        found = [load for pid in pids if (load := load_of(pid, with_ended=child.role == "worker")) is not None]
        if found:
            loads[key] = sum(found[1:], found[0])
    for one in scene.endpoints:
        for pid in one.worker.clients.values():
            if (load := load_of(pid)) is not None:
                loads["udhcpc", "udhcpc", one.spec.endpoint_id[:12]] = load
    if (own := load_of(os.getppid())) is not None:
        loads["supervisor", "supervisor", ""] = own
    rows = loads.items()
    yield _counter("process_cpu_seconds", "Processor time", labels, [(*key, load.cpu) for key, load in rows])
    memory = [(*key, load.rss) for key, load in rows]
    yield _gauge("process_resident_memory_bytes", "Memory, shared pages counted in full", labels, memory)
    yield _gauge("process_open_fds", "Open descriptors", labels, [(*key, load.descriptors) for key, load in rows])
    yield _gauge("process_state", "The state of a child of the supervisor", (*labels, "state"), states)
    services = [(child.role, max(0, child.restarts)) for child in scene.services]
    yield _counter("process_restarts", "How often a service has been started again", ("role",), services)
    workers = [(*_labels(one, scene.engine), max(0, one.worker.child.restarts)) for one in scene.endpoints]
    yield _counter("worker_restarts", "How often a worker has been started again", LABELS[:3], workers)


def _processes(scene: Scene) -> Iterator[tuple[Child, tuple[int, ...], str]]:
    """The supervisor's children with all of their processes, and the endpoint that they work for."""
    for child in scene.services:
        below = children_of(child.pid) if child.pid is not None and child.role in ("api", "ops") else ()
        yield child, () if child.pid is None else (child.pid, *below), ""
    for endpoint in scene.endpoints:
        child = endpoint.worker.child
        yield child, () if child.pid is None else (child.pid,), endpoint.spec.endpoint_id[:12]


def _of_requests(tally: Tally) -> "Iterator[Metric]":
    from prometheus_client.core import HistogramMetricFamily

    failures = [(str(kind), tally.failures[kind]) for kind in Failing]
    yield _counter("failures", "Starts that failed", ("kind",), failures)
    troubles = [(kind.replace(" ", "_"), tally.troubles[kind]) for kind in Trouble]
    yield _counter("lease_troubles", "Troubles of leases that were held", ("kind",), troubles)
    errors = [(*names, number) for names, number in tally.errors.items()]
    yield _counter("request_errors", "Requests of the engine that were refused or failed", ("call", "error"), errors)
    bounds = (*map(str, BOUNDS), "+Inf")
    durations = HistogramMetricFamily(
        f"{PREFIX}request_duration_seconds", "How long the engine waited for an answer", labels=["call"]
    )
    for call, one in tally.calls.items():
        durations.add_metric([call], list(zip(bounds, accumulate(one.counts), strict=True)), one.seconds)
    yield durations


Row = tuple[str | float, ...]  # values of labels, then the number


def _gauge(name: str, text: str, labels: Iterable[str], rows: Iterable[Row]) -> "Metric":
    from prometheus_client.core import GaugeMetricFamily

    return _filled(GaugeMetricFamily(PREFIX + name, text, labels=list(labels)), rows)


def _counter(name: str, text: str, labels: Iterable[str], rows: Iterable[Row]) -> "Metric":
    from prometheus_client.core import CounterMetricFamily

    return _filled(CounterMetricFamily(PREFIX + name, text, labels=list(labels)), rows)


def _filled(family: "GaugeMetricFamily | CounterMetricFamily", rows: Iterable[Row]) -> "Metric":
    for *labels, number in rows:
        family.add_metric([str(label) for label in labels], float(number))
    return family
