"""The interface of every kind of link, and the class of each kind."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import ClassVar, Protocol

from workers.contract.lease import Route
from workers.contract.link import LinkKind, LinkSpec, container_link, host_link, vlan_of
from workers.contract.messages import EndpointSpec
from workers.link.host_macvlan import HostMacvlan
from workers.link.ipvlan import Ipvlan
from workers.link.macvlan import Macvlan
from workers.link.shared_mac import share_answers
from workers.link.veth_bridge import VethOnBridge
from workers.netlink.operations import Link, Netlink, NetlinkError

log = logging.getLogger(__name__)


class EndpointLink(Protocol):
    """The link of one endpoint, which need not exist; each kind has one class.

    The object goes from one process of the worker to the next, so it holds no descriptor. A `netlink` belongs to the
    host's network namespace, except in `find`. All methods but `mtu_limit` raise NetlinkError.

    `moves_sooner_down`: Docker moves it into a sandbox sooner if it is down.
    """

    moves_sooner_down: ClassVar[bool]

    def __init__(self, spec: EndpointSpec) -> None: ...

    @staticmethod
    def check(netlink: Netlink, spec: LinkSpec) -> None:
        """Raises NetlinkError if the parent cannot carry such links: the text says why, and what to do."""

    def make(self, netlink: Netlink) -> None:
        """Makes the link `spec.container_link`, up and ready to send; leaves nothing behind if it fails."""

    def recognise(self, netlink: Netlink) -> None:
        """Reads from the kernel what `find` needs, if another process made the link."""

    def find(self, netlink: Netlink) -> Link | None:
        """The link in the namespace of `netlink`, a sandbox; by then the engine or the container has renamed it."""

    def mtu_limit(self, link: Link) -> int:
        """The largest MTU that its parent takes; `link` is what was found."""

    def parent_routes(self, netlink: Netlink) -> tuple[Route, ...]:
        """The static routes over its parent on the host, which the container gets, too."""

    def remove(self, netlink: Netlink) -> None:
        """Removes the link, also from a sandbox if it has an end on the host; a missing link is no error."""

    def went_with_parent(self, netlink: Netlink) -> bool:
        """Whether a link that is gone has gone because its parent has."""

    @staticmethod
    def unused(links: Iterable[Link], mark: int) -> Iterator[Link]:
        """The container ends of the host's `links` that have this mark, if the container end is in no sandbox."""


KINDS: dict[LinkKind, type[EndpointLink]] = {
    LinkKind.BRIDGE: VethOnBridge,
    LinkKind.MACVLAN: Macvlan,
    LinkKind.IPVLAN: Ipvlan,
}


def on_the_wire(spec: EndpointSpec) -> EndpointSpec:
    """The endpoint with the MAC address that its frames have, which only the kernel knows if it is the parent's.

    If the parent is missing, nothing can be sent anyway.
    """
    if spec.link.has_own_mac:
        return spec
    card, _ = vlan_of(spec.link.parent) or (spec.link.parent, 0)
    try:
        with Netlink() as netlink:
            parent = netlink.link(spec.link.parent) or netlink.link(card)
    except (NetlinkError, OSError) as error:
        log.warning("the MAC address of %s is not known: %s", spec.link.parent, error)
        return spec
    return replace(spec, mac=parent.mac) if parent else spec


def link_of(spec: EndpointSpec) -> EndpointLink:
    """The link of this endpoint, which need not exist yet."""
    return HostMacvlan(spec) if spec.link.on_host else KINDS[spec.link.kind](spec)


def make_hearing(netlink: Netlink, spec: EndpointSpec, link: EndpointLink) -> None:
    """Makes the link for a client that awaits answers, and lets those reach it if others have its MAC address, too."""
    link.make(netlink)
    if not spec.link.has_own_mac:
        share_answers(spec.link.parent, spec.mark)


def remove_any(netlink: Netlink, endpoint_id: str) -> None:
    """Removes an endpoint's link of any kind; a missing link is no error."""
    for name in (host_link(endpoint_id), container_link(endpoint_id)):
        netlink.delete_link(name)


def discard(spec: EndpointSpec, link: EndpointLink) -> None:
    """Removes the link of an endpoint that ends; only logs a failure, because no caller could mend it."""
    try:
        with Netlink() as netlink:
            link.remove(netlink)
    except (NetlinkError, OSError) as error:
        log.warning("%s not removed: %s", spec.container_link, error)
