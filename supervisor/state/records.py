"""The records that go to disk: networks, endpoints with their leases, bindings. msgspec turns them into JSON and back.

A missing field gets its default, an unknown one is ignored, and any other text of another form raises ValueError.

The times of a lease are seconds of `boottime()`, which begins anew with each boot. So each record is stored with the id
of the boot and the Unix time at which that boot began. A step of the wall clock changes nothing until the next boot.
"""

import time
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address
from typing import Any, Generic, TypeVar, cast

from msgspec import convert, json

from supervisor.domain.options import NetworkOptions
from supervisor.domain.phases import Phase
from supervisor.engine.container_files import Identity
from workers.contract.client_identity import ClientIdentity, legal_hostname
from workers.contract.lease import AnyLease, Family, Lease, Lease6, Route
from workers.contract.link import LinkSpec
from workers.contract.messages import EndpointSpec
from workers.system.clock import boot_id, boottime

SHORT_ID = 12  # characters: the host name that the engine gives to a container without one
T = TypeVar("T")
L = TypeVar("L", bound=AnyLease)


@dataclass(frozen=True, slots=True)
class Network:
    """One network; `id` is Docker's. `given` are its options as the user wrote them, `created` is a Unix time.

    A network of an older version has neither.
    """

    id: str
    options: NetworkOptions
    given: dict[str, str] = field(default_factory=dict, compare=False)
    created: float | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Origin:
    """The origin of an endpoint: the values that Docker gave and must not be told, and the key of its identity.

    `keep_lease`: the option `release=keep` holds. `hostname` is the endpoint's own, and `hostname_is_id` the network's
    `hostname=id`. `interface` is the name that the link is to have in the container.
    """

    given_mac: bool = False
    given_address: bool = False
    key: str | None = None
    keep_lease: bool = False
    given_address6: bool = False
    hostname: str | None = None
    hostname_is_id: bool = False
    interface: str | None = None

    def name_on_lan(self, identity: Identity | None) -> str | None:
        """The host name that the DHCP server gets. The dots of a container's name make no domain."""
        if self.hostname is not None or identity is None:
            return self.hostname
        chosen = identity.hostname not in ("", identity.id[:SHORT_ID])
        return legal_hostname(
            identity.hostname if chosen or self.hostname_is_id else identity.lasting_name.replace(".", "-")
        )


@dataclass(frozen=True, slots=True)
class LeaseRecord:
    """A lease of an endpoint: `obtained` when its address was new, `renewed` when a server last confirmed it.

    Both are Unix times. `held`: the lease is not released yet.
    """

    lease: AnyLease
    held: bool = True
    obtained: float = 0.0
    renewed: float = 0.0


@dataclass(frozen=True, slots=True)
class EndpointRecord:
    """An endpoint as the next instance finds it, with at most one lease of each family.

    `gateway` is the one in our answer to Join; `created` the `boottime()` of that to CreateEndpoint. `interface` is the
    link's name in the sandbox. `before_boot`: the host has rebooted since, so nothing is left of it but its leases.
    """

    spec: EndpointSpec
    phase: Phase
    origin: Origin = Origin()
    identity: Identity | None = None
    sandbox_key: str | None = None
    leases: tuple[LeaseRecord, ...] = ()
    routes: tuple[Route, ...] = ()
    gateway: IPv4Address | None = None
    created: float = 0.0
    interface: str | None = None
    before_boot: bool = False


@dataclass(frozen=True, slots=True)
class Binding:
    """The last identity of `key` (supervisor.state.bindings) on a network; `updated` is a Unix time.

    `leases` are those that no endpoint has and that are not released yet. They are released at `release_at`, a
    `boottime()` that the next instance sets anew. `addresses` are text, as records hold no unions of addresses.
    `last` are the owner's last leases, until they are released; they may have run out. `ownerless`: the owner was
    removed, so the binding goes with its last lease.
    """

    network_id: str
    key: str
    mac: str
    client_identity: ClientIdentity
    link: LinkSpec
    updated: float
    addresses: dict[Family, str] = field(default_factory=dict)
    leases: dict[Family, AnyLease] = field(default_factory=dict)
    release_at: float | None = None
    ownerless: bool = False
    last: dict[Family, AnyLease] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stored(Generic[T]):
    """A record as it lies on disk; `booted` is the Unix time at which the boot began."""

    record: T
    boot: str = ""
    booted: float = 0.0

    def age(self, lease: L) -> L:
        """The lease in the present `boottime()`. A wall clock that was set back never makes it younger."""
        age = max(0.0, time.time() - self.booted - lease.obtained)
        return lease.renewed(boottime() - age)


def to_json(record: object) -> str:
    """The text to store."""
    return _ENCODER.encode(Stored(record, boot_id(), time.time() - boottime())).decode()


def from_json(kind: type[T], text: str) -> T:
    """A record of this kind. Raises ValueError for a text of another form."""
    stored: Stored[T] = _DECODERS[kind].decode(text)
    return stored.record if stored.boot == boot_id() else cast(T, _aged(stored))


def _aged(stored: Stored[Any]) -> Any:  # noqa: ANN401  the kind of record that came
    record = stored.record
    match record:
        case LeaseRecord():
            return replace(record, lease=stored.age(record.lease))
        case Binding():
            leases, last = ({f: stored.age(lease) for f, lease in of.items()} for of in (record.leases, record.last))
            return replace(record, leases=leases, last=last)
        case EndpointRecord(spec):
            ipv4 = None if spec.remembered is None else stored.age(spec.remembered)
            ipv6 = None if spec.remembered6 is None else stored.age(spec.remembered6)
            spec = replace(spec, remembered=ipv4, remembered6=ipv6)
            return replace(record, spec=spec, before_boot=stored.boot != "")  # version 1 does not tell
    return record


def _read(wanted: Any, value: Any) -> Any:  # noqa: ANN401  msgspec's
    """A value of a type that msgspec does not know."""
    if wanted is AnyLease:
        is_ipv6 = isinstance(value, dict) and ":" in str(value.get("address"))
        return convert(value, Lease6 if is_ipv6 else Lease, dec_hook=_read)
    return wanted(value)


_ENCODER = json.Encoder(enc_hook=str)  # for addresses and networks of `ipaddress`

_DECODERS: dict[Any, json.Decoder[Any]] = {
    kind: json.Decoder(stored, dec_hook=_read)
    for kind, stored in (
        (Network, Stored[Network]),
        (EndpointRecord, Stored[EndpointRecord]),
        (LeaseRecord, Stored[LeaseRecord]),
        (Binding, Stored[Binding]),
    )
}
