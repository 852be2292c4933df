"""Finds the causes on this host that stop a DHCP exchange over a link's parent, the likeliest first.

Owns the wording. Only reads, in the present namespace. Must not know endpoints or the exchange itself.
"""

from collections.abc import Iterator
from pathlib import Path

from workers.contract.link import HOST_LINK_PREFIX, LinkKind, LinkSpec
from workers.diagnosis.firewall import drops_forwarded
from workers.diagnosis.hypervisor import port_security
from workers.netlink.operations import Netlink, NetlinkError
from workers.netlink.rtnetlink import Bridge, Link

NO_CAUSE = "no cause found on this host; is there a DHCP server on this LAN, and does it serve this MAC address?"
CALL_IPTABLES = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")


def likely_cause(spec: LinkSpec) -> str:
    """Why no DHCP answer came, in one sentence; never fails."""
    try:
        found = next(_findings(spec), None)
    except (NetlinkError, OSError) as error:
        return str(error)  # a parent that has gone is a cause, too
    return found or port_security() or NO_CAUSE


def warnings(spec: LinkSpec) -> tuple[str, ...]:
    """All findings, for `network create`; raises NetlinkError if there is no such parent."""
    return tuple(_findings(spec))


def _findings(spec: LinkSpec) -> Iterator[str]:
    with Netlink() as netlink:
        if spec.kind is LinkKind.BRIDGE:
            yield from _of_bridge(netlink, netlink.require_link(spec.parent, "bridge"))
        else:
            yield from _of_card(netlink.require_link(spec.parent))


def _of_card(card: Link) -> Iterator[str]:
    if not card.up:
        yield _is_down(card)
    elif not card.carrier:
        yield f"{card.name} has no carrier: is the cable plugged in?"


def _is_down(link: Link) -> str:
    return f"{link.name} is down: raise it with `ip link set {link.name} up`"


def _of_bridge(netlink: Netlink, bridge: Link) -> Iterator[str]:
    settings = netlink.settings(bridge)
    if not bridge.up:
        yield _is_down(bridge)
    yield from _spanning_tree(bridge, settings)
    yield from _packet_filter(bridge, settings)
    yield from _uplinks(bridge, [link for link in netlink.links() if link.master == bridge.index])


def _spanning_tree(bridge: Link, settings: Bridge) -> Iterator[str]:
    if settings.stp and settings.forward_delay:
        yield (
            f"STP is on for {bridge.name} with a forward delay of {settings.forward_delay:g} s: a new port "
            f"forwards nothing for twice as long; switch it off with `ip link set {bridge.name} type bridge "
            f"stp_state 0` or raise lease_timeout"
        )


def _packet_filter(bridge: Link, settings: Bridge) -> Iterator[str]:
    try:
        dropped = _calls_iptables(settings) and drops_forwarded(bridge.name)
    except OSError as error:
        yield f"the packet filter could not be read ({error})"
        return
    if dropped:
        yield (
            f"the FORWARD policy is DROP and bridge-nf-call-iptables is 1, so that frames between the ports of "
            f"{bridge.name} are dropped: allow them with "
            f"`iptables -I FORWARD -i {bridge.name} -o {bridge.name} -j ACCEPT`"
        )


def _calls_iptables(settings: Bridge) -> bool:
    try:
        everywhere = CALL_IPTABLES.read_text().strip() != "0"
    except FileNotFoundError:
        return False  # br_netfilter is not loaded
    return everywhere or settings.calls_iptables


def _uplinks(bridge: Link, ports: list[Link]) -> Iterator[str]:
    uplinks = [port for port in ports if not port.name.startswith(HOST_LINK_PREFIX)]
    if not uplinks:
        yield (
            f"{bridge.name} has no port but containers' (no uplink): only a DHCP server on this host can answer; "
            f"add the LAN's interface with `ip link set INTERFACE master {bridge.name}`"
        )
    elif not any(port.up and port.carrier for port in uplinks):
        names = ", ".join(port.name for port in uplinks)
        yield f"no uplink of {bridge.name} has a carrier ({names}): is the cable plugged in and the interface up?"
