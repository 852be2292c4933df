"""Turns the plugin's state into the plain values that operators see."""

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Address, ip_address
from typing import TYPE_CHECKING

from supervisor.contract import messages as m
from supervisor.contract.errors import Conflict, NotFound
from supervisor.domain.lease_states import LeaseState, lease_state
from supervisor.domain.phases import Phase
from supervisor.endpoint.endpoint import Endpoint
from supervisor.engine.facts import Engine
from supervisor.engine.identity import Alike
from supervisor.runtime.child import Child
from supervisor.runtime.child_states import ChildState
from supervisor.state.bindings import is_found
from supervisor.state.records import Network
from workers.contract.exchange import KINDS, ROWS, Messages
from workers.contract.finding import Finding
from workers.contract.lease import AnyLease, Family, Lease, Lease6
from workers.system.clock import boottime

if TYPE_CHECKING:
    from supervisor.ops.sampling import Sample  # only processes that take samples load psutil

SHORT_ID = 12  # characters: as `docker` prints an id
BIRTH_SECONDS = 5.0  # in which an ordered worker has a process, also on a busy machine
ENGINE_SECONDS = 10.0  # from the plugin's start on: at a boot dockerd's socket is there before the plugin is
ROLES_BELOW = {"worker": "turn", "spare": "turn"}


def view_endpoint(endpoint: Endpoint, engine: Engine) -> m.EndpointView:
    """One row of the list of endpoints."""
    spec, identity, ipv4 = endpoint.spec, endpoint.identity, endpoint.leases.get(Family.IPV4)
    lease = ipv4.lease if ipv4 and isinstance(ipv4.lease, Lease) else None
    return m.EndpointView(
        endpoint_id=spec.endpoint_id,
        network_id=spec.network_id,
        network=engine.network_name(spec.network_id),
        mode=spec.link.kind,
        parent=spec.link.parent,
        container_id=identity.id if identity else None,
        container=identity.name if identity else None,
        hostname=endpoint.hostname,
        phase=endpoint.phase,
        interface=endpoint.interface,
        host_link=spec.link.host_end(spec.endpoint_id),
        mac=spec.mac if spec.link.has_own_mac else None,
        pinned=endpoint.origin.key is not None and not is_found(endpoint.origin.key),
        address=lease.address if lease else None,
        gateway=spec.applied(lease).gateway if lease else None,
        dns=lease.dns if lease else (),
        domain=lease.domain if lease else None,
        ntp=lease.ntp if lease else (),
        server=lease.server if lease else None,
        lease_state=lease_state(lease, boottime()) if lease else None,
        lease_seconds=lease.duration if lease else None,
        obtained=ipv4.obtained if ipv4 else None,
        renewed=ipv4.renewed if ipv4 else None,
        expires=_wall_clock(lease) if lease else None,
        last_trouble=endpoint.troubles.get(Family.IPV4),
        ipv6=_view_ipv6(endpoint),
        worker_pid=endpoint.worker.child.pid,
        udhcpc_pid=endpoint.worker.clients.get(Family.IPV4),
    )


def view_detail(endpoint: Endpoint, engine: Engine) -> m.EndpointDetail:
    """The answer about one endpoint alone."""
    row = view_endpoint(endpoint, engine)
    messages = tuple(sorted(view_messages(endpoint.messages), key=lambda one: one.time))
    return m.EndpointDetail(**{name: getattr(row, name) for name in row.__struct_fields__}, messages=messages)


def view_messages(messages: Messages) -> Iterator[m.MessageView]:
    """Those of each family in their order."""
    for family, rows in messages.items():
        for when, kind, sent, xid, address, server in ROWS[family].iter_unpack(rows):
            yield m.MessageView(
                time=when,
                family=family,
                kind=KINDS[family](kind).name.replace("_", "-"),
                sent=sent,
                xid=(f"{xid:08x}" if family is Family.IPV4 else f"{xid:06x}") if xid else None,
                address=ip_address(address) if address else None,
                server=_server(family, server) or None,
            )


def _server(family: Family, raw: bytes) -> str:
    """As the leases show it."""
    return str(IPv4Address(raw)) if family is Family.IPV4 and raw else raw.hex(":")


