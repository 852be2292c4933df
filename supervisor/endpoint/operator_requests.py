"""What an operator may request of one endpoint: to renew or release its leases, or to pin its identity to a key.

A request that does not fit the endpoint's state raises Conflict and changes nothing. No request changes the phase.
Must not know how a request comes in, nor how it is answered.
"""

from collections.abc import Callable

from supervisor.contract.errors import Conflict
from supervisor.domain.phases import Phase
from supervisor.endpoint.endpoint import Endpoint
from workers.contract import messages as w
from workers.contract.lease import AnyLease, Lease6

RELEASED = "an operator gave the lease back; a new one is asked for"


def renew(endpoint: Endpoint, done: Callable[[bool], None]) -> None:
    """Asks servers for the leases now; `done` hears whether they have confirmed them. Raises Conflict."""
    leases = _from_servers(endpoint)
    endpoint.awaited_leases.add((lease.family for lease in leases), done)
    endpoint.worker.send(w.AskServers())


def release(endpoint: Endpoint, done: Callable[[bool], None]) -> None:
    """Releases the leases and asks for new ones; `done` hears whether there are any. Raises Conflict."""
    leases = _from_servers(endpoint)
    endpoint.awaited_leases.add((lease.family for lease in leases), done)
    endpoint.journal.released_on_request(leases, RELEASED)
    endpoint.troubles |= {lease.family: RELEASED for lease in leases}
    endpoint.worker.send(w.GiveBack())


def _from_servers(endpoint: Endpoint) -> list[AnyLease]:
    """The leases that DHCP servers gave and the worker keeps now. Raises Conflict."""
    if endpoint.phase is not Phase.JOINED or endpoint.recovering or endpoint.link_lost:
        raise Conflict(f"{endpoint.name} is {endpoint.phase} and keeps no lease now: try again when it runs")
    if endpoint.worker.child.pid is None:
        raise Conflict(f"the worker of {endpoint.name} has died and is started again: try again in a moment")
    leases = [record.lease for record in endpoint.leases.values()]
    found = [lease for lease in leases if not (isinstance(lease, Lease6) and lease.slaac)]
    if not found:
        raise Conflict(f"{endpoint.name} has no lease of a DHCP server")
    return found


def pin(endpoint: Endpoint, key: str) -> None:
    """Keeps the endpoint's identity under this key as well. Raises Conflict."""
    if not endpoint.leases:
        raise Conflict(f"{endpoint.name} has no lease yet, and so no address to be kept")
    endpoint.journal.pinned([record.lease for record in endpoint.leases.values()], key)
