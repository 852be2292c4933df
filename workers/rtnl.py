"""Rtnetlink messages and our own types: links and routes read from pyroute2's messages, routes written for it.

Pure, no socket. Must not know what is done with a link. pyroute2 is untyped, so `Any` ends here.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from workers.lease import Route
from workers.routes import KernelRoute

IFF_UP = 0x1
IFF_LOWER_UP = 0x10000
RT_TABLE_MAIN = 254
RTN_UNICAST = 1
RT_SCOPE_UNIVERSE, RT_SCOPE_LINK = 0, 253
RTNH_F_ONLINK = 4
USER_HZ = 100  # ticks per second in a bridge's timers


@dataclass(frozen=True, slots=True)
class Bridge:
    """A bridge's own settings; `forward_delay` is in seconds, `calls_iptables` is this bridge's switch alone."""

    stp: bool
    forward_delay: float
    calls_iptables: bool


@dataclass(frozen=True, slots=True)
class Link:
    """`carrier` is layer 1 of the link itself, `kind` its driver family (None: hardware), `mtu` is in bytes.

    `peer_index` is the other end's index for a veth, in the namespace where that end is; `bridge` is None for all
    that is no bridge.
    """

    index: int
    name: str
    mac: str
    up: bool
    carrier: bool
    kind: str | None
    mtu: int
    master: int | None = None
    peer_index: int | None = None
    bridge: Bridge | None = None

    @property
    def described_kind(self) -> str:
        """For messages: "a veth link", "a hardware link"."""
        return f"a {self.kind or 'hardware'} link"


def decode_link(message: Any) -> Link:  # noqa: ANN401  pyroute2 is untyped
    kind = message.get(("linkinfo", "kind"))
    return Link(
        index=message["index"],
        name=message.get("ifname"),
        mac=message.get("address") or "",
        up=bool(message["flags"] & IFF_UP),
        carrier=bool(message["flags"] & IFF_LOWER_UP),
        kind=kind,
        mtu=message.get("mtu"),
        master=message.get("master"),
        peer_index=message.get("link"),
        bridge=_bridge(message) if kind == "bridge" else None,
    )


def _bridge(message: Any) -> Bridge:  # noqa: ANN401  pyroute2 is untyped
    stp, delay, iptables = (
        message.get(("linkinfo", "data", f"br_{name}")) for name in ("stp_state", "forward_delay", "nf_call_iptables")
    )
    # The last one is absent from a kernel without bridge netfilter, where nothing calls iptables.
    return Bridge(stp=bool(stp), forward_delay=delay / USER_HZ, calls_iptables=bool(iptables))


def decode_route(message: Any) -> KernelRoute | None:  # noqa: ANN401  pyroute2 is untyped
    """None for what is no plain unicast IPv4 route of the main table; one by an IPv6 router is not plain either."""
    if message["table"] != RT_TABLE_MAIN or message["type"] != RTN_UNICAST or message.get("via"):
        return None
    gateway, source = message.get("gateway"), message.get("prefsrc")
    return KernelRoute(
        route=Route(
            IPv4Network((message.get("dst") or 0, message["dst_len"])),
            IPv4Address(gateway) if gateway else None,
        ),
        index=message.get("oif"),
        protocol=message["proto"],
        priority=message.get("priority") or 0,
        source=IPv4Address(source) if source else None,
        onlink=bool(message["flags"] & RTNH_F_ONLINK),
    )


def encode_route(index: int, route: KernelRoute) -> dict[str, Any]:
    """The arguments of pyroute2's `IPRoute.route` that name this route over the link `index`."""
    hop = route.route.next_hop
    fields: dict[str, Any] = {
        "dst": str(route.route.destination),
        "oif": index,
        "proto": route.protocol,
        "scope": RT_SCOPE_LINK if hop is None else RT_SCOPE_UNIVERSE,
        "table": RT_TABLE_MAIN,
    }
    if hop is not None:
        fields["gateway"] = str(hop)
    if route.priority:
        fields["priority"] = route.priority
    if route.source is not None:
        fields["prefsrc"] = str(route.source)
    if route.onlink:
        fields["flags"] = RTNH_F_ONLINK
    return fields
