"""The requests to the supervisor and its answers: the contract between it and its callers.

Requests and replies are frozen structs of msgspec: dataclasses would take 1.3 MB more. They travel as pickles over a
pair of queues, and `Request.id` tells which reply belongs to which request. Text from Docker was parsed before it gets
here: an absent value is None, never "".
"""

from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from typing import Any, Generic, TypeVar

from msgspec import Struct

from supervisor.contract.errors import RequestError
from workers.contract.lease import Route

# Requests of the plugin protocol.


class IpamPool(Struct, frozen=True):
    """One item of CreateNetwork's IPv4Data or IPv6Data; the null driver sends address space "null"."""

    address_space: str
    pool: str


class CreateNetwork(Struct, frozen=True):
    """`options` are the user's `-o key=value` pairs; `pools` are those of both families."""

    network_id: str
    options: dict[str, str]
    pools: tuple[IpamPool, ...]


class DeleteNetwork(Struct, frozen=True):
    """Also for networks that are not known."""

    network_id: str


class CreateEndpoint(Struct, frozen=True):
    """`options` are the endpoint's driver options; `interface` is the name that the link is to have in the container.

    Three fields help to tell containers apart: `exposed_ports` (protocol, port), which is None if the request says
    nothing of ports; `published`, those of them with a port on the host; and the name servers.
    """

    network_id: str
    endpoint_id: str
    mac: str | None
    address: IPv4Interface | None
    options: dict[str, str]
    exposed_ports: frozenset[tuple[int, int]] | None = None
    published: frozenset[tuple[int, int, int]] = frozenset()
    dns: frozenset[str] = frozenset()
    address6: IPv6Interface | None = None
    interface: str | None = None


class DeleteEndpoint(Struct, frozen=True):
    """Also for endpoints that are not known."""

    network_id: str
    endpoint_id: str


class OperInfo(Struct, frozen=True):
    """Asks for the values that `docker network inspect -v` shows of an endpoint."""

    network_id: str
    endpoint_id: str


class Join(Struct, frozen=True):
    """`sandbox_key` is the path of the network namespace as dockerd sees it; the file may not exist yet."""

    network_id: str
    endpoint_id: str
    sandbox_key: str


class Leave(Struct, frozen=True):
    """Also for endpoints that are not known."""

    network_id: str
    endpoint_id: str


class GetCapabilities(Struct, frozen=True):
    """The engine has made a driver of this plugin. It does so anew for each process of the plugin that it starts."""


EngineRequest = CreateNetwork | DeleteNetwork | CreateEndpoint | DeleteEndpoint | OperInfo | Join | Leave


# Requests of operators. Answers that grow with the number of containers come in pages.

PAGE_ROWS = 200
EVENT_WAIT_SECONDS = 2.0  # after this time a stream notices that its client has gone


class GetHealth(Struct, frozen=True):
    """Is the plugin well?"""


class GetEndpoint(Struct, frozen=True):
    """One endpoint, by its id or by its container's name or id."""

    name: str


class ListEndpoints(Struct, frozen=True):
    """A page of the endpoints that match and whose ids follow `after`.

    `network` and `container` are names or ids.
    """

    network: str | None = None
    container: str | None = None
    phase: str | None = None
    lease_state: str | None = None
    after: str = ""
    limit: int = PAGE_ROWS


class ListEvents(Struct, frozen=True):
    """A page of the history of leases after the event with the id `after`; None stands for the newest.

    With `wait` the answer comes as soon as there is such an event, and after EVENT_WAIT_SECONDS at the latest.
    """

    after: int | None
    limit: int = PAGE_ROWS
    wait: bool = False


class ListWorkers(Struct, frozen=True):
    """Every process of the plugin with what it costs."""


class GetReadiness(Struct, frozen=True):
    """Would a container that is started now get its lease? Answered at once, also before anything else is."""


class GetChecks(Struct, frozen=True):
    """A look at the parents of all networks, or of the one with this name or id."""

    network: str | None = None


class ProbeNetwork(Struct, frozen=True):
    """Does a DHCP server serve the LAN of the network with this name or id? Asked as a container would ask."""

    network: str


class ListNetworks(Struct, frozen=True):
    """A page of the networks whose ids follow `after`."""

    after: str = ""
    limit: int = PAGE_ROWS


class ListLeases(Struct, frozen=True):
    """A page of who held which address, behind the id `after`. It may be empty and not be the last one.

    `container` and `network` are names or ids, `address` is one without a prefix length. All that was held at some
    time from `since` to `until`, both Unix times, and at `until` if both are equal.
    """

    mac: str | None = None
    address: str | None = None
    container: str | None = None
    network: str | None = None
    since: float | None = None
    until: float | None = None
    after: int = 0
    limit: int = PAGE_ROWS