def _view_ipv6(endpoint: Endpoint) -> m.Ipv6View | None:
    record = endpoint.leases.get(Family.IPV6)
    if record is None or not isinstance(record.lease, Lease6):
        return None
    lease = record.lease
    return m.Ipv6View(
        address=lease.address,
        router=lease.router,
        server=lease.server.hex(":") or None,
        lease_state=lease_state(lease, boottime()),
        lease_seconds=lease.duration,
        preferred_seconds=lease.preferred,
        obtained=record.obtained,
        renewed=record.renewed,
        expires=_wall_clock(lease),
        last_trouble=endpoint.troubles.get(Family.IPV6),
    )


def matches(endpoint: Endpoint, asked: m.ListEndpoints, engine: Engine) -> bool:
    """Whether the endpoint matches the question; one lease in the state that is asked for is enough."""
    network_id, now = endpoint.spec.network_id, boottime()
    return (
        (asked.network is None or asked.network == engine.network_name(network_id) or is_id(asked.network, network_id))
        and (asked.container is None or is_of_container(endpoint, asked.container))
        and (asked.phase is None or asked.phase == endpoint.phase)
        and (
            asked.lease_state is None
            or any(asked.lease_state == lease_state(record.lease, now) for record in endpoint.leases.values())
        )
    )


def the_endpoint(endpoints: Iterable[Endpoint], name: str) -> Endpoint:
    """The one that is called so. Raises NotFound, or Conflict if there are several."""
    found = [endpoint for endpoint in endpoints if is_called(endpoint, name)]
    if not found:
        raise NotFound(f"no endpoint or container {name!r} is known to this plugin")
    if len(found) > 1:
        raise Conflict(f"{name!r} stands for {len(found)} endpoints: list them, or name one by its id")
    return found[0]


def is_called(endpoint: Endpoint, name: str) -> bool:
    """Whether `name` is the endpoint's id, or its container's name or id."""
    return is_id(name, endpoint.spec.endpoint_id) or is_of_container(endpoint, name)


def is_of_container(endpoint: Endpoint, name: str) -> bool:
    """Whether the endpoint's container has this name or id."""
    identity = endpoint.identity
    return identity is not None and (name == identity.name or is_id(name, identity.id))


def is_id(text: str, full: str) -> bool:
    """Whether `text` is this id, or enough of its beginning."""
    return len(text) >= SHORT_ID and full.startswith(text)


def networks_called(name: str, networks: Iterable[Network], engine: Engine) -> frozenset[str]:
    """The ids of the networks with this name or id."""
    return frozenset(one.id for one in networks if name == engine.network_name(one.id) or is_id(name, one.id))


def view_network(network: Network, endpoints: int, engine: Engine) -> m.NetworkView:
    """One network with so many endpoints of containers. One of an older version shows what names its interface."""
    link = network.options.link
    return m.NetworkView(
        network_id=network.id,
        network=engine.network_name(network.id),
        mode=link.kind,
        parent=link.parent,
        options=network.given or {network.options.named_by: link.parent, "mode": link.kind},
        endpoints=endpoints,
        created=network.created,
    )


def view_hint(network: Network, finding: Finding, engine: Engine) -> m.HintView:
    """One hint of `/healthz`."""
    name = engine.network_name(network.id) or network.id[:SHORT_ID]
    parent = network.options.link.parent
    return m.HintView(name, parent, finding.id, finding.severity, finding.found, finding.remedy)


def view_engine_hint(finding: Finding) -> m.EngineHintView:
    """One finding about the engine."""
    return m.EngineHintView(finding.id, finding.severity, finding.found, finding.remedy)


def view_alike(network: Network, one: Alike, engine: Engine) -> m.AlikeView:
    """One container that a boot may mix up."""
    return m.AlikeView(network.id, engine.network_name(network.id), *one)


def missing(endpoints: Iterable[Endpoint], engine: Engine, *, is_recovered: bool) -> Iterator[str]:
    """The reasons why a container cannot be started yet."""
    if not is_recovered:
        yield "the endpoints and links of the last instance are being found again"
    if engine.pid is None:
        yield "dockerd has not been found yet, and so no way into containers"
    late = [endpoint.name for endpoint in endpoints if endpoint.recovering]
    if late:
        yield f"{len(late)} containers run whose workers have not found their sandboxes yet, {late[0]} is one"


