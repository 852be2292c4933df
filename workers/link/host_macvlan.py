"""The host's own macvlan beside those of its containers: the kernel passes no frame between these and their parent.

The host gains the way to its containers by it, and nothing else: the link has one address without a subnet, no default
route and no IPv6, and does not answer for the host's other addresses. So all else stays on the parent.
"""

import logging
from collections.abc import Collection, Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network
from types import MappingProxyType
from typing import ClassVar

from workers.contract.lease import Route
from workers.link.macvlan import Macvlan
from workers.netlink.operations import Link, Netlink, NetlinkError
from workers.netlink.rtnetlink import RTPROT_STATIC, KernelRoute, describe

# ip-sysctl. Other machines and containers ask on this link for the host's other addresses, too: only the parent may
# answer. Questions name the link's own address. A server answers from an address to which the parent leads, which
# strict filtering would drop.
SETTINGS = MappingProxyType({"arp_ignore": 1, "arp_announce": 2, "rp_filter": 2})

log = logging.getLogger(__name__)


class HostMacvlan(Macvlan):
    """The host's link on one network (workers.link.endpoint_link)."""

    moves_sooner_down: ClassVar[bool] = False  # it stays where it is
    _ipv4: ClassVar[Mapping[str, int]] = SETTINGS

    def make(self, netlink: Netlink) -> None:
        """Also takes the place of one that was left behind with a state that is lost."""
        netlink.delete_link(self._name)
        super().make(netlink)

    def find(self, netlink: Netlink) -> Link | None:
        """It is where it was made, under its name."""
        link = netlink.link(self._name)
        return link if link is not None and link.mac == self._mac else None


def reach(interface: str, source: IPv4Address, addresses: Collection[IPv4Address]) -> None:
    """Makes the routes over the host's link `interface` lead to these addresses; leaves others' routes alone.

    Logs what the kernel refuses. Raises NetlinkError if the link has gone.
    """
    with Netlink() as netlink:
        link = netlink.require_link(interface)
        there = [found for found in netlink.routes(link.index) if found.protocol == RTPROT_STATIC]
        wanted = [KernelRoute(Route(IPv4Network(a)), link.index, RTPROT_STATIC, source=source) for a in addresses]
        for sentence in _change(netlink, link, there, wanted):
            log.info(sentence, extra={"interface": interface})


def _change(netlink: Netlink, link: Link, there: list[KernelRoute], wanted: list[KernelRoute]) -> Iterator[str]:
    for route in (found for found in there if found not in wanted):
        netlink.delete_route(link, route)
        yield f"{describe(route.route)} removed"
    for route in (one for one in wanted if one not in there):
        try:
            netlink.add_route(link, route)
        except NetlinkError as error:
            yield str(error)  # the host still reaches the others
        else:
            yield f"{describe(route.route)} added"
