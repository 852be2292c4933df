"""Converts links, addresses and routes between our types and pyroute2's messages (rtnetlink(7)).

Pure, no socket. Must not know the use of a link. pyroute2 is untyped, so `Any` ends here.
"""

import struct
import sys
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface
from socket import AF_INET, AF_INET6
from typing import Any

from msgspec import Struct
from pyroute2.netlink import nlmsg
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from workers.contract.lease import DEFAULT_DESTINATION, Route

RTEXT_FILTER_BRVLAN, RTEXT_FILTER_SKIP_STATS = 1 << 1, 1 << 3
ARPHRD_ETHER = 1
IFF_UP = 0x1
IFF_LOWER_UP = 0x10000
TIMES = ("valid", "preferred")
# The kinds of links that send at once, as they have a carrier from the beginning: the kernel notices none, and their
# state (RFC 2863) stays UNKNOWN.
NEVER_NOTICED = ("ipvlan",)
AF_BRIDGE = 7
IPVLAN_L2 = 0
# Flags of a port's VLAN (linux/if_bridge.h): frames without a tag belong to it, and leave without one; a range's ends.
VLAN_PVID, VLAN_UNTAGGED, VLAN_FIRST, VLAN_LAST = 1 << 1, 1 << 2, 1 << 3, 1 << 4
VLANS = range(1, 4095)
USER_HZ = 100  # ticks per second in a bridge's timers
RT_TABLE_MAIN = 254
RTN_UNICAST = 1
RT_SCOPE_UNIVERSE, RT_SCOPE_LINK = 0, 253
RTNH_F_ONLINK = 4
RTPROT_KERNEL = 2  # rtnetlink(7): made by the kernel along with an address
RTPROT_STATIC = 4
RTPROT_DHCP = 16
IFA_F_TEMPORARY, IFA_F_NODAD, IFA_F_PERMANENT = 0x01, 0x02, 0x80
MAX_SUBNET = 30  # bits of the longest prefix that has a broadcast address (RFC 3021)
FOREVER = 0xFFFFFFFF  # seconds, in the kernel's messages
MESSAGE_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence number, port
STATUS = struct.Struct("=i")  # a negated errno, or 0
ATTRIBUTE = struct.Struct("=HH")  # its length and its type
KIND_MASK = 0x3FFF  # without the flags for nesting and byte order
EXPIRES = struct.Struct("=I")
LINK_HEADER = struct.Struct("=BxHiII")  # ifinfomsg: family, hardware type, index, flags, and which of them change
LINK_HEADERS = MESSAGE_HEADER.size + LINK_HEADER.size
IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_LINK, IFLA_MASTER, IFLA_OPERSTATE = 1, 3, 4, 5, 10, 16
IFLA_LINKINFO, IFLA_INFO_KIND, IFLA_GROUP, IFLA_LINK_NETNSID = 18, 1, 27, 37
IFLA_AF_SPEC, IFLA_BRIDGE_VLAN_INFO = 26, 2
IF_OPER_UNKNOWN, IF_OPER_UP = 0, 6  # linux/if.h
VLAN_INFO = struct.Struct("=HH")  # flags and number


class Bridge(Struct, frozen=True):
    """A bridge's own settings; `forward_delay` is in seconds, the `calls_…` are this bridge's switches alone.

    `default_vlan` is the one of new ports, 0 for none, if it `filters_vlans`.
    """

    stp: bool
    forward_delay: float
    calls_iptables: bool
    calls_ip6tables: bool = False
    filters_vlans: bool = False
    default_vlan: int = 1


