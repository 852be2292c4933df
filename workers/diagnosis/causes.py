"""Finds the causes on this host that stop a DHCP exchange over a bridge, the likeliest first.

Owns the wording. Only reads, in the present namespace. Must not know endpoints or the exchange itself.
"""

from collections.abc import Iterator
from pathlib import Path

from workers.contract.link import HOST_LINK_PREFIX
from workers.diagnosis.firewall import drops_forwarded
from workers.netlink.operations import Netlink, NetlinkError
from workers.netlink.rtnetlink import Bridge, Link

NO_CAUSE = "no cause found on this host; is there a DHCP server on this LAN, and does it serve this MAC address?"
CALL_IPTABLES = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")


def likely_cause(bridge: str) -> str:
    """Why no DHCP answer came, in one sentence; never fails."""
    try:
        with Netlink() as netlink:
            found = next(_findings(netlink, netlink.require_link(bridge, "bridge")), None)
    except (NetlinkError, OSError) as error:
        return str(error)  # a bridge that has gone is a cause, too
    return found or NO_CAUSE


def warnings(bridge: str) -> tuple[str, ...]:
    """All findings, for `network create`; raises NetlinkError if there is no such bridge."""
    with Netlink() as netlink:
        return tuple(_findings(netlink, netlink.require_link(bridge, "bridge")))


def _findings(netlink: Netlink, bridge: Link) -> Iterator[str]:
    settings = netlink.settings(bridge)
    if not bridge.up:
        yield f"{bridge.name} is down: raise it with `ip link set {bridge.name} up`"
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
