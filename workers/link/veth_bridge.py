"""A veth pair: one end is a port of a bridge on the host, the other one goes into the container."""

import errno
from collections.abc import Iterable, Iterator
from typing import ClassVar

from workers.contract.lease import Route
from workers.contract.link import CONTAINER_LINK_PREFIX, HOST_LINK_PREFIX, LinkSpec
from workers.contract.messages import EndpointSpec
from workers.link.parent import static_routes
from workers.link.silence import silence
from workers.netlink.operations import Link, Netlink, NetlinkError
from workers.netlink.rtnetlink import veth_pair


class VethOnBridge:
    """The link of one endpoint (workers.link.kind.EndpointLink)."""

    moves_sooner_down: ClassVar[bool] = False

    def __init__(self, spec: EndpointSpec) -> None:
        self._spec = spec
        self._port = spec.link.host_end(spec.endpoint_id) or ""
        self._container_link = spec.container_link
        self._bridge = spec.link.parent
        self._mac = spec.mac.lower()
        self._mark = spec.mark
        self._host_end: Link | None = None

    @staticmethod
    def check(netlink: Netlink, spec: LinkSpec) -> None:
        """The parent has to be a bridge, and to filter VLANs if one of them is wanted."""
        bridge = netlink.require_link(spec.parent, "bridge")
        if spec.vlan is not None and not netlink.settings(bridge).filters_vlans:
            raise NetlinkError(
                f"putting containers into VLAN {spec.vlan}",
                errno.EINVAL,
                f"the bridge {bridge.name} does not filter VLANs: switch it on with `ip link set {bridge.name} type "
                f"bridge vlan_filtering 1`, or use -o parent=CARD.{spec.vlan} in place of bridge and vlan",
            )

    def make(self, netlink: Netlink) -> None:
        """Makes the pair by two changes and two questions; both ends are up, with the bridge's MTU.

        The message that creates the pair contains the MACs, so that udev takes them for chosen. IPv6 is off before the
        container's end gets a carrier, so that the host takes no router advertisements on it.
        """
        bridge = netlink.require_link(self._bridge, "bridge")
        pair = veth_pair(self._port, host_mac(self._mac), bridge, self._container_link, self._mac, group=self._mark)
        netlink.create_link(f"the veth pair {self._port}, {self._container_link} on {self._bridge}", pair)
        try:
            self._raise_silently(netlink)
        except NetlinkError:
            self.remove(netlink)
            raise

    def _raise_silently(self, netlink: Netlink) -> None:
        silence(self._spec, self._port)
        if self._spec.link.vlan is not None:
            netlink.set_native_vlan(netlink.require_link(self._port), self._spec.link.vlan)
        netlink.raise_link(self._container_link)
        self._host_end = netlink.await_operational(self._port)

    def recognise(self, netlink: Netlink) -> None:
        """Reads the index of its port, which the container's end names as its peer."""
        if self._host_end is None:
            self._host_end = netlink.link(self._port)

    def find(self, netlink: Netlink) -> Link | None:
        """The veth whose other end is our port.

        The MAC has to be ours as well: a veth that the container made has an index of another namespace in it.
        """
        if self._host_end is None:
            return None  # the ends of a pair go together
        known = ("veth", self._host_end.index, self._mac)
        return next((link for link in netlink.links() if (link.kind, link.peer_index, link.mac) == known), None)

    def mtu_limit(self, link: Link) -> int:
        """The bridge's MTU when the pair was made, which the port still has."""
        return self._host_end.mtu if self._host_end else link.mtu

    def parent_routes(self, netlink: Netlink) -> tuple[Route, ...]:
        """The static routes over the bridge."""
        return static_routes(netlink, self._host_end.master) if self._host_end else ()

    def remove(self, netlink: Netlink) -> None:
        """Removes the port, and with it the other end, in any namespace."""
        netlink.delete_link(self._port)

    @staticmethod
    def went_with_parent(netlink: Netlink) -> bool:
        """A bridge that goes leaves its ports behind."""
        return False

    @staticmethod
    def unused(links: Iterable[Link], mark: int) -> Iterator[Link]:
        """The pairs whose both ends are here under their first names; the port has the mark."""
        by_index = {link.index: link for link in links}
        for port in by_index.values():
            other = by_index.get(port.peer_index or 0)
            if port.group == mark and other is not None and _is_pair(port, other):
                yield other


def host_mac(mac: str) -> str:
    """The port's MAC. It is so high that no bridge takes it for its own: a bridge takes its ports' lowest."""
    return f"fe:{mac.split(':', 1)[1]}"


def _is_pair(port: Link, other: Link) -> bool:
    prefix, _, name = port.name.partition("-")
    names = (f"{prefix}-", other.name) == (HOST_LINK_PREFIX, f"{CONTAINER_LINK_PREFIX}{name}")
    return names and other.peer_index == port.index and port.kind == other.kind == "veth"