class Link(Struct, frozen=True):
    """`carrier` is layer 1 of the link itself, `kind` its driver family (None: hardware), `mtu` is in bytes.

    `operational`: the kernel takes frames for sending. `peer_index` is the index of a veth's other end, or of a
    macvlan's parent, in the namespace where that is; `peer_is_elsewhere`: that is another namespace than the link's.
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
    peer_is_elsewhere: bool = False
    ethernet: bool = True

    @property
    def settled(self) -> bool:
        """Whether the kernel has noticed its carrier: frames that it sends before are dropped, here or at the bridge.

        The kernel looks at both ends of a veth at once, some time after they have got a carrier (linkwatch.c): on a
        busy host that takes longer than a client needs to start. A link without a carrier counts as settled.
        """
        return self.operational or not self.carrier

    @property
    def described_kind(self) -> str:
        """For messages: "a veth link", "a hardware link"."""
        return f"a {self.kind or 'hardware'} link"


class KernelRoute(Struct, frozen=True):
    """One unicast IPv4 route of the main table; `index` is the link's, None for a multipath route."""

    route: Route
    index: int | None
    protocol: int
    priority: int = 0
    source: IPv4Address | None = None
    onlink: bool = False


class Address6(Struct, frozen=True):
    """An IPv6 address of a link, with the lifetimes in seconds that it has left; None for infinite ones.

    `temporary`: the kernel has made it for privacy (RFC 8981).
    """

    address: IPv6Interface
    permanent: bool
    temporary: bool
    valid: int | None
    preferred: int | None


def describe(route: Route) -> str:
    """For messages: "default route via 192.0.2.1"."""
    what = "default route" if route.destination == DEFAULT_DESTINATION else f"route to {route.destination}"
    return f"{what} on the link" if route.next_hop is None else f"{what} via {route.next_hop}"


def link_question(name: str | None = None) -> nlmsg:
    """Asks for the link of that name, or for all."""
    wanted = [("IFLA_IFNAME", name)] if name is not None else []
    return _message(ifinfmsg, {}, [("IFLA_EXT_MASK", RTEXT_FILTER_SKIP_STATS), *wanted])


def named_link(name: str, *, up: bool | None = None) -> nlmsg:
    """A request for the link of that name; with `up` to raise or to lower it."""
    return _message(ifinfmsg, {} if up is None else _raised(up), [("IFLA_IFNAME", name)])


def changed_link(
    index: int,
    *,
    mtu: int | None = None,
    mac: str | None = None,
    name: str | None = None,
    namespace: int | None = None,
) -> nlmsg:
    """A request to give a link that MTU, MAC or name, or to move it to the network namespace of that descriptor."""
    changes = [("IFLA_MTU", mtu), ("IFLA_ADDRESS", mac), ("IFLA_IFNAME", name), ("IFLA_NET_NS_FD", namespace)]
    return _message(ifinfmsg, {"index": index}, [(k, v) for k, v in changes if v is not None])


def bridge_port(port: Link, bridge: Link, *, up: bool) -> nlmsg:
    """A request that makes a link a port of the bridge, up or down."""
    return _message(ifinfmsg, {"index": port.index, **_raised(up)}, [("IFLA_MASTER", bridge.index)])


def link_with_token(index: int, token: IPv6Address) -> nlmsg:
    """A request that addresses of the link that are made from advertised prefixes shall end with the token."""
    of_ipv6 = {"attrs": [("IFLA_INET6_TOKEN", str(token))]}
    return _message(ifinfmsg, {"index": index}, [("IFLA_AF_SPEC", {"attrs": [("AF_INET6", of_ipv6)]})])


def veth_pair(port: str, port_mac: str, master: Link, other: str, other_mac: str, *, group: int = 0) -> nlmsg:
    """A request for a pair with the master's MTU: one end is its port, up and in the group, the other is down."""
    peer = {"attrs": _end(other, other_mac, master.mtu)}
    info = [("IFLA_INFO_KIND", "veth"), ("IFLA_INFO_DATA", {"attrs": [("VETH_INFO_PEER", peer)]})]
    place = [("IFLA_MASTER", master.index), ("IFLA_GROUP", group), ("IFLA_LINKINFO", {"attrs": info})]
    return _message(ifinfmsg, _raised(True), _end(port, port_mac, master.mtu) + place)


