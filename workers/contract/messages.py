"""The commands to a worker and its reports: the whole contract between the supervisor and one endpoint's process.

Messages travel over one pipe per worker, as pickles of these frozen structs of msgspec. Times are `boottime()` seconds.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address

from msgspec import Struct, field

from workers.contract.client_identity import ClientIdentity
from workers.contract.errors import Failing
from workers.contract.exchange import Messages
from workers.contract.lease import AnyLease, Family, Lease, Lease6, Route
from workers.contract.link import LINK_ID_LENGTH, LinkSpec, container_link, host_link

WORKER_PREFIX = "nd-"
NO_GATEWAY = IPv4Address(0)
PARENTS_MTU = 0
LAST_AFTER_SECONDS = 2.5  # two DHCPDISCOVERs; with the probe it is less than the second family's time


class ConflictCheck(StrEnum):
    """When the worker probes for an offered address (RFC 5227)."""

    DETECT = "detect"  # during the exchange: costs no time, and a late answer is mended in the sandbox
    WAIT = "wait"  # before Docker learns the address
    OFF = "off"


class ClientKind(StrEnum):
    """The client that keeps a lease while its container runs."""

    UDHCPC = "udhcpc"  # BusyBox's client, a process of its own
    NATIVE = "native"  # the worker's own client


class Ipv6(StrEnum):
    """How an endpoint gets its IPv6 address, beside IPv4 except for ONLY."""

    OFF = "off"
    DHCP = "true"  # from a DHCPv6 server
    ONLY = "only"  # from a DHCPv6 server, and no IPv4
    SLAAC = "slaac"  # made from the prefix that a router advertises
    AUTO = "auto"  # DHCPv6 or SLAAC, as the router advertisement says


@dataclass(frozen=True, slots=True)
class EndpointSpec:
    """The facts from which a worker makes an endpoint; fixed for the endpoint's life.

    `mac` is the container's hardware address in every packet; `lease_timeout` the budget of the first leases in
    seconds; `requested` goes out as option 50, `requested6` in the IA_NA of a Solicit. `drop_expired`: the worker takes
    an address whose lease has run out off the link (RFC 2131), instead of keeping it until a server answers.
    `remembered` and `remembered6` are leases of this client from before. For one that still runs the worker asks first
    (RFC 2131 section 3.2), and uses it if no server answers; one that has run out it uses if no server has answered
    `last_after` seconds later. `mark` is the group (ip-link(8)) of the link while it is
    on the host: it tells to which state the link belongs; 0 marks nothing. `gateway` and `mtu` replace those of an
    IPv4 lease: NO_GATEWAY and PARENTS_MTU stand for none. `lease_dns`: the container resolves names by the servers of
    its leases, once the supervisor has sent `UseResolver`.
    """

    network_id: str
    endpoint_id: str
    link: LinkSpec
    mac: str
    client_identity: ClientIdentity
    lease_timeout: float
    requested: IPv4Address | None = None
    skip_routes: bool = False
    drop_expired: bool = False
    conflict: ConflictCheck = ConflictCheck.DETECT
    client: ClientKind = ClientKind.UDHCPC
    remembered: Lease | None = None
    mark: int = 0
    ipv6: Ipv6 = Ipv6.OFF
    requested6: IPv6Address | None = None
    remembered6: Lease6 | None = None
    lease_dns: bool = False
    gateway: IPv4Address | None = None
    mtu: int | None = None

    @property
    def families(self) -> tuple[Family, ...]:
        """The families in which it gets an address."""
        if self.ipv6 is Ipv6.OFF:
            return (Family.IPV4,)
        return (Family.IPV6,) if self.ipv6 is Ipv6.ONLY else tuple(Family)

    @property
    def token(self) -> IPv6Address | None:
        """What addresses end with that are made from advertised prefixes (ip-token(8)); None if the MAC says it.

        It is the second half of the DUID's UUID, which is none of the reserved values (RFC 5453).
        """
        return None if self.link.has_own_mac else IPv6Address(int.from_bytes(self.client_identity.duid[-8:]))

    @property
    def last_after(self) -> float:
        """Docker starts the containers of a network one after the other, so this is no more than it has to be."""
        return min(LAST_AFTER_SECONDS, self.lease_timeout / 2)

    @property
    def all_remembered(self) -> tuple[AnyLease, ...]:
        return tuple(lease for lease in (self.remembered, self.remembered6) if lease is not None)

    def applied(self, lease: Lease) -> Lease:
        """The lease with the gateway and the MTU that this endpoint gets instead; the host gets the address alone."""
        if self.link.on_host:
            lease = lease.bare()
        if self.gateway is not None:
            lease = lease.with_gateway(None if self.gateway == NO_GATEWAY else self.gateway)
        return lease if self.mtu is None else replace(lease, mtu=self.mtu or None)

    @property
    def process_name(self) -> str:
        """The name of its worker's process; the kernel keeps 15 characters."""
        return f"{WORKER_PREFIX}{self.endpoint_id[:LINK_ID_LENGTH]}"

    @property
    def container_link(self) -> str:
        """The link that Docker moves into the sandbox, renames there, and brings back before DeleteEndpoint.

        The host's own link stays on the host under its name.
        """
        return host_link(self.endpoint_id) if self.link.on_host else container_link(self.endpoint_id)


