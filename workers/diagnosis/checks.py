"""The checks of a network's parent: a table of them, each of which looks at the host for one thing.

Owns their words. Only reads, in the present namespace. Must not know endpoints, nor what an exchange with a server saw.
"""

import struct
from collections.abc import Callable, Iterator
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from workers.contract.finding import GRAVITY, Check, Finding, Severity
from workers.contract.link import HOST_LINK_PREFIX, LinkKind, LinkSpec, vlan_of
from workers.netlink.operations import Netlink, NetlinkError
from workers.netlink.rtnetlink import Bridge, Link

CALL_IPTABLES = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
CALL_IP6TABLES = Path("/proc/sys/net/bridge/bridge-nf-call-ip6tables")
IPV6 = Path("/proc/sys/net/ipv6")
INTERFACES = Path("/sys/class/net")
IPV4_SETTINGS = Path("/proc/sys/net/ipv4/conf")
STRICT = 1  # of rp_filter (RFC 3704); 2 is loose

Words = Iterator[tuple[str, str]]  # what was found, and the remedy


class Host(Struct, frozen=True):
    """The part of the host that the checks look at. `bridge`, `ports` and `vlans` are empty for a card.

    `rivals` are other interfaces of the host that are in the parent's subnet.
    """

    parent: Link
    wants_ipv6: bool
    bridge: Bridge | None = None
    ports: tuple[Link, ...] = ()
    vlans: dict[int, frozenset[int]] | None = None
    rivals: tuple[str, ...] = ()

    @property
    def uplinks(self) -> tuple[Link, ...]:
        """The ports that are not ours."""
        return tuple(port for port in self.ports if not port.name.startswith(HOST_LINK_PREFIX))


class HostCheck(Struct, frozen=True):
    """A check of the table; `on` are the kinds of link that it concerns."""

    check: Check
    on: frozenset[LinkKind]
    look: Callable[[Host], Words]


ON_BRIDGES = frozenset({LinkKind.BRIDGE})
ON_CARDS = frozenset(LinkKind) - ON_BRIDGES
ON_MACVLANS = frozenset({LinkKind.MACVLAN})
ON_ALL = frozenset(LinkKind)
NO_PARENT = Check("no-parent", Severity.ERROR)
NOT_READ = Check("not-read", Severity.WARNING)
IPV6_OFF = Check("ipv6-off", Severity.ERROR)


def diagnose(spec: LinkSpec, *, ipv6: bool = False) -> tuple[Finding, ...]:
    """All that is wrong with the network's parent, the gravest first and then the likeliest; never fails."""
    try:
        host = _host(spec, ipv6)
    except (NetlinkError, OSError) as error:
        remedy = "`ip link` lists the interfaces that this host has"
        return (NO_PARENT.finding(str(error), remedy),)
    found = [one for check in CHECKS if spec.kind in check.on for one in _findings(check, host)]
    return tuple(sorted(found, key=lambda finding: GRAVITY.index(finding.severity)))


def _host(spec: LinkSpec, ipv6: bool) -> Host:
    with Netlink() as netlink:
        if spec.kind is not LinkKind.BRIDGE:
            card, _ = vlan_of(spec.parent) or (spec.parent, 0)  # a VLAN is made when it is needed
            parent = netlink.link(spec.parent) or netlink.require_link(card)
            return Host(parent, ipv6, rivals=_rivals(netlink, parent))
        parent = netlink.require_link(spec.parent, "bridge")
        bridge = netlink.settings(parent)
        if spec.vlan is not None:
            bridge = replace(bridge, default_vlan=spec.vlan)
        ports = tuple(link for link in netlink.links() if link.master == parent.index)
        vlans = netlink.vlans() if bridge.filters_vlans else None
        return Host(parent, ipv6, bridge, ports, vlans, _rivals(netlink, parent))


def _rivals(netlink: Netlink, parent: Link) -> tuple[str, ...]:
    """There may be hundreds of links, but most hosts have one address in a subnet."""
    own = {address.network for address in netlink.addresses(parent.index) if address.network.prefixlen < 32}
    if not own or sum(address.network in own for address in netlink.addresses()) < 2:
        return ()
    others = (link for link in netlink.links() if link.up and link.index != parent.index)
    return tuple(link.name for link in others if own & {one.network for one in netlink.addresses(link.index)})


def _findings(check: HostCheck, host: Host) -> Iterator[Finding]:
    try:
        for found, remedy in check.look(host):
            yield check.check.finding(found, remedy)
    except (OSError, LookupError, struct.error) as error:  # another kernel may have rules of other forms
        found = f"the check {check.check.id} could not be made ({error})"
        yield NOT_READ.finding(found, "see whether the plugin has the capability CAP_NET_ADMIN")


def is_wireless(interface: str) -> bool:
    """Whether the interface of that name is a Wi-Fi card."""
    return any((INTERFACES / interface / entry).exists() for entry in ("phy80211", "wireless"))


def _is_down(host: Host) -> Words:
    if not host.parent.up:
        yield f"{host.parent.name} is down", f"raise it with `ip link set {host.parent.name} up`"


def _has_no_carrier(host: Host) -> Words:
    if host.parent.up and not host.parent.carrier:
        yield f"{host.parent.name} has no carrier", "is the cable plugged in? `ip link` shows LOWER_UP when it is"


def _is_wireless(host: Host) -> Words:
    """A bridge has a Wi-Fi card as a port only where the access point takes frames from other machines behind it."""
    if is_wireless(host.parent.name):
        found = f"{host.parent.name} is a Wi-Fi card, whose access point accepts frames from its own MAC address only"
        yield found, "use a wired card, or share its MAC address: `docker network create … -o mode=ipvlan`"


