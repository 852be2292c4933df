"""Obtains the first leases of an endpoint, of both families at the same time, within one budget.

Owns the budget and the wait. Must not know the protocols, nor what follows from a failure.
"""

import logging
from collections.abc import Mapping
from multiprocessing.connection import Connection

from workers.contract.errors import NoLease
from workers.contract.lease import Family, Lease, Lease6
from workers.contract.messages import EndpointSpec
from workers.dhcp import first_lease
from workers.dhcp4.codec import Answer
from workers.dhcp6.codec import Answer as Answer6
from workers.system.clock import boottime
from workers.system.poll import ready

OTHER_FAMILY_SECONDS = 3.0  # for the second family, once the first one has a lease: the container starts without it

Acquired = first_lease.Acquired[Lease] | first_lease.Acquired[Lease6]
Exchange = first_lease.Exchange[Lease, Answer] | first_lease.Exchange[Lease6, Answer6]

log = logging.getLogger(__name__)


class Cancelled(Exception):
    """The supervisor has sent another command, or is gone: it does not want the leases any more."""


def acquire(spec: EndpointSpec, exchanges: Mapping[Family, Exchange], channel: Connection) -> dict[Family, Acquired]:
    """At least one lease. Raises NoLease, Cancelled, or OSError if the link is gone."""
    try:
        return _acquire(spec, exchanges, channel)
    except BaseException:
        for exchange in exchanges.values():
            exchange.close()
        raise


def _acquire(spec: EndpointSpec, exchanges: Mapping[Family, Exchange], channel: Connection) -> dict[Family, Acquired]:
    waiting, acquired, failures = dict(exchanges), dict[Family, Acquired](), dict[Family, NoLease]()
    deadline = boottime() + spec.lease_timeout
    while waiting:
        over = boottime() >= deadline  # an answer that a busy machine has not read until then counts all the same
        found, failed = _step(waiting)
        acquired, failures = acquired | found, failures | failed
        waiting = {family: exchange for family, exchange in waiting.items() if family not in found | failed}
        if found:
            deadline = min(deadline, boottime() + OTHER_FAMILY_SECONDS)
        if over:
            break
        if waiting:
            _wait(waiting, channel, deadline - boottime())
    failures |= {family: exchange.failure() for family, exchange in waiting.items()}
    if not acquired:
        errors = [failures[family] for family in exchanges]
        raise NoLease("; ".join(map(str, errors)), errors[0].kind)
    for family, error in failures.items():
        exchanges[family].close()
        log.warning("%s; starting without %s", error, family, extra={"interface": spec.container_link})
    return acquired


def _step(waiting: Mapping[Family, Exchange]) -> tuple[dict[Family, Acquired], dict[Family, NoLease]]:
    found, failed = dict[Family, Acquired](), dict[Family, NoLease]()
    for family, exchange in waiting.items():
        try:
            exchange.step(boottime())
        except NoLease as error:
            failed[family] = error
        else:
            found |= {family: exchange.acquired} if exchange.acquired is not None else {}
    return found, failed


def _wait(waiting: Mapping[Family, Exchange], channel: Connection, rest: float) -> None:
    """Until one of the exchanges has something to do, for `rest` seconds at most. Raises Cancelled."""
    now = boottime()
    times = [exchange.next_at - now for exchange in waiting.values() if exchange.next_at is not None]
    sources = [number for exchange in waiting.values() for number in exchange.sources()]
    if channel.fileno() in ready([channel.fileno(), *sources], max(0.0, min(rest, *times))):
        raise Cancelled
