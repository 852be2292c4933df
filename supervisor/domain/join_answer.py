"""The answer to Join: the gateway, and the routes that Docker accepts. Pure."""

from collections.abc import Iterable
from ipaddress import IPv4Network

from supervisor.contract.messages import Joined
from supervisor.domain.interface_names import prefix_of
from workers.contract.lease import Lease, Route
from workers.contract.messages import EndpointSpec


def join_answer(
    spec: EndpointSpec, lease: Lease | None, parent_routes: Iterable[Route], interface: str | None = None
) -> Joined:
    """The answer for a link with this IPv4 lease and the wanted name; without a lease Docker gets no route.

    The IPv6 routes are the kernel's, which takes them from router advertisements.
    If no connected route leads to a next hop, the engine fails the whole start. So a gateway outside of the subnet
    gets a route to itself first, and other routes with such a next hop are left out.
    """
    if lease is None:
        return Joined(spec.container_link, prefix_of(interface), None, (), interface)
    lease = spec.applied(lease)
    gateway = lease.gateway
    off_link = gateway is not None and gateway not in lease.address.network
    to_gateway = (Route(IPv4Network((gateway, 32))),) if gateway is not None and off_link else ()
    wanted = dict.fromkeys((*to_gateway, *(() if spec.skip_routes else lease.routes), *parent_routes))
    on_link = [lease.address.network, *(r.destination for r in wanted if r.next_hop is None)]
    routes = tuple(
        r
        for r in wanted
        if r.destination != lease.address.network and (r.next_hop is None or any(r.next_hop in n for n in on_link))
    )
    return Joined(spec.container_link, prefix_of(interface), gateway, routes, interface)