class Resume(Struct, frozen=True):
    """The point at which a worker died: its successor finds the link made and these leases.

    The leases of the families in `held` are not released yet: the worker releases them when the endpoint ends.
    """

    leases: tuple[AnyLease, ...]
    held: frozenset[Family]


# The commands.


class Begin(Struct, frozen=True):
    """The first command: make this endpoint, or go on where the last worker died.

    `reclaims`: only undo the work of one that died while it made the endpoint, and end. `log_level` is logging's.
    """

    spec: EndpointSpec
    resume: Resume | None = None
    reclaims: bool = False
    log_level: int | None = None


class Attach(Struct, frozen=True):
    """Join was answered: wait for the link to arrive in the sandbox at `path`, enter it and keep the lease there.

    `path` is as this process can open it; `hostname` replaces the one in the client identity where it is known now.
    `gateway` is what Docker was told and keeps for the container's life. `arrived`: the link had been seen in there
    before, or has had all the time it needs, so that a link which is not means that the sandbox has gone.
    """

    path: str
    hostname: str | None
    gateway: IPv4Address | None
    arrived: bool = False


class MakeLink(Struct, frozen=True):
    """The parent is there again with which the link of a running container went: make the link anew, in the sandbox.

    It gets its former name, `interface`, and what it had there, with `routes` of our answer to Join. If it cannot be
    made, report `LinkNotMade`; else go on as for an `attach` whose link has arrived.
    """

    attach: Attach
    interface: str
    routes: tuple[Route, ...]


class UseResolver(Struct, frozen=True):
    """Have the container resolve names by the servers and the search lists of its leases.

    `path` is the container's resolv.conf as this process can open it. `search`: the user has not chosen a search list.
    """

    path: str
    search: bool


class Rename(Struct, frozen=True):
    """Tell the server the container's host name, which became known after the client had started."""

    hostname: str


class Reach(Struct, frozen=True):
    """Over the host's own link the host reaches these addresses, and no others."""

    addresses: frozenset[IPv4Address]


class AskServers(Struct, frozen=True):
    """The way to the servers is open again: ask for the leases now, and not when the next try is due."""


class GiveBack(Struct, frozen=True):
    """Release the leases and ask for new ones, in the sandbox; the addresses stay in use until there are new ones."""


class SetLogLevel(Struct, frozen=True):
    """Log from this level on; the number is logging's."""

    level: int


class LimitMtu(Struct, frozen=True):
    """The link's parent takes no larger frames than this any more."""

    mtu: int


class LeaveSandbox(Struct, frozen=True):
    """The container goes: release the leases from inside the sandbox, leave the sandbox, report `Left`.

    Do not enter a sandbox for that; release the leases at `Delete` then. With `keep` release them neither now nor then:
    the container comes back for them.
    """

    keep: bool = False


