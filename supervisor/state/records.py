"""What is kept on disk of networks, endpoints and identities, as typed records, and their form as JSON.

A lease's times are `boottime()` seconds. On disk they go with the id of that boot, and with Unix times beside them for
the next one: a step of the wall clock changes nothing until the machine boots.
"""

import json
import time
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Any

from supervisor.domain.options import NetworkOptions
from supervisor.domain.phases import Phase
from supervisor.engine.container_files import Identity
from workers.contract.lease import Family, Lease, Route
from workers.contract.link import LinkKind, LinkSpec
from workers.contract.messages import ConflictCheck, EndpointSpec
from workers.system.clock import boot_id, boottime


@dataclass(frozen=True, slots=True)
class Network:
    """One network; `id` is Docker's."""

    id: str
    options: NetworkOptions


@dataclass(frozen=True, slots=True)
class Origin:
    """How an endpoint came about: what Docker gave and is not to be told, whose identity it has.

    `keep_lease`: the network's option `release=keep`.
    """

    given_mac: bool = False
    given_address: bool = False
    key: str | None = None
    keep_lease: bool = False


@dataclass(frozen=True, slots=True)
class LeaseRecord:
    """A lease of an endpoint: `obtained` when its address was new, `renewed` when a server last confirmed it.

    `held`: it has not been given back yet.
    """

    lease: Lease
    held: bool
    obtained: float
    renewed: float


@dataclass(frozen=True, slots=True)
class EndpointRecord:
    """An endpoint as the next instance finds it, with at most one lease of a family.

    `gateway` is what Docker was told at Join.
    """

    spec: EndpointSpec
    phase: Phase
    origin: Origin
    identity: Identity | None
    sandbox_key: str | None
    leases: tuple[LeaseRecord, ...]
    routes: tuple[Route, ...]
    gateway: IPv4Address | None

    @property
    def ipv4(self) -> LeaseRecord | None:
        """Its IPv4 lease."""
        return next((one for one in self.leases if one.lease.family is Family.IPV4), None)


@dataclass(frozen=True, slots=True)
class Binding:
    """What `key` (supervisor.state.bindings) had on a network when it was last there.

    `lease` is set while it is still held although no endpoint has it; it is given back at `release_at`,
    a `boottime()` that the next instance sets anew.
    """

    network_id: str
    key: str
    mac: str
    address: IPv4Address | None
    link: LinkSpec
    updated: float
    lease: Lease | None = None
    release_at: float | None = None


def options_to_json(options: NetworkOptions) -> str:
    """One object with NetworkOptions' fields."""
    return json.dumps({name: getattr(options, name) for name in NetworkOptions.__slots__})


def options_from_json(text: str) -> NetworkOptions:
    """Raises ValueError or TypeError for another form."""
    seen = json.loads(text)
    return NetworkOptions(**seen | {"conflict": ConflictCheck(seen["conflict"])})


def lease_to_json(lease: Lease | None) -> str | None:
    """One object with Lease's fields."""
    if lease is None:
        return None
    return json.dumps(
        {
            "address": str(lease.address),
            "server": _text(lease.server),
            "duration": lease.duration,
            "obtained": time.time() - (boottime() - lease.obtained),
            "boot": boot_id(),
            "boottime": lease.obtained,
            "routers": [str(a) for a in lease.routers],
            "classless": _routes(lease.classless),
            "static": _routes(lease.static),
            "dns": [str(a) for a in lease.dns],
            "domain": lease.domain,
            "mtu": lease.mtu,
        }
    )


def lease_from_json(text: str | None) -> Lease | None:
    """Raises ValueError, KeyError or TypeError for another form."""
    if text is None:
        return None
    seen = json.loads(text)
    return Lease(
        address=IPv4Interface(seen["address"]),
        server=_address(seen["server"]),
        duration=seen["duration"],
        obtained=_obtained(seen),
        routers=tuple(IPv4Address(a) for a in seen["routers"]),
        classless=_parsed(seen["classless"]),
        static=_parsed(seen["static"]),
        dns=tuple(IPv4Address(a) for a in seen["dns"]),
        domain=seen["domain"],
        mtu=seen["mtu"],
    )


def _obtained(seen: dict[str, Any]) -> float:
    """The `boottime()` of now; another boot's ended with it, and only the wall clock knows how long ago that was."""
    if seen["boot"] == boot_id():
        return float(seen["boottime"])
    return boottime() - max(0.0, time.time() - float(seen["obtained"]))


def endpoint_to_json(record: EndpointRecord) -> str:
    """Everything but the phase and the lease that it has, which have columns of their own."""
    spec, identity, origin, ipv4 = record.spec, record.identity, record.origin, record.ipv4
    return json.dumps(
        {
            "network_id": spec.network_id,
            "endpoint_id": spec.endpoint_id,
            "bridge": spec.link.parent,
            "mac": spec.mac,
            "lease_timeout": spec.lease_timeout,
            "requested": _text(spec.requested),
            "hostname": spec.hostname,
            "skip_routes": spec.skip_routes,
            "drop_expired": spec.drop_expired,
            "remembered": lease_to_json(spec.remembered),
            "conflict": spec.conflict,
            "origin": [origin.given_mac, origin.given_address, origin.key, origin.keep_lease],
            "identity": [identity.id, identity.name, identity.hostname] if identity else None,
            "sandbox_key": record.sandbox_key,
            "routes": _routes(record.routes),
            "gateway": _text(record.gateway),
            "obtained": ipv4.obtained if ipv4 else None,
            "renewed": ipv4.renewed if ipv4 else None,
        }
    )


def endpoint_from_json(text: str, phase: str, held: bool, lease: str | None) -> EndpointRecord:
    """Raises ValueError, KeyError or TypeError for another form."""
    seen = json.loads(text)
    ipv4 = lease_from_json(lease)
    spec = EndpointSpec(
        network_id=seen["network_id"],
        endpoint_id=seen["endpoint_id"],
        link=LinkSpec(LinkKind.BRIDGE, seen["bridge"]),
        mac=seen["mac"],
        lease_timeout=seen["lease_timeout"],
        requested=_address(seen["requested"]),
        hostname=seen["hostname"],
        skip_routes=seen["skip_routes"],
        drop_expired=seen["drop_expired"],
        remembered=lease_from_json(seen["remembered"]),
        conflict=ConflictCheck(seen["conflict"]),
    )
    return EndpointRecord(
        spec=spec,
        phase=Phase(phase),
        origin=Origin(*seen["origin"]),
        identity=Identity(*seen["identity"]) if seen["identity"] else None,
        sandbox_key=seen["sandbox_key"],
        leases=() if ipv4 is None else (LeaseRecord(ipv4, held, seen["obtained"], seen["renewed"]),),
        routes=_parsed(seen["routes"]),
        gateway=_address(seen["gateway"]),
    )


def _text(address: IPv4Address | None) -> str | None:
    return None if address is None else str(address)


def _address(text: str | None) -> IPv4Address | None:
    return None if text is None else IPv4Address(text)


def _routes(routes: tuple[Route, ...]) -> list[list[str | None]]:
    return [[str(route.destination), _text(route.next_hop)] for route in routes]


def _parsed(pairs: list[list[Any]]) -> tuple[Route, ...]:
    return tuple(Route(IPv4Network(destination), _address(hop)) for destination, hop in pairs)
