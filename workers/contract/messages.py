"""What a worker is told and what it reports: the whole contract between the supervisor and one endpoint's process.

Messages travel over one pipe per worker, as pickles of these frozen dataclasses. Times are `boottime()` seconds.
"""

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address

from workers.contract.client_identity import ClientIdentity
from workers.contract.lease import Family, Lease, Route
from workers.contract.link import LINK_ID_LENGTH, LinkSpec, container_link

WORKER_PREFIX = "nd-"


class ConflictCheck(StrEnum):
    """When an offered address is probed for (RFC 5227)."""

    DETECT = "detect"  # meanwhile: costs nothing, and what is heard too late is mended in place
    WAIT = "wait"  # before Docker is told the address
    OFF = "off"


class ClientKind(StrEnum):
    """Who keeps a lease while its container runs."""

    UDHCPC = "udhcpc"  # BusyBox's client, a process of its own
    NATIVE = "native"  # the worker's own client


@dataclass(frozen=True, slots=True)
class EndpointSpec:
    """All that a worker needs to know to make an endpoint; fixed for the endpoint's life.

    `mac` is the container's hardware address in every packet; `lease_timeout` the budget of the first lease in seconds;
    `requested` goes out as option 50. `drop_expired`: an address whose lease has run out is
    taken off the link (RFC 2131), instead of kept until a server answers. `remembered` is a lease that this MAC still
    holds from before: it is asked for first (RFC 2131 section 3.2), and used where no server answers. `mark` is the
    group (ip-link(8)) of the link while it is on the host: it tells which state the link belongs to; 0 marks nothing.
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

    @property
    def process_name(self) -> str:
        """Of its worker; the kernel keeps 15 characters."""
        return f"{WORKER_PREFIX}{self.endpoint_id[:LINK_ID_LENGTH]}"

    @property
    def container_link(self) -> str:
        """The link that Docker moves into the sandbox, renames there, and brings back before DeleteEndpoint."""
        return container_link(self.endpoint_id)


@dataclass(frozen=True, slots=True)
class Resume:
    """Where a worker that died had been: its successor finds the link made and these leases.

    The leases of the families in `held` have not been given back: the worker releases them when the endpoint ends.
    """

    leases: tuple[Lease, ...]
    held: frozenset[Family]


# What a worker is told.


@dataclass(frozen=True, slots=True)
class Begin:
    """The first: make this endpoint, or go on where the last worker was.

    `reclaims`: only remove what a worker left that died while it made the endpoint, and end.
    """

    spec: EndpointSpec
    resume: Resume | None = None
    reclaims: bool = False


@dataclass(frozen=True, slots=True)
class Attach:
    """Join was answered: wait for the link to arrive in the sandbox at `path`, enter it and keep the lease there.

    `path` is as this process can open it; `hostname` replaces the one in the client identity where it is known now.
    `gateway` is what Docker was told and keeps for the container's life. `arrived`: the link had been seen in there
    before, or has had all the time it needs, so that a link which is not means that the sandbox has gone.
    """

    path: str
    hostname: str | None
    gateway: IPv4Address | None
    arrived: bool = False


@dataclass(frozen=True, slots=True)
class Rename:
    """The container's host name became known after the client had started; the server is to learn it."""

    hostname: str


@dataclass(frozen=True, slots=True)
class LeaveSandbox:
    """The container goes: release the leases from inside the sandbox, leave the sandbox, report `Left`.

    A sandbox that was not entered yet stays unentered; its leases are released at `Delete`. With `keep` they are
    released neither now nor then: the container comes back for them.
    """

    keep: bool = False


@dataclass(frozen=True, slots=True)
class Delete:
    """Release the leases that are still held, report `Deleted`, remove the link and exit."""


Command = Attach | Rename | LeaveSandbox | Delete


# What a worker reports.


@dataclass(frozen=True, slots=True)
class Created:
    """The link exists and the first leases are held; `parent_routes` are the host's static routes over its parent.

    The leases of the families in `unconfirmed` are remembered ones that no server has said anything about.
    """

    leases: tuple[Lease, ...]
    parent_routes: tuple[Route, ...]
    unconfirmed: frozenset[Family] = frozenset()


@dataclass(frozen=True, slots=True)
class CreateFailed:
    """The endpoint could not be made; everything was rolled back. `reason` is for the user.

    `unreleased` are a remembered lease that may still be the container's, and then those that a server may have granted
    and that could not be released.
    """

    reason: str
    unreleased: tuple[Lease, ...] = ()


@dataclass(frozen=True, slots=True)
class Attached:
    """The worker is in the sandbox, where the link is now called `interface`."""

    interface: str


@dataclass(frozen=True, slots=True)
class NotMoved:
    """Docker has not moved the link yet: it is where it was made."""


@dataclass(frozen=True, slots=True)
class SandboxGone:
    """There is no sandbox with this endpoint's link in it; the leases are still held."""


@dataclass(frozen=True, slots=True)
class ClientStarted:
    """A process with this pid keeps the family's lease from now on, or none does any more."""

    pid: int | None
    family: Family


@dataclass(frozen=True, slots=True)
class LeaseObtained:
    """A DHCPACK: the lease was confirmed or changed, and the link has been brought to it."""

    lease: Lease


class Trouble(StrEnum):
    """What can go wrong with a lease that is held."""

    NAK = "nak"  # the server refused the lease (RFC 2131 section 3.1)
    NO_ANSWER = "no answer"  # T2 has passed, or udhcpc gave the lease up: told once, until a server answers
    INVALID = "unusable answer"  # what the server sent cannot be a lease
    EXPIRED = "expired"  # the lease ran out; what happens to the address is the network's option
    CONFLICT = "conflict"  # somebody else claims the address
    CLIENT_DIED = "client died"  # udhcpc exited; it is started again
    LINK_GONE = "link gone"  # the interface vanished from the sandbox


@dataclass(frozen=True, slots=True)
class LeaseTrouble:
    """The family's lease is in danger, or every lease where it is None; `detail` says what was seen."""

    kind: Trouble
    detail: str
    family: Family | None


@dataclass(frozen=True, slots=True)
class Left:
    """The sandbox was left; the leases of the families in `released` were released before."""

    released: frozenset[Family] = frozenset()


@dataclass(frozen=True, slots=True)
class Deleted:
    """The worker removes the link and exits. It could not release the leases of the families in `unreleased`."""

    unreleased: frozenset[Family] = frozenset()


Report = (
    Created
    | CreateFailed
    | Attached
    | NotMoved
    | SandboxGone
    | ClientStarted
    | LeaseObtained
    | LeaseTrouble
    | Left
    | Deleted
)