class GetMetrics(Struct, frozen=True):
    """All numbers about the plugin, as Prometheus scrapes them."""


ListQuestion = ListEndpoints | ListNetworks | ListEvents | ListLeases | ListWorkers  # their answers are long
Question = GetHealth | GetReadiness | GetMetrics | GetEndpoint | GetChecks | ProbeNetwork | ListQuestion

# What operators may change, over the plugin's own socket alone.


class RenewLease(Struct, frozen=True):
    """Ask a server now; the answer is the endpoint once a server has confirmed its leases."""

    name: str


class ReleaseLease(Struct, frozen=True):
    """Give the leases back and ask for new ones; the answer is the endpoint once there are new ones."""

    name: str


class PinEndpoint(Struct, frozen=True):
    """Keep the endpoint's identity under this id, for a connection with driver-opt=id=ID."""

    name: str
    id: str


class ForgetBinding(Struct, frozen=True):
    """Forget the identities with this id, container or MAC address that no endpoint has."""

    name: str


class SetLogLevel(Struct, frozen=True):
    """DEBUG, INFO, WARNING or ERROR, until the plugin ends."""

    level: str


Action = RenewLease | ReleaseLease | PinEndpoint | ForgetBinding | SetLogLevel
Body = EngineRequest | GetCapabilities | Question | Action


class Request(Struct, frozen=True):
    """`id` is unique within one pair of queues."""

    id: int
    body: Body


# Answers.


class View(Struct, frozen=True):
    """An answer, or a part of one, that the API tells with all of its fields."""


V = TypeVar("V", bound=View)


class Page(Struct, Generic[V], frozen=True):
    """A part of a list, sorted by id. The next page is the one after `last`, unless this one is `complete`.

    A page of events may be followed by others all the same. Without an event `last` is the id to ask after next.
    """

    rows: tuple[V, ...]
    last: str | int
    complete: bool


class Done(View, frozen=True):
    """The request was carried out; there is nothing else to tell."""


class EndpointCreated(Struct, frozen=True):
    """A field that Docker had filled in is None: the engine takes a repeated field for an error."""

    address: IPv4Interface | None
    mac: str | None
    address6: IPv6Interface | None = None


class Joined(Struct, frozen=True):
    """`source` is the link that Docker moves; `prefix` is the beginning of its name in the container, `name` all of it.

    Which of them an engine follows is in supervisor.domain.interface_names.
    """

    source: str
    prefix: str
    gateway: IPv4Address | None
    routes: tuple[Route, ...]
    name: str | None = None


class OperValues(Struct, frozen=True):
    """Free text by name."""

    values: dict[str, str]


class HintView(View, frozen=True):
    """What a check of a network's parent has found (workers.contract.finding)."""

    network: str
    parent: str
    id: str
    severity: str
    found: str
    remedy: str


class Health(View, frozen=True):
    """`problems` are the reasons why `healthy` is false, `hints` why leases may fail; `uptime` is in seconds.

    `healed` is what this instance had lost and has learnt again from the engine. `version` is the plugin's.
    """

    healthy: bool
    problems: tuple[str, ...]
    instance: str
    uptime: float
    networks: int
    endpoints: int
    engine_connected: bool
    hints: tuple[HintView, ...]
    healed: tuple[str, ...] = ()
    version: str = ""


class Readiness(View, frozen=True):
    """`awaits` are the reasons why the plugin is not ready."""

    ready: bool
    awaits: tuple[str, ...]


class EngineHintView(View, frozen=True):
    """What a check of the engine has found."""

    id: str
    severity: str
    found: str
    remedy: str


class AlikeView(View, frozen=True):
    """A container that a boot may mix up with those in `like`, and with `more` if that is true."""

    network_id: str
    network: str | None
    container_id: str
    container: str
    like: tuple[str, ...]
    more: bool


class CheckList(View, frozen=True):
    """What was found, of all networks that were asked for, and of the engine.

    `alike` are the containers that a boot may mix up; None while the engine's files do not tell.
    """

    checks: tuple[HintView, ...]
    engine: tuple[EngineHintView, ...]
    alike: tuple[AlikeView, ...] | None


class NetworkProbed(View, frozen=True):
    """`server` has answered first: an address, or with the family ipv6 a DUID. `error` is why none did."""

    network_id: str
    network: str | None
    parent: str
    family: str
    server: str | None
    error: str | None


