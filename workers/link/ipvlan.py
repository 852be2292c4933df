"""An ipvlan: an interface beside its parent with the parent's MAC address; all of it goes into the container."""

from typing import ClassVar

from pyroute2.netlink import nlmsg

from workers.contract.link import LinkKind, LinkSpec
from workers.link.macvlan import Macvlan
from workers.netlink.operations import Link, Netlink
from workers.netlink.rtnetlink import ipvlan


class Ipvlan(Macvlan):
    """As a macvlan, but that the kernel gives it frames by their IP address."""

    moves_sooner_down: ClassVar[bool] = False
    kind: ClassVar[LinkKind] = LinkKind.IPVLAN
    busy: ClassVar[str] = "is in use by macvlan, or is a port of something, and the kernel allows no ipvlan beside that"
    unfit: ClassVar[str] = "ipvlans of another mode; remove them, or use another parent"

    @classmethod
    def _check_card(cls, parent: Link) -> None:
        """A Wi-Fi card fits."""

    @classmethod
    def _message(
        cls, name: str, _: str, parent: Link, __: LinkSpec, *, group: int = 0, namespace: int | None = None
    ) -> nlmsg:
        return ipvlan(name, parent, group=group, namespace=namespace)

    def _raise(self, netlink: Netlink, name: str) -> None:
        netlink.raise_link(name)

    def find(self, netlink: Netlink) -> Link | None:
        """The ipvlan whose parent is ours. One that the container made of it has the same parent; ours is up."""
        return max(self._siblings(netlink), key=lambda link: link.up, default=None)
