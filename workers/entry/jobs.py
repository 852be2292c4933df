"""What the supervisor has a process for that knows endpoints: the beginning of a worker, and three short jobs."""

from collections.abc import Mapping
from dataclasses import replace
from multiprocessing.connection import Connection

from workers.contract.lease import AnyLease, Family
from workers.contract.messages import Begin, ConflictCheck, Deleted, EndpointSpec
from workers.endpoint.creation import Creation
from workers.endpoint.worker import Worker
from workers.link.kind import on_the_wire, remove_any
from workers.netlink.operations import Netlink
from workers.system.process_log import log_as, log_from

RECLAIM_SECONDS = 1.5  # for a server to say what it has leased


def begin(order: Begin, channel: Connection) -> Worker | None:
    """Does what a worker is told first; None when there is nothing more to do."""
    if order.log_level is not None:
        log_from(order.log_level)
    spec = on_the_wire(order.spec)
    if order.reclaims:
        Creation(replace(spec, lease_timeout=RECLAIM_SECONDS, conflict=ConflictCheck.OFF), channel).reclaim()
        return None
    if order.resume is not None:
        return Worker(spec, channel, order.resume.leases, order.resume.held)
    made = Creation(spec, channel).make()
    if made is None:
        return None
    leases = {family: one.lease for family, one in made.acquired.items()}
    return Worker(spec, channel, leases.values(), leases.keys(), made)


def remove(endpoint_id: str, channel: Connection) -> None:
    """Removes the link of an endpoint of which nothing but the id is known, if there is one."""
    with Netlink() as netlink:
        remove_any(netlink, endpoint_id)
    channel.send(Deleted())


def give_back(spec: EndpointSpec, leases: Mapping[Family, AnyLease], channel: Connection) -> None:
    """Releases leases that no endpoint has any more, over a link made for that; sends a `Deleted`."""
    log_as(spec.network_id, spec.endpoint_id)
    Worker(on_the_wire(spec), channel, leases.values(), leases.keys()).discard()