class NetworkView(View, frozen=True):
    """One network; `options` are those that its user gave, `endpoints` counts those of containers.

    `created` is in Unix seconds, None where an older version of the plugin made it.
    """

    network_id: str
    network: str | None
    mode: str
    parent: str
    options: dict[str, str]
    endpoints: int
    created: float | None


class Ipv6View(View, frozen=True):
    """The IPv6 address of an endpoint, as EndpointView. `server` is a DUID; with SLAAC there is none."""

    address: IPv6Interface
    router: IPv6Address | None
    server: str | None
    lease_state: str
    lease_seconds: int | None
    preferred_seconds: int | None
    obtained: float
    renewed: float
    expires: float | None
    last_trouble: str | None


class EndpointView(View, frozen=True):
    """One endpoint as operators see it. Times are Unix seconds."""

    endpoint_id: str
    network_id: str
    network: str | None
    mode: str
    parent: str
    container_id: str | None
    container: str | None
    hostname: str | None
    phase: str
    interface: str | None
    host_link: str | None
    mac: str | None
    pinned: bool
    address: IPv4Interface | None
    gateway: IPv4Address | None
    dns: tuple[IPv4Address, ...]
    domain: str | None
    ntp: tuple[IPv4Address, ...]
    server: IPv4Address | None
    lease_state: str | None
    lease_seconds: int | None
    obtained: float | None
    renewed: float | None
    expires: float | None
    last_trouble: str | None
    ipv6: Ipv6View | None
    worker_pid: int | None
    udhcpc_pid: int | None


class MessageView(View, frozen=True):
    """A DHCP message of an endpoint, or a router's; `time` is in Unix seconds."""

    time: float
    family: str
    kind: str
    sent: bool
    xid: str | None
    address: IPv4Address | IPv6Address | None
    server: str | None


class EndpointDetail(EndpointView, frozen=True):
    """One endpoint with its last DHCP messages."""

    messages: tuple[MessageView, ...]


class EventView(View, frozen=True):
    """One event of the history of leases; `time` is in Unix seconds. Ids ascend, and no id stands for two events.

    `network` is the name that it has today, and None in the database.
    """

    id: int
    time: float
    endpoint_id: str
    network_id: str
    network: str | None
    container: str | None
    kind: str
    address: str | None
    detail: str


class LeaseView(View, frozen=True):
    """An endpoint had this address from `begin` to `end`, both in Unix seconds; while it lasts, the end is None.

    `ended_by` is released, kept, still to be released, deleted, changed, expired or lost. `server` is an address, or
    says which DHCPv6 server or router it was. `network` is the name that it has today, and None in the
    database.
    """

    id: int
    endpoint_id: str
    network_id: str
    network: str | None
    container_id: str | None
    container: str | None
    mac: str | None
    family: str
    address: str
    server: str | None
    begin: float
    end: float | None
    ended_by: str | None


class Cost(View, frozen=True):
    """The cost of a process: `cpu` in seconds of both modes since its start, `rss` and `pss` in bytes."""

    cpu: float
    rss: int
    pss: int
    descriptors: int
    threads: int


class WorkerView(View, frozen=True):
    """One process of the plugin; `started` is in Unix seconds. `cost` is None if it has just ended.

    `role` is supervisor, api, ops, watcher, worker, turn, spare, udhcpc or orphan. Only the supervisor's own children
    have `restarts`.
    """

    name: str
    role: str
    state: str
    pid: int | None
    endpoint_id: str | None
    restarts: int
    started: float | None
    cost: Cost | None


class WorkerList(View, frozen=True):
    """The supervisor comes first, then its children, each followed by its own children."""

    workers: tuple[WorkerView, ...]


class BindingView(View, frozen=True):
    """An identity on a network: its owner, by the kind of the key and a name, its MAC address and last addresses."""

    network_id: str
    network: str | None
    key: str
    mac: str
    addresses: tuple[str, ...]


class Forgotten(View, frozen=True):
    """The identities that are forgotten. Leases that waited for them are released."""

    forgotten: tuple[BindingView, ...]


class Metrics(Struct, frozen=True):
    """`text` is Prometheus's text format, compressed by gzip: of 1,000 endpoints 1.5 MB become 100 kB."""

    text: bytes


Answer = EndpointCreated | Joined | OperValues | Metrics | View | Page[Any]


class Reply(Struct, frozen=True):
    """The answer to the request with the same id, or the reason for a refusal."""

    id: int
    result: Answer | RequestError


Respond = Callable[[Answer | RequestError], None]