def problems(endpoints: Iterable[Endpoint]) -> tuple[str, ...]:
    """The reasons why the plugin is not well: one sentence for each endpoint in trouble.

    The lease of an endpoint counts only from Join to Leave.
    """
    return tuple(text for endpoint in endpoints if (text := _problem(endpoint)) is not None)


def _problem(endpoint: Endpoint) -> str | None:
    name = endpoint.name
    if endpoint.has_sandbox and endpoint.link_lost:
        return f"{name}: {endpoint.link_lost}"
    for family, record in endpoint.leases.items() if endpoint.has_sandbox else ():
        state = lease_state(record.lease, boottime())
        if state in (LeaseState.REBINDING, LeaseState.EXPIRED):
            return f"{name}: lease {state}, last trouble: {endpoint.troubles.get(family, 'none seen')}"
    for family in endpoint.spec.families if endpoint.phase is Phase.JOINED else ():
        if family not in endpoint.leases:
            return f"{name}: no {family} lease yet; no server has answered"
    lost = f"{name}: {endpoint.identity_lost}" if endpoint.has_sandbox and endpoint.identity_lost else None
    return _worker_problem(endpoint.worker.child, name) or lost


def _worker_problem(child: Child, name: str) -> str | None:
    """A process that was asked for a moment ago is no problem yet."""
    if child.state is ChildState.BACKOFF:
        return f"{name}: its worker has died and is started again{_reason(child)}"
    if child.pid is None and child.state is ChildState.STARTING and time.monotonic() - child.spawned > BIRTH_SECONDS:
        return f"{name}: its worker has been waited for {BIRTH_SECONDS:g} s and more"
    return None


def watcher_problems(watcher: Child, engine: Engine, uptime: float) -> Iterator[str]:
    """The reasons why the plugin does not know the engine."""
    if watcher.state is ChildState.BACKOFF:
        yield f"the engine's watcher has died and is started again{_reason(watcher)}"
    elif engine.pid is None and uptime > ENGINE_SECONDS:
        yield (
            f"dockerd has not been found since the plugin's start ({engine.lost or 'nothing was seen of it'}), and so "
            "no way into containers: see whether the plugin's mount engine is the directory of docker.sock"
        )


def _reason(child: Child) -> str:
    return "" if child.refusal is None else f" ({child.refusal})"


def view_workers(
    samples: "Iterable[Sample]", children: Iterable[Child], endpoints: Iterable[Endpoint]
) -> tuple[m.WorkerView, ...]:
    """The list of processes: the sampled ones, and our children that have no process now."""
    samples, children = tuple(samples), tuple(children)
    sampled = {sample.pid for sample in samples}
    by_pid = {child.pid: child for child in children if child.pid is not None}
    owners = {endpoint.worker.child.name: endpoint.spec.endpoint_id for endpoint in endpoints}
    clients = {pid: e.spec.endpoint_id for e in endpoints for pid in e.worker.clients.values()}
    living = tuple(
        _child_view(by_pid[s.pid], owners, s) if s.pid in by_pid else _other_view(s, by_pid, clients) for s in samples
    )
    others = tuple(_child_view(child, owners, None) for child in children if child.pid not in sampled)
    return living + others


def _child_view(child: Child, owners: Mapping[str, str], sample: "Sample | None") -> m.WorkerView:
    return m.WorkerView(
        name=child.name,
        role=child.role,
        state=child.state,
        pid=child.pid,
        endpoint_id=owners.get(child.name),
        restarts=max(0, child.restarts),
        started=child.started,
        cost=sample.cost if sample else None,
    )


def _other_view(sample: "Sample", by_pid: Mapping[int, Child], clients: Mapping[int, str]) -> m.WorkerView:
    """The supervisor itself, gunicorn's worker, a worker's turn, a udhcpc, or a process whose parent has died."""
    parent = by_pid.get(sample.parent)
    adopted = "supervisor" if sample.pid == os.getpid() else "orphan"
    role = "udhcpc" if sample.pid in clients else ROLES_BELOW.get(parent.role, parent.role) if parent else adopted
    return m.WorkerView(
        name=sample.name,
        role=role,
        state="running",
        pid=sample.pid,
        endpoint_id=clients.get(sample.pid),
        restarts=0,
        started=sample.started,
        cost=sample.cost,
    )


def _wall_clock(lease: AnyLease) -> float | None:
    return None if lease.expires is None else time.time() + lease.expires - boottime()
