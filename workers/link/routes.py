"""The difference between the state of a link and a lease: pure, no I/O.

Owns the decision which routes are ours: those of the previous lease, and those marked `proto dhcp`. All others belong
to the user, the engine or another network, and we never touch them. Must not know netlink.
"""

from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from msgspec import Struct

from workers.contract.lease import DEFAULT_DESTINATION, Lease, Route
from workers.netlink.rtnetlink import RTPROT_DHCP, RTPROT_KERNEL, KernelRoute


class LinkState(Struct, frozen=True):
    """The kernel's state: a link's addresses and routes, and the destinations of other links' routes."""

    addresses: tuple[IPv4Interface, ...]
    routes: tuple[KernelRoute, ...]
    elsewhere: frozenset[IPv4Network] = frozenset()


class Difference(Struct, frozen=True):
    """The changes to make, in this order: an addition comes before the removal of what it replaces."""

    add_address: IPv4Interface | None = None
    add_routes: tuple[Route, ...] = ()
    delete_routes: tuple[KernelRoute, ...] = ()
    delete_address: IPv4Interface | None = None


def wanted_routes(lease: Lease, *, skip_routes: bool) -> tuple[Route, ...]:
    """The routes of a lease in an order that the kernel accepts, without the connected one, which its address makes.

    A next hop that is on no connected network gets a host route of its own first (RFC 3442 leaves that to the
    client; servers that hand out /32 addresses rely on it).
    """
    named = () if skip_routes else lease.routes
    onlink = [r for r in named if r.next_hop is None]
    via = [r for r in named if r.next_hop is not None]
    if lease.gateway is not None:
        via.append(Route(DEFAULT_DESTINATION, lease.gateway))
    for hop in (r.next_hop for r in via):
        if hop is not None and not any(hop in net for net in (lease.address.network, *(r.destination for r in onlink))):
            onlink.append(Route(IPv4Network(hop)))
    return tuple(dict.fromkeys(r for r in (*onlink, *via) if r != Route(lease.address.network)))


def difference(
    state: LinkState, previous: Lease | None, lease: Lease, *, skip_routes: bool, joined: IPv4Address | None = None
) -> Difference:
    """The changes that bring a link from `state` to `lease`; `previous` was applied before, None for nothing.

    `joined` is the gateway in our answer to Join. Docker remembers it, and sets it again whenever another network of
    the container loses the default route.
    """
    wanted = wanted_routes(lease, skip_routes=skip_routes)
    former = wanted_routes(previous, skip_routes=skip_routes) if previous else ()
    former += (Route(DEFAULT_DESTINATION, joined),) if joined else ()
    obsolete = tuple(r for r in state.routes if _ours(r, former) and r.route not in (*wanted, _connected(lease)))
    add_address = None if lease.address in state.addresses else lease.address
    replaced = previous is not None and previous.address != lease.address and previous.address in state.addresses
    return Difference(
        add_address=add_address,
        add_routes=_missing(state, wanted, obsolete, lease, renumbered=add_address is not None, previous=previous),
        delete_routes=tuple(sorted(obsolete, key=lambda r: r.route.next_hop is None)),
        delete_address=previous.address if previous and replaced else None,
    )


def withdrawal(state: LinkState, lease: Lease, *, skip_routes: bool) -> Difference:
    """The changes that remove `lease` from a link."""
    former = wanted_routes(lease, skip_routes=skip_routes)
    return Difference(
        delete_routes=tuple(r for r in state.routes if _ours(r, former)),
        delete_address=lease.address if lease.address in state.addresses else None,
    )


def lost(before: LinkState, after: LinkState, done: Difference) -> tuple[KernelRoute, ...]:
    """The routes that the kernel removed by itself along with a deleted address."""
    there = {(r.route, r.priority) for r in after.routes}
    deleted = {(r.route, r.priority) for r in done.delete_routes}
    return tuple(
        r for r in before.routes if r.protocol != RTPROT_KERNEL and (r.route, r.priority) not in there | deleted
    )


def _ours(found: KernelRoute, former: tuple[Route, ...]) -> bool:
    return found.protocol != RTPROT_KERNEL and (found.protocol == RTPROT_DHCP or found.route in former)


def _connected(lease: Lease) -> Route:
    return Route(lease.address.network)


def _missing(
    state: LinkState,
    wanted: tuple[Route, ...],
    obsolete: tuple[KernelRoute, ...],
    lease: Lease,
    *,
    renumbered: bool,
    previous: Lease | None,
) -> tuple[Route, ...]:
    """The wanted routes that are absent and whose destination no other route holds."""
    staying = {r.route for r in state.routes if r not in obsolete}
    held = {r.destination for r in staying} | state.elsewhere
    missing = [r for r in wanted if r not in staying and r.destination not in held]
    if not renumbered and lease.address.network.prefixlen < 32 and lease.address.network not in held:
        missing.insert(0, _connected(lease))
    had_default = any(r.route.destination == DEFAULT_DESTINATION for r in obsolete)
    if not had_default and previous is not None and previous.gateway is not None:
        # The engine or the user took the default route away: it is theirs to bring back.
        missing = [r for r in missing if r.destination != DEFAULT_DESTINATION]
    return tuple(missing)
