"""A veth pair: one end is a port of a bridge on the host, the other one goes into the container."""

import errno
from collections.abc import Iterable, Iterator

from workers.contract.link import CONTAINER_LINK_PREFIX, HOST_LINK_PREFIX, LinkSpec
from workers.contract.messages import EndpointSpec
from workers.link.endpoint_link import EndpointLink
from workers.netlink.operations import Link, Netlink, NetlinkError
from workers.netlink.rtnetlink import veth_pair


class VethOnBridge(EndpointLink):
    """The link of one endpoint (workers.link.endpoint_link). Its landmark is the port, which has the bridge's MTU."""

    def __init__(self, spec: EndpointSpec, landmark: Link | None = None) -> None:
        super().__init__(spec, landmark)
        self._landmark_name = spec.link.host_end(spec.endpoint_id) or ""

    @classmethod
    def check(cls, netlink: Netlink, spec: LinkSpec) -> None:
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
        port, bridge = self._landmark_name, netlink.require_link(self._spec.link.parent, "bridge")
        pair = veth_pair(port, host_mac(self._mac), bridge, self._name, self._mac, group=self._spec.mark)
        netlink.create_link(f"the veth pair {port}, {self._name} on {bridge.name}", pair)
        self._raise_or_remove(netlink)

    def _raise(self, netlink: Netlink, name: str) -> None:
        if self._spec.link.vlan is not None:
            netlink.set_native_vlan(netlink.require_link(self._landmark_name), self._spec.link.vlan)
        netlink.raise_link(name)
        self.landmark = netlink.await_operational(self._landmark_name)

    def find(self, netlink: Netlink) -> Link | None:
        """The veth whose other end is our port.

        The MAC has to be ours as well: a veth that the container made has an index of another namespace in it.
        """
        if self.landmark is None:
            return None  # the ends of a pair go together
        known = ("veth", self.landmark.index, self._mac)
        return next((link for link in netlink.links() if (link.kind, link.peer_index, link.mac) == known), None)

    @property
    def _parent_index(self) -> int | None:
        return self.landmark.master if self.landmark else None

    @classmethod
    def unused(cls, links: Iterable[Link], mark: int) -> Iterator[Link]:
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
