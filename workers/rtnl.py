"""Rtnetlink's messages (rtnetlink(7)) and our own types: links, addresses and routes to bytes and back.

Pure, no socket. Must not know what is done with a link.
"""

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from socket import AF_INET, AF_UNSPEC

from workers.lease import Route
from workers.nlsocket import attribute, attributes, number, number_in, text, text_in
from workers.routes import KernelRoute

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26

IFINFO = struct.Struct("=BxHiII")  # ifinfomsg: family, type, index, flags, which flags change
IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_LINK, IFLA_MASTER = 1, 3, 4, 5, 10
IFLA_OPERSTATE, IFLA_LINKINFO, IFLA_GROUP, IFLA_NET_NS_FD, IFLA_EXT_MASK = 16, 18, 27, 28, 29
IFLA_INFO_KIND, IFLA_INFO_DATA, VETH_INFO_PEER = 1, 2, 1
IFLA_BR_FORWARD_DELAY, IFLA_BR_STP_STATE, IFLA_BR_NF_CALL_IPTABLES = 1, 5, 36
RTEXT_FILTER_SKIP_STATS = 1 << 3
IF_OPER_UP = 6
IFF_UP = 0x1
IFF_LOWER_UP = 0x10000
USER_HZ = 100  # ticks per second in a bridge's timers

IFADDR = struct.Struct("=BBBBI")  # ifaddrmsg: family, prefix length, flags, scope, index
IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST = 1, 2, 4

RTMSG = struct.Struct("=BBBBBBBBI")  # family, both prefix lengths, TOS, table, protocol, scope, type, flags
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_PRIORITY, RTA_PREFSRC, RTA_VIA = 1, 4, 5, 6, 7, 18
RT_TABLE_MAIN = 254
RTN_UNICAST = 1
RT_SCOPE_UNIVERSE, RT_SCOPE_LINK = 0, 253
RTNH_F_ONLINK = 4


@dataclass(frozen=True, slots=True)
class Bridge:
    """A bridge's own settings; `forward_delay` is in seconds, `calls_iptables` is this bridge's switch alone."""

    stp: bool
    forward_delay: float
    calls_iptables: bool


@dataclass(frozen=True, slots=True)
class Link:
    """`carrier` is layer 1 of the link itself, `kind` its driver family (None: hardware), `mtu` is in bytes.

    `operational`: the kernel takes frames for sending. `peer_index` is the other end's index for a veth, in the
    namespace where that end is; `bridge` is None for all that is no bridge.
    """

    index: int
    name: str
    mac: str
    up: bool
    carrier: bool
    operational: bool
    kind: str | None
    mtu: int
    group: int = 0
    master: int | None = None
    peer_index: int | None = None
    bridge: Bridge | None = None

    @property
    def described_kind(self) -> str:
        """For messages: "a veth link", "a hardware link"."""
        return f"a {self.kind or 'hardware'} link"


def link_question(name: str | None = None) -> bytes:
    """Asks for the link of that name, or for all."""
    wanted = text(IFLA_IFNAME, name) if name is not None else b""
    return IFINFO.pack(AF_UNSPEC, 0, 0, 0, 0) + number(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS) + wanted


def named_link(name: str, *, up: bool = False) -> bytes:
    """The link of that name, as it is or to be raised."""
    flags = IFF_UP if up else 0
    return IFINFO.pack(AF_UNSPEC, 0, 0, flags, flags) + text(IFLA_IFNAME, name)


def changed_link(index: int, *, up: bool = False, mtu: int | None = None, namespace: int | None = None) -> bytes:
    """A link that is to be up, to have that MTU, or to be in the network namespace of that descriptor."""
    flags = IFF_UP if up else 0
    size = number(IFLA_MTU, mtu) if mtu is not None else b""
    place = number(IFLA_NET_NS_FD, namespace) if namespace is not None else b""
    return IFINFO.pack(AF_UNSPEC, 0, index, flags, flags) + size + place


def veth_pair(port: str, port_mac: str, master: Link, other: str, other_mac: str, *, group: int = 0) -> bytes:
    """A pair with the master's MTU; the one end is its port, up and in the group, the other is down."""
    head = IFINFO.pack(AF_UNSPEC, 0, 0, IFF_UP, IFF_UP)
    peer = IFINFO.pack(AF_UNSPEC, 0, 0, 0, 0) + _end(other, other_mac, master.mtu)
    data = attribute(IFLA_INFO_DATA, attribute(VETH_INFO_PEER, peer))
    info = attribute(IFLA_LINKINFO, text(IFLA_INFO_KIND, "veth") + data)
    place = number(IFLA_MASTER, master.index) + number(IFLA_GROUP, group)
    return head + _end(port, port_mac, master.mtu) + place + info