def macvlan(name: str, mac: str, parent: Link, mode: str, *, group: int = 0, namespace: int | None = None) -> nlmsg:
    """A request for a macvlan of the parent, down, with its MTU; here, or in the namespace of that descriptor."""
    kind = ("macvlan", "IFLA_MACVLAN_MODE", str(mode))
    return _child(kind, _end(name, mac, parent.mtu), parent, group, namespace)


def ipvlan(name: str, parent: Link, *, group: int = 0, namespace: int | None = None) -> nlmsg:
    """A request for an ipvlan of the parent on layer 2, down; here, or in the namespace of that descriptor."""
    return _child(("ipvlan", "IFLA_IPVLAN_MODE", IPVLAN_L2), [("IFLA_IFNAME", name)], parent, group, namespace)


def vlan(name: str, parent: Link, number: int, *, group: int = 0, namespace: int | None = None) -> nlmsg:
    """A request for the interface of a VLAN of the parent, down; here, or in the namespace of that descriptor."""
    return _child(("vlan", "IFLA_VLAN_ID", number), [("IFLA_IFNAME", name)], parent, group, namespace)


def _child(
    kind: tuple[str, str, object], own: list[tuple[str, object]], parent: Link, group: int, namespace: int | None
) -> nlmsg:
    """`kind` has one setting with its value; what is not in `own` is the parent's, as its MAC address and its MTU."""
    name_of_kind, setting, value = kind
    info = [("IFLA_INFO_KIND", name_of_kind), ("IFLA_INFO_DATA", {"attrs": [(setting, value)]})]
    place = [("IFLA_LINK", parent.index), ("IFLA_GROUP", group), ("IFLA_LINKINFO", {"attrs": info})]
    elsewhere = [] if namespace is None else [("IFLA_NET_NS_FD", namespace)]
    return _message(ifinfmsg, {}, [*own, *place, *elsewhere])


def no_vlans(port: Link) -> nlmsg:
    """For a request that takes a bridge's port out of all VLANs."""
    return _port_vlans(port, (VLANS[0], VLAN_FIRST), (VLANS[-1], VLAN_LAST))


def native_vlan(port: Link, number: int) -> nlmsg:
    """For a request that makes a bridge's port an untagged member of a VLAN, to which its own frames belong."""
    return _port_vlans(port, (number, VLAN_PVID | VLAN_UNTAGGED))


def _port_vlans(port: Link, *vlans: tuple[int, int]) -> nlmsg:
    entries = [("IFLA_BRIDGE_VLAN_INFO", {"vid": number, "flags": flags}) for number, flags in vlans]
    fields = {"family": AF_BRIDGE, "index": port.index}
    return _message(ifinfmsg, fields, [("IFLA_AF_SPEC", {"attrs": entries})])


def _end(name: str, mac: str, mtu: int) -> list[tuple[str, object]]:
    return [("IFLA_IFNAME", name), ("IFLA_ADDRESS", mac), ("IFLA_MTU", mtu)]


def _raised(up: bool) -> dict[str, int]:
    return {"flags": IFF_UP if up else 0, "change": IFF_UP}


def _message(kind: type[nlmsg], fields: dict[str, int], attributes: Iterable[tuple[str, object]]) -> nlmsg:
    message = kind()
    for name, value in fields.items():
        message[name] = value
    message["attrs"] = list(attributes)
    return message


def _read(kind: type[nlmsg], data: bytes) -> Any:  # noqa: ANN401  pyroute2 is untyped
    message = kind(data)
    message.decode()
    return message


