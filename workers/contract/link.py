"""An endpoint's link: its kind, its parent on the host, and the names that follow from the endpoint's id.

Must not know how a link is made: workers.link does.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

HOST_LINK_PREFIX, CONTAINER_LINK_PREFIX = "dh-", "dc-"
VLAN_NAME = re.compile(r"(.+)\.([1-9]\d{0,3})")
VLAN_NUMBERS = range(1, 4095)
LINK_ID_LENGTH = 12  # IFNAMSIZ allows 15 characters, three of them are the prefix


class LinkKind(StrEnum):
    """How an endpoint's link is connected to its parent."""

    BRIDGE = "bridge"  # a veth pair, whose end on the host is a port of the parent
    MACVLAN = "macvlan"  # an interface of its own beside the parent, with another MAC address
    IPVLAN = "ipvlan"  # an interface of its own beside the parent, with the parent's MAC address


class MacvlanMode(StrEnum):
    """Which other macvlans of its parent a macvlan reaches (ip-link(8))."""

    BRIDGE = "bridge"  # all of them, directly
    PRIVATE = "private"  # none
    VEPA = "vepa"  # those whose frames the switch sends back
    PASSTHRU = "passthru"  # it is the only one, and the parent takes its MAC address


class IpvlanMode(StrEnum):
    """Where an ipvlan is beside its parent: DHCP needs layer 2."""

    L2 = "l2"


HOST_ENDS = frozenset({LinkKind.BRIDGE})  # the kinds of link that have an end on the host


@dataclass(frozen=True, slots=True)
class LinkSpec:
    """A link of this kind; `parent` is the host's interface that connects it to the LAN.

    `on_host`: it is the host's own link, which no container gets. `vlan` is the VLAN of its port on a bridge that
    filters VLANs, None for the bridge's own default.
    """

    kind: LinkKind
    parent: str
    macvlan_mode: MacvlanMode = MacvlanMode.BRIDGE
    on_host: bool = False
    vlan: int | None = None

    @property
    def has_own_mac(self) -> bool:
        """Whether each link has a MAC address of its own, by which servers and Docker can know it."""
        return self.kind is not LinkKind.IPVLAN

    def host_end(self, endpoint_id: str) -> str | None:
        """The name of its end that stays on the host, None if there is none."""
        return host_link(endpoint_id) if self.on_host or self.kind in HOST_ENDS else None


def host_link(endpoint_id: str) -> str:
    """The name of the end that stays on the host, and of the host's own link."""
    return f"{HOST_LINK_PREFIX}{endpoint_id[:LINK_ID_LENGTH]}"


def vlan_of(name: str) -> tuple[str, int] | None:
    """The card and the VLAN of an interface that is called CARD.NUMBER; None for other names."""
    match = VLAN_NAME.fullmatch(name)
    return (match[1], int(match[2])) if match and int(match[2]) in VLAN_NUMBERS else None


def container_link(endpoint_id: str) -> str:
    """The name of the end that Docker moves into the sandbox, for as long as it is on the host."""
    return f"{CONTAINER_LINK_PREFIX}{endpoint_id[:LINK_ID_LENGTH]}"
