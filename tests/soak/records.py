"""What a run writes down and what is found in it. Times are Unix seconds, as the DHCP server's log has them."""

from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv6Address


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """From `begin` to `end`."""

    begin: float
    end: float

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return self.end - self.begin

    def meets(self, other: "Span") -> bool:
        """Have they a moment in common?"""
        return self.begin <= other.end and other.begin <= self.end

    def within(self, other: "Span") -> "Span":
        """The part of it that lies in the other; it lasts less than nothing where they do not meet."""
        return Span(max(self.begin, other.begin), min(self.end, other.end))


class Op(Enum):
    """What users do with a container. AGAIN brings back one that an operation has left in an unknown state."""

    RESTART = "restart"
    STOP_START = "stop, start"
    REMOVE_RUN = "rm, run"
    RECONNECT = "network disconnect, connect"
    PAUSE = "pause, unpause"
    RENAME = "interface renamed inside"
    DIE = "its process dies, restart=always"
    RUN = "first run"
    AGAIN = "brought back after a failure"


class Fault(Enum):
    """What is done to the plugin, the engine, the DHCP server and the LAN."""

    WORKER = "worker killed"
    UDHCPC = "udhcpc killed"
    GUNICORN = "gunicorn killed"
    WATCHER = "watcher killed"
    SUPERVISOR = "supervisor killed"
    EVERYTHING = "all processes of the plugin killed"
    DISABLED = "plugin disabled, enabled"
    DOCKERD_TERM = "dockerd stopped, started"
    DOCKERD_KILL = "dockerd killed, started"
    FULL_DISK = "state cannot be written"
    OUTAGE = "DHCP server away"
    RENUMBERED = "DHCP server: other range"
    REROUTED = "DHCP server: other gateway"
    FORGETFUL = "DHCP server: leases forgotten"
    BRIDGE = "bridge removed, made anew"
    PORTS = "ports taken from the bridge"
    FORGED = "a neighbour forges"


class Kind(Enum):
    """What a gap is."""

    SILENT = "no answer to ARP, or to a neighbour solicitation"
    TWINS = "another machine answers for its address"
    LATE = "no renewal by T2"
    EXPIRED = "lease ran out"
    RELEASED = "released while it ran"
    REFUSED = "refused, no other lease yet"
    DECLINED = "declined, no other lease yet"
    NO_LEASE = "never leased"
    MAC = "another MAC after a start"
    PINNED_MAC = "another MAC, though pinned"
    SHARED_MAC = "two containers with one MAC"
    RELEASED_TWICE = "released twice"
    UNRELEASED = "not released after its end"
    FAILED = "an operation failed"
    BROKEN = "not in place again after a fault"
    UNSETTLED = "another address than the leased one at the end"
    LEFT = "left behind at the end"


@dataclass(frozen=True, slots=True)
class Heard:
    """A message that the server has heard or sent, of either family, in DHCPv4's words."""

    time: float
    kind: str
    mac: str
    address: IPv4Address | IPv6Address | None


@dataclass(frozen=True, slots=True)
class Presence:
    """A time in which a container has to be on the LAN. `life` counts what makes it another one; one that is `pinned`
    keeps its MAC over that."""

    container: str
    mac: str
    span: Span
    life: int
    pinned: bool


@dataclass(frozen=True, slots=True)
class Probe:
    """A question for the address that the server has leased to the container, and the MACs that have answered: by ARP,
    or with `ipv6` by a neighbour solicitation."""

    time: float
    container: str
    address: IPv4Address | IPv6Address | None
    answers: frozenset[str]
    ipv6: bool = False


@dataclass(frozen=True, slots=True)
class Injected:
    """A fault; its span ends when all is in place again, not when its effects have passed. `error` is why it is not."""

    fault: Fault
    span: Span
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Operation:
    """Something done to a container; `error` is what the engine said where it failed."""

    op: Op
    container: str
    span: Span
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Gap:
    """A time in which a container had not what it had to have. `ipv6`: it is about the lease of that family."""

    container: str
    kind: Kind
    span: Span
    detail: str = ""
    ipv6: bool = False