def decode_link(message: bytes) -> Link:
    """Reads the few attributes that count: pyroute2 takes ten times as long, and hosts have hundreds of links."""
    _, hardware, index, flags, _ = LINK_HEADER.unpack_from(message, MESSAGE_HEADER.size)
    found = dict(attributes(message, LINK_HEADERS))

    def number(attribute: int) -> int | None:
        return int.from_bytes(found[attribute], sys.byteorder) if attribute in found else None

    kind = _text(dict(attributes(found.get(IFLA_LINKINFO, b""))).get(IFLA_INFO_KIND, b"")) or None
    sending = (IF_OPER_UP, IF_OPER_UNKNOWN) if kind in NEVER_NOTICED else (IF_OPER_UP,)
    return Link(
        index=index,
        name=_text(found.get(IFLA_IFNAME, b"")),
        mac=found.get(IFLA_ADDRESS, b"").hex(":"),
        up=bool(flags & IFF_UP),
        carrier=bool(flags & IFF_LOWER_UP),
        operational=number(IFLA_OPERSTATE) in sending,
        kind=kind,
        mtu=number(IFLA_MTU) or 0,
        group=number(IFLA_GROUP) or 0,
        master=number(IFLA_MASTER),
        peer_index=number(IFLA_LINK),
        peer_is_elsewhere=IFLA_LINK_NETNSID in found,
        ethernet=hardware == ARPHRD_ETHER,
    )


def _text(value: bytes) -> str:
    """A container may give its link a name that is not UTF-8."""
    return value.rstrip(b"\0").decode(errors="backslashreplace")


def decode_bridge(data: bytes) -> Bridge:
    """A bridge's settings. A kernel without bridge netfilter or VLAN filtering has no such switch, and does neither."""
    message = _read(ifinfmsg, data)

    def value(name: str) -> int:
        return message.get(("linkinfo", "data", f"br_{name}")) or 0

    return Bridge(
        stp=bool(value("stp_state")),
        forward_delay=value("forward_delay") / USER_HZ,
        calls_iptables=bool(value("nf_call_iptables")),
        calls_ip6tables=bool(value("nf_call_ip6tables")),
        filters_vlans=bool(value("vlan_filtering")),
        default_vlan=value("vlan_default_pvid"),
    )


def vlan_question() -> nlmsg:
    """Asks for the VLANs of all bridges and their ports."""
    return _message(ifinfmsg, {"family": AF_BRIDGE}, [("IFLA_EXT_MASK", RTEXT_FILTER_BRVLAN)])


def decode_vlans(message: bytes) -> tuple[int, frozenset[int]]:
    """The index of a bridge's port, or of the bridge, and the VLANs that it is in."""
    _, _, index, _, _ = LINK_HEADER.unpack_from(message, MESSAGE_HEADER.size)
    specific = [value for kind, value in attributes(message, LINK_HEADERS) if kind == IFLA_AF_SPEC]
    infos = (value for part in specific for kind, value in attributes(part) if kind == IFLA_BRIDGE_VLAN_INFO)
    return index, frozenset(VLAN_INFO.unpack(info)[1] for info in infos)


def attributes(data: bytes, at: int = 0) -> Iterator[tuple[int, bytes]]:
    """Attributes by their type; stops at one that is cut off."""
    while at + ATTRIBUTE.size <= len(data):
        length, kind = ATTRIBUTE.unpack_from(data, at)
        if not ATTRIBUTE.size <= length <= len(data) - at:
            return
        yield kind & KIND_MASK, data[at + ATTRIBUTE.size : at + length]
        at += (length + 3) & ~3


def address_question(family: int, index: int | None = None) -> nlmsg:
    """Asks for the addresses of this family that a link has, or that all have."""
    return _message(ifaddrmsg, {"family": family, "index": index or 0}, [])


def encode_address(index: int, address: IPv4Interface) -> nlmsg:
    """An address of a link, with the broadcast address of its subnet, if it has one."""
    fields = {"family": AF_INET, "prefixlen": address.network.prefixlen, "index": index}
    own = [("IFA_LOCAL", str(address.ip)), ("IFA_ADDRESS", str(address.ip))]
    subnet = address.network
    broadcast = [("IFA_BROADCAST", str(subnet.broadcast_address))] if subnet.prefixlen <= MAX_SUBNET else []
    return _message(ifaddrmsg, fields, [*own, *broadcast])


def decode_address(data: bytes) -> tuple[int, IPv4Interface]:
    """The link's index, and its address."""
    message = _read(ifaddrmsg, data)
    return message["index"], IPv4Interface((message.get("local"), message["prefixlen"]))