def _has_no_ipv6(host: Host) -> Words:
    if host.wants_ipv6 and not IPV6.exists():
        remedy = "remove ipv6.disable=1 from the kernel's command line and `reboot`, or leave out -o ipv6"
        yield "the host's kernel has no IPv6", remedy


def _drops_by_way_back(host: Host) -> Words:
    """It concerns a server on this host: what a client without an address sends passes, and its renewals do not."""
    name = host.parent.name
    if host.rivals and max(int((IPV4_SETTINGS / of / "rp_filter").read_text()) for of in ("all", name)) == STRICT:
        found = (
            f"rp_filter is strict for {name}, and this host is in its subnet through {', '.join(host.rivals)}, too: a "
            "DHCP server on this host may not hear renewals"
        )
        yield found, f"`sysctl -w net.ipv4.conf.{name.replace('.', '/')}.rp_filter=2`, or remove the other address"


def _drops_ip(host: Host) -> Words:
    if host.bridge is not None and _calls(CALL_IPTABLES, host.bridge.calls_iptables):
        yield from _dropped(host, "bridge-nf-call-iptables is 1, and ")


def _drops_ip6(host: Host) -> Words:
    if host.wants_ipv6 and host.bridge is not None and _calls(CALL_IP6TABLES, host.bridge.calls_ip6tables):
        yield from _dropped(host, "bridge-nf-call-ip6tables is 1, and ", ipv6=True)


def _drops_bridged(host: Host) -> Words:
    yield from _dropped(host, "", bridged=True)


def _dropped(host: Host, because: str, *, ipv6: bool = False, bridged: bool = False) -> Words:
    from workers.diagnosis import firewall, packet  # half a megabyte that only jobs and failed starts need

    name = host.parent.name
    first = (packet.solicit if ipv6 else packet.discover)(name, host.parent.index)
    for where, remedy in (firewall.drops_of_bridge if bridged else firewall.drops_of_ip)(first):
        yield f"{because}the packet filter drops DHCP between the ports of {name} ({where})", remedy


def _calls(everywhere: Path, here: bool) -> bool:
    """Whether the switch of all bridges or that of this one is on."""
    try:
        switch = everywhere.read_text().strip() != "0"
    except FileNotFoundError:
        return False  # br_netfilter is not loaded
    return switch or here


def _filters_vlans(host: Host) -> Words:
    if host.bridge is None or host.vlans is None or not host.uplinks:
        return
    name, vlan = host.parent.name, host.bridge.default_vlan
    if not vlan:
        found = f"{name} filters VLANs, and puts new ports into none"
        yield found, f"`ip link set {name} type bridge vlan_default_pvid 1`"
    elif not any(vlan in host.vlans.get(port.index, ()) for port in host.uplinks):
        found = f"{name} filters VLANs, and no uplink ({_names(host.uplinks)}) is in the containers' VLAN {vlan}"
        yield found, f"put it there with `bridge vlan add dev {host.uplinks[0].name} vid {vlan} pvid untagged`"


def _has_no_uplink(host: Host) -> Words:
    if not host.uplinks:
        name = host.parent.name
        found = f"{name} has no ports besides the containers' (no uplink), so only a server on this host can answer"
        yield found, f"add the LAN's interface with `ip link set INTERFACE master {name}`"


def _uplinks_have_no_carrier(host: Host) -> Words:
    if host.uplinks and not any(port.up and port.carrier for port in host.uplinks):
        found = f"no uplink of {host.parent.name} has a carrier ({_names(host.uplinks)})"
        yield found, f"plug the cable in, or raise it with `ip link set {host.uplinks[0].name} up`"


def _has_spanning_tree(host: Host) -> Words:
    bridge, name = host.bridge, host.parent.name
    if bridge is not None and bridge.stp and bridge.forward_delay:
        delay = f"a forward delay of {bridge.forward_delay:g} s"
        found = f"STP is on for {name} with {delay}, and a new port forwards nothing for twice as long"
        yield found, f"switch it off with `ip link set {name} type bridge stp_state 0`, or raise lease_timeout"


def _names(links: tuple[Link, ...]) -> str:
    return ", ".join(link.name for link in links)


CHECKS = (
    HostCheck(IPV6_OFF, ON_ALL, _has_no_ipv6),
    HostCheck(Check("parent-down", Severity.ERROR), ON_ALL, _is_down),
    HostCheck(Check("no-carrier", Severity.ERROR), ON_CARDS, _has_no_carrier),
    HostCheck(Check("wifi", Severity.ERROR), ON_MACVLANS, _is_wireless),
    HostCheck(Check("uplink-carrier", Severity.ERROR), ON_BRIDGES, _uplinks_have_no_carrier),
    HostCheck(Check("firewall-ip", Severity.ERROR), ON_BRIDGES, _drops_ip),
    HostCheck(Check("firewall-ip6", Severity.ERROR), ON_BRIDGES, _drops_ip6),
    HostCheck(Check("firewall-bridge", Severity.ERROR), ON_BRIDGES, _drops_bridged),
    HostCheck(Check("vlan-filtering", Severity.ERROR), ON_BRIDGES, _filters_vlans),
    HostCheck(Check("no-uplink", Severity.WARNING), ON_BRIDGES, _has_no_uplink),
    HostCheck(Check("stp-delay", Severity.WARNING), ON_BRIDGES, _has_spanning_tree),
    HostCheck(Check("rp-filter", Severity.WARNING), ON_ALL, _drops_by_way_back),
)
