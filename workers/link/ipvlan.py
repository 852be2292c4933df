"""An ipvlan: an interface beside its parent with the parent's MAC address; all of it goes into the container."""

import errno
from collections.abc import Iterable, Iterator
from typing import ClassVar

from pyroute2.netlink import nlmsg

from workers.contract.link import CONTAINER_LINK_PREFIX, LinkKind, LinkSpec
from workers.link.macvlan import Macvlan
from workers.link.parent import create_on_card, require_card
from workers.link.silence import silence
from workers.link.vlan_parent import check_absent, is_absent
from workers.netlink.operations import Link, Netlink, NetlinkError
from workers.netlink.rtnetlink import ipvlan
from workers.system.namespaces import new_namespace

KIND = LinkKind.IPVLAN.value


class Ipvlan(Macvlan):
    """The link of one endpoint (workers.link.kind.EndpointLink). The kernel gives it frames by their IP address."""

    moves_sooner_down: ClassVar[bool] = False

    @staticmethod
    def check(netlink: Netlink, spec: LinkSpec) -> None:
        """Tries it, too, in a namespace that goes with it: only the kernel knows what else uses the parent."""
        if is_absent(netlink, spec.parent):
            check_absent(netlink, spec.parent)
            return
        parent = require_card(netlink, spec.parent)
        with new_namespace() as scratch:
            message = ipvlan("probe", parent, namespace=scratch.fileno())
            _create(netlink, f"an ipvlan of {parent.name}", message, parent.name)

    def _make(self, netlink: Netlink, parent: Link) -> None:
        message = ipvlan(self._name, parent, group=self._mark)
        _create(netlink, f"the ipvlan {self._name} of {parent.name}", message, parent.name)
        try:
            silence(self._spec, None)
            netlink.raise_link(self._name)
        except NetlinkError:
            self.remove(netlink)
            raise

    def find(self, netlink: Netlink) -> Link | None:
        """The ipvlan whose parent is ours. One that the container made of it has the same parent; ours is up."""
        if self._parent is None:
            return None  # an ipvlan goes with its parent
        known = (KIND, self._parent.index, True)
        found = [n for n in netlink.links() if (n.kind, n.peer_index, n.peer_is_elsewhere) == known]
        return max(found, key=lambda link: link.up, default=None)

    @staticmethod
    def unused(links: Iterable[Link], mark: int) -> Iterator[Link]:
        """The ipvlans that are here under their first names and have the mark."""
        return (n for n in links if n.kind == KIND and n.group == mark and n.name.startswith(CONTAINER_LINK_PREFIX))


def _create(netlink: Netlink, what: str, message: nlmsg, parent: str) -> None:
    reasons = {
        errno.EBUSY: f"{parent} is in use by macvlan, or is a port of something, and the kernel allows no ipvlan "
        "beside that; remove it, or use another parent",
        errno.EINVAL: f"{parent} has ipvlans of another mode; remove them, or use another parent",
        errno.EOPNOTSUPP: "this kernel has no ipvlan (`modprobe ipvlan` loads it where there is a module)",
    }
    create_on_card(netlink, what, message, reasons)