def _end(name: str, mac: str, mtu: int) -> bytes:
    return (
        text(IFLA_IFNAME, name) + attribute(IFLA_ADDRESS, bytes.fromhex(mac.replace(":", ""))) + number(IFLA_MTU, mtu)
    )


def decode_link(message: bytes) -> Link:
    _, _, index, flags, _ = IFINFO.unpack_from(message)
    found = attributes(message, IFINFO.size)
    info = attributes(found.get(IFLA_LINKINFO, b""))
    kind = text_in(info.get(IFLA_INFO_KIND))
    return Link(
        index=index,
        name=text_in(found[IFLA_IFNAME]) or "",
        mac=found.get(IFLA_ADDRESS, b"").hex(":"),
        up=bool(flags & IFF_UP),
        carrier=bool(flags & IFF_LOWER_UP),
        operational=found.get(IFLA_OPERSTATE) == bytes([IF_OPER_UP]),
        kind=kind,
        mtu=number_in(found.get(IFLA_MTU)) or 0,
        group=number_in(found.get(IFLA_GROUP)) or 0,
        master=number_in(found.get(IFLA_MASTER)),
        peer_index=number_in(found.get(IFLA_LINK)),
        bridge=_bridge(attributes(info.get(IFLA_INFO_DATA, b""))) if kind == "bridge" else None,
    )


def _bridge(data: dict[int, bytes]) -> Bridge:
    """A kernel without bridge netfilter has no switch for it, and nothing there calls iptables."""
    return Bridge(
        stp=bool(number_in(data.get(IFLA_BR_STP_STATE))),
        forward_delay=(number_in(data.get(IFLA_BR_FORWARD_DELAY)) or 0) / USER_HZ,
        calls_iptables=any(data.get(IFLA_BR_NF_CALL_IPTABLES, b"")),
    )


def address_question() -> bytes:
    """Asks for the IPv4 addresses of all links."""
    return IFADDR.pack(AF_INET, 0, 0, 0, 0)


def encode_address(index: int, address: IPv4Interface) -> bytes:
    """An address of a link, with the broadcast address of its subnet."""
    own = attribute(IFA_LOCAL, address.packed) + attribute(IFA_ADDRESS, address.packed)
    broadcast = attribute(IFA_BROADCAST, address.network.broadcast_address.packed)
    return IFADDR.pack(AF_INET, address.network.prefixlen, 0, RT_SCOPE_UNIVERSE, index) + own + broadcast


def decode_address(message: bytes) -> tuple[int, IPv4Interface]:
    """The link's index, and its address."""
    _, length, _, _, index = IFADDR.unpack_from(message)
    return index, IPv4Interface((attributes(message, IFADDR.size)[IFA_LOCAL], length))


def route_question() -> bytes:
    """Asks for the IPv4 routes of all tables."""
    return RTMSG.pack(AF_INET, 0, 0, 0, 0, 0, 0, 0, 0)


def decode_route(message: bytes) -> KernelRoute | None:
    """None for what is no plain unicast IPv4 route of the main table; one by an IPv6 router is not plain either."""
    _, length, _, _, table, protocol, _, kind, flags = RTMSG.unpack_from(message)
    found = attributes(message, RTMSG.size)
    if table != RT_TABLE_MAIN or kind != RTN_UNICAST or RTA_VIA in found:
        return None
    gateway, source = found.get(RTA_GATEWAY), found.get(RTA_PREFSRC)
    return KernelRoute(
        route=Route(
            IPv4Network((found.get(RTA_DST, bytes(4)), length)),
            IPv4Address(gateway) if gateway else None,
        ),
        index=number_in(found.get(RTA_OIF)),
        protocol=protocol,
        priority=number_in(found.get(RTA_PRIORITY)) or 0,
        source=IPv4Address(source) if source else None,
        onlink=bool(flags & RTNH_F_ONLINK),
    )


def encode_route(index: int, route: KernelRoute) -> bytes:
    """A unicast route of the main table over the link `index`."""
    destination, hop = route.route.destination, route.route.next_hop
    scope = RT_SCOPE_LINK if hop is None else RT_SCOPE_UNIVERSE
    flags = RTNH_F_ONLINK if route.onlink else 0
    message = RTMSG.pack(AF_INET, destination.prefixlen, 0, 0, RT_TABLE_MAIN, route.protocol, scope, RTN_UNICAST, flags)
    message += attribute(RTA_DST, destination.network_address.packed) + number(RTA_OIF, index)
    if hop is not None:
        message += attribute(RTA_GATEWAY, hop.packed)
    if route.priority:
        message += number(RTA_PRIORITY, route.priority)
    if route.source is not None:
        message += attribute(RTA_PREFSRC, route.source.packed)
    return message