def encode_address6(index: int, address: IPv6Interface, valid: int | None, preferred: int | None) -> nlmsg:
    """An IPv6 address of a link with its lifetimes in seconds, for which the kernel does no DAD."""
    lifetimes = {"ifa_valid": FOREVER if valid is None else valid}
    lifetimes["ifa_preferred"] = FOREVER if preferred is None else min(preferred, lifetimes["ifa_valid"])
    fields = {"family": AF_INET6, "prefixlen": address.network.prefixlen, "index": index, "flags": IFA_F_NODAD}
    own = [("IFA_LOCAL", str(address.ip)), ("IFA_ADDRESS", str(address.ip))]
    return _message(ifaddrmsg, fields, [*own, ("IFA_CACHEINFO", lifetimes)])


def decode_address6(data: bytes) -> tuple[int, Address6]:
    """The link's index, and its address."""
    message = _read(ifaddrmsg, data)
    lifetimes = message.get("cacheinfo")
    valid, preferred = (None if lifetimes[f"ifa_{n}"] == FOREVER else lifetimes[f"ifa_{n}"] for n in TIMES)
    address = IPv6Interface((message.get("local") or message.get("address"), message["prefixlen"]))
    permanent, temporary = (bool(message["flags"] & flag) for flag in (IFA_F_PERMANENT, IFA_F_TEMPORARY))
    return message["index"], Address6(address, permanent, temporary, valid, preferred)


def encode_default6(index: int, router: IPv6Address, metric: int, seconds: int) -> nlmsg:
    """A default route for IPv6 that the kernel removes after so many seconds."""
    fields = {
        "family": AF_INET6,
        "table": RT_TABLE_MAIN,
        "proto": RTPROT_DHCP,
        "scope": RT_SCOPE_UNIVERSE,
        "type": RTN_UNICAST,
    }
    limits = [("RTA_PRIORITY", metric), ("RTA_EXPIRES", EXPIRES.pack(seconds))]
    return _message(rtmsg, fields, [("RTA_GATEWAY", str(router)), ("RTA_OIF", index), *limits])


def route_question(index: int | None = None) -> nlmsg:
    """Asks for the IPv4 unicast routes over all links or one, of all tables: the main one need not exist yet."""
    over = [("RTA_OIF", index)] if index is not None else []
    return _message(rtmsg, {"family": AF_INET, "type": RTN_UNICAST}, over)


def decode_route(data: bytes) -> KernelRoute | None:
    """The route; None if it is no plain unicast IPv4 route of the main table, or leads over an IPv6 router."""
    message = _read(rtmsg, data)
    if message["table"] != RT_TABLE_MAIN or message["type"] != RTN_UNICAST or message.get("via"):
        return None
    gateway, source = message.get("gateway"), message.get("prefsrc")
    return KernelRoute(
        route=Route(
            IPv4Network((message.get("dst") or 0, message["dst_len"])), IPv4Address(gateway) if gateway else None
        ),
        index=message.get("oif"),
        protocol=message["proto"],
        priority=message.get("priority") or 0,
        source=IPv4Address(source) if source else None,
        onlink=bool(message["flags"] & RTNH_F_ONLINK),
    )


def encode_route(index: int, route: KernelRoute) -> nlmsg:
    """A unicast route of the main table over the link `index`."""
    destination, hop = route.route.destination, route.route.next_hop
    fields = {
        "family": AF_INET,
        "dst_len": destination.prefixlen,
        "table": RT_TABLE_MAIN,
        "proto": route.protocol,
        "scope": RT_SCOPE_LINK if hop is None else RT_SCOPE_UNIVERSE,
        "type": RTN_UNICAST,
        "flags": RTNH_F_ONLINK if route.onlink else 0,
    }
    optional = [
        ("RTA_GATEWAY", hop and str(hop)),
        ("RTA_PRIORITY", route.priority or None),
        ("RTA_PREFSRC", route.source and str(route.source)),
    ]
    given = [("RTA_DST", str(destination.network_address)), ("RTA_OIF", index)]
    return _message(rtmsg, fields, [*given, *((name, value) for name, value in optional if value is not None)])