class Delete(Struct, frozen=True):
    """Release the leases that are still held, report `Deleted`, remove the link and exit."""


Command = (
    Attach
    | MakeLink
    | UseResolver
    | Rename
    | Reach
    | AskServers
    | GiveBack
    | SetLogLevel
    | LimitMtu
    | LeaveSandbox
    | Delete
)


# The reports.


class Created(Struct, frozen=True):
    """The link exists and the first leases are held; `parent_routes` are the host's static routes over its parent.

    The leases of the families in `unconfirmed` are remembered ones that no server has confirmed. `messages` went to and
    fro for them (workers.contract.exchange).
    """

    leases: tuple[AnyLease, ...]
    parent_routes: tuple[Route, ...]
    unconfirmed: frozenset[Family] = frozenset()
    messages: Messages = field(default_factory=dict)


class CreateFailed(Struct, frozen=True):
    """The endpoint could not be made; everything was rolled back. `reason` is for the user.

    `unreleased` has a remembered lease that the container may still hold, and then leases that a server may have
    granted and that the worker could not release. `kind` is for those who count failures.
    """

    reason: str
    unreleased: tuple[AnyLease, ...] = ()
    kind: Failing = Failing.LINK


class Attached(Struct, frozen=True):
    """The worker is in the sandbox, where the link is now called `interface`."""

    interface: str


class NotMoved(Struct, frozen=True):
    """Docker has not moved the link yet: it is still on the host."""


class SandboxGone(Struct, frozen=True):
    """There is no sandbox with this endpoint's link in it; the leases are still held.

    `only_link`: the sandbox is there, and the link has gone from it. `with_parent`: because its parent has gone.
    `awaits`: the interface on the host with which the link can come back; None for a link that has gone by itself.
    """

    only_link: bool = False
    with_parent: bool = False
    awaits: str | None = None


class LinkNotMade(Struct, frozen=True):
    """The link could not be made anew; nothing is left of it. `reason` is for the user."""

    reason: str


class ClientStarted(Struct, frozen=True):
    """From now on the process with this pid keeps the family's lease, or with None no process does."""

    pid: int | None
    family: Family


class LeaseObtained(Struct, frozen=True):
    """A server has confirmed or changed the lease, and the worker has applied it to the link."""

    lease: AnyLease


class LeaseRenewed(Struct, frozen=True):
    """The server has confirmed the IPv4 lease as it was: nothing but its time is new."""


@dataclass(frozen=True, slots=True)
class Exchanged:
    """What went to and fro since the last report of this kind."""

    messages: Messages


class Trouble(StrEnum):
    """The troubles of a lease that is held."""

    NAK = "nak"  # the server refused the lease (RFC 2131 section 3.1)
    NO_ANSWER = "no answer"  # T2 has passed, or udhcpc gave the lease up: reported once, until a server answers
    INVALID = "unusable answer"  # the server's answer cannot be a lease
    EXPIRED = "expired"  # the lease ran out; a network option decides what happens to the address
    CONFLICT = "conflict"  # another machine claims the address
    CLIENT_DIED = "client died"  # udhcpc ended; the worker starts another one
    LINK_GONE = "link gone"  # the interface vanished from the sandbox


class LeaseTrouble(Struct, frozen=True):
    """The family's lease is in danger, or every lease if it is None; `detail` says what the worker saw."""

    kind: Trouble
    detail: str
    family: Family | None


class Left(Struct, frozen=True):
    """The worker has left the sandbox. Before, it released the leases of the families in `released`."""

    released: frozenset[Family] = frozenset()


class Deleted(Struct, frozen=True):
    """The worker removes the link and exits. It could not release the leases of the families in `unreleased`."""

    unreleased: frozenset[Family] = frozenset()


Report = (
    Created
    | CreateFailed
    | Attached
    | NotMoved
    | SandboxGone
    | LinkNotMade
    | ClientStarted
    | LeaseObtained
    | LeaseRenewed
    | Exchanged
    | LeaseTrouble
    | Left
    | Deleted
)
