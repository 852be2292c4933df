"""Applies a lease to a link: address, connected route, default gateway, the other routes.

Owns the order of the changes and the announcement of a new address; `workers.link.routes` decides on the changes. Must
not know where the lease came from.
"""

import errno
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address

from msgspec.structs import replace

from workers.acd.arp import announce
from workers.contract.lease import DEFAULT_DESTINATION, Lease, Route
from workers.link.routes import Difference, LinkState, difference, lost, withdrawal
from workers.netlink.operations import Netlink, NetlinkError
from workers.netlink.rtnetlink import RTPROT_DHCP, RTPROT_KERNEL, RTPROT_STATIC, KernelRoute, Link, describe
from workers.system.namespaces import set_ipv4

DEFAULT_METRIC = 100  # of a default route; Docker's have none, and win


def configure(
    interface: str,
    previous: Lease | None,
    lease: Lease,
    *,
    skip_routes: bool,
    joined: IPv4Address | None = None,
    announced: bool = True,
) -> tuple[str, ...]:
    """Applies `lease` to `interface`, in the present namespace; returns one sentence for each change.

    `previous` is the lease that was applied before: its address and routes are replaced, all others stay. If its
    address is not on the link any more, nothing of it is. `joined` is the gateway in our answer to Join. With
    `announced` a new address is announced by ARP.
    If the kernel refuses one of the lease's routes, only that route is missing, and gets a sentence too.
    Raises NetlinkError if the link is gone or its address cannot be changed.
    """
    with Netlink() as netlink:
        link = netlink.require_link(interface)
        before = _state(netlink, link)
        there = previous if previous is not None and _has(before, previous) else None
        changes = difference(before, there, lease, skip_routes=skip_routes, joined=joined)
        made = tuple(_apply(netlink, link, before, changes, lease, joined=joined))
        if changes.add_address is not None and announced:
            made += (_announced(link, changes.add_address.ip),)
        return made


def unconfigure(interface: str, lease: Lease, *, skip_routes: bool) -> tuple[str, ...]:
    """Removes the lease's address and routes from `interface`; returns one sentence for each. All else stays.

    Raises NetlinkError.
    """
    with Netlink() as netlink:
        link = netlink.require_link(interface)
        before = _state(netlink, link)
        changes = withdrawal(before, lease, skip_routes=skip_routes)
        return tuple(_apply(netlink, link, before, changes, lease, joined=None))


def add_routes(interface: str, routes: Iterable[Route]) -> tuple[str, ...]:
    """Adds the routes that are absent; returns one sentence for each, as `configure` does. Raises NetlinkError."""
    with Netlink() as netlink:
        link = netlink.require_link(interface)
        held = {found.route.destination for found in netlink.routes()}
        missing = [KernelRoute(route, None, RTPROT_STATIC) for route in routes if route.destination not in held]
        return tuple(_add(netlink, link, one) for one in missing)


def is_applied(interface: str, lease: Lease) -> bool:
    """Whether `interface` has the lease's address. Raises NetlinkError."""
    with Netlink() as netlink:
        return _has(_state(netlink, netlink.require_link(interface)), lease)


def _has(state: LinkState, lease: Lease) -> bool:
    """Whether the lease's address is on the link, whichever prefix length it has there."""
    return any(address.ip == lease.address.ip for address in state.addresses)


def _state(netlink: Netlink, link: Link) -> LinkState:
    routes = netlink.routes()
    return LinkState(
        addresses=netlink.addresses(link.index),
        routes=tuple(r for r in routes if r.index == link.index),
        elsewhere=frozenset(r.route.destination for r in routes if r.index != link.index),
    )


def _apply(
    netlink: Netlink, link: Link, before: LinkState, changes: Difference, lease: Lease, *, joined: IPv4Address | None
) -> Iterator[str]:
    if changes.add_address is not None:
        netlink.add_address(link, changes.add_address)
        yield f"address {changes.add_address} added"
    for route in changes.add_routes:
        yield _add(netlink, link, _lease_route(route, lease, joined))
    for found in changes.delete_routes:
        netlink.delete_route(link, found)
        yield f"{describe(found.route)} removed"
    if changes.delete_address is not None:
        _promote(link)
        netlink.delete_address(link, changes.delete_address)
        yield f"address {changes.delete_address} removed"
        for found in lost(before, _state(netlink, link), changes):
            yield _add(netlink, link, _moved(found, changes.delete_address.ip, lease.address.ip))


def _lease_route(route: Route, lease: Lease, joined: IPv4Address | None) -> KernelRoute:
    """The connected route looks as the kernel makes it, so that the kernel removes it with its address.

    A default route that Docker does not know leaves room for one of Docker's. Without that room Docker cannot connect
    the container to another network ("failed to set gateway while updating gateway: file exists").
    """
    if route.destination == lease.address.network:
        return KernelRoute(route, index=None, protocol=RTPROT_KERNEL, source=lease.address.ip)
    unknown = route.destination == DEFAULT_DESTINATION and joined is not None and route.next_hop != joined
    return KernelRoute(route, index=None, protocol=RTPROT_DHCP, priority=DEFAULT_METRIC if unknown else 0)


def _moved(route: KernelRoute, old: IPv4Address, new: IPv4Address) -> KernelRoute:
    """A route whose source is the old address cannot exist without that: it gets the new address."""
    return replace(route, source=new if route.source == old else route.source)


def _add(netlink: Netlink, link: Link, route: KernelRoute) -> str:
    try:
        netlink.add_route(link, route)
    except NetlinkError as error:
        return str(error)  # one bad route of a server must not cost the container the rest of its lease
    return f"{describe(route.route)} added"


def _promote(link: Link) -> None:
    """Lets the other addresses of a subnet outlive its first one (ip-sysctl)."""
    try:
        set_ipv4(link.name, "promote_secondaries", 1)
    except OSError as error:
        raise NetlinkError(f"keeping the other addresses of {link.name}", error.errno or errno.EIO) from error


def _announced(link: Link, address: IPv4Address) -> str:
    try:
        announce(link.name, link.mac, address)
    except OSError as error:
        return f"address {address} could not be announced: {error}"  # caches expire by themselves
    return f"address {address} announced"
