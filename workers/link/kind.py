"""What every kind of link can do, and which class does it for which kind."""

import logging
from collections.abc import Iterable, Iterator
from typing import Protocol

from workers.contract.lease import Route
from workers.contract.link import LinkKind, LinkSpec, container_link
from workers.contract.messages import EndpointSpec
from workers.link.veth_bridge import VethOnBridge
from workers.netlink.operations import Link, Netlink, NetlinkError

log = logging.getLogger(__name__)


class EndpointLink(Protocol):
    """The link of one endpoint, which need not exist; one class for each kind.

    It goes from one process of the worker to the next, so it holds no descriptor. A `netlink` is of the host's network
    namespace, except where `find` says otherwise. All but `mtu_limit` raise NetlinkError.
    """

    def __init__(self, spec: EndpointSpec) -> None: ...

    def make(self, netlink: Netlink) -> None:
        """Makes it, under the name `spec.container_link`, up and ready to send; leaves nothing behind if it fails."""

    def recognise(self, netlink: Netlink) -> None:
        """Learns what `find` needs, if another process made the link."""

    def find(self, netlink: Netlink) -> Link | None:
        """The link in the namespace of `netlink`, a sandbox; by then the engine or the container has renamed it."""

    def mtu_limit(self, link: Link) -> int:
        """The largest MTU that its parent takes; `link` is what was found."""

    def parent_routes(self, netlink: Netlink) -> tuple[Route, ...]:
        """The static routes over its parent on the host, which the container is to have, too."""

    def remove(self, netlink: Netlink) -> None:
        """Removes it, also from a sandbox if it has an end on the host; one that does not exist is no error."""

    @staticmethod
    def unused(links: Iterable[Link], mark: int) -> Iterator[Link]:
        """Those of the host's `links` that have this mark and whose container end, which it gives, is in no sandbox."""


KINDS: dict[LinkKind, type[EndpointLink]] = {LinkKind.BRIDGE: VethOnBridge}


def link_of(spec: EndpointSpec) -> EndpointLink:
    """The link that this endpoint has, or is to have."""
    return KINDS[spec.link.kind](spec)


def remove_any(netlink: Netlink, endpoint_id: str) -> None:
    """Removes an endpoint's link, of whichever kind it is; one that does not exist is no error."""
    for kind in KINDS:
        netlink.delete_link(LinkSpec(kind, "").host_end(endpoint_id) or container_link(endpoint_id))


def discard(spec: EndpointSpec, link: EndpointLink) -> None:
    """Removes the link of an endpoint that ends; logs what fails, as nobody could do anything about it."""
    try:
        with Netlink() as netlink:
            link.remove(netlink)
    except (NetlinkError, OSError) as error:
        log.warning("%s not removed: %s", spec.container_link, error)
