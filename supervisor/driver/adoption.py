"""What an endpoint's record must have been, made of what the engine tells of a running container.

The engine does not tell of leases, so these are guesses: leases in the last part of their life, in which a client asks
every server. The first answer puts the server's lease in the guess's place.
"""

from collections.abc import Collection, Iterator
from dataclasses import replace
from ipaddress import IPv6Address, IPv6Interface

from supervisor.contract.errors import InvalidRequest
from supervisor.contract.messages import CreateEndpoint
from supervisor.domain.options import NetworkOptions
from supervisor.domain.phases import Phase
from supervisor.driver.admission import Admission
from supervisor.endpoint.endpoint import Endpoint
from supervisor.engine.container_files import Identity
from supervisor.engine.facts import EndpointSeen
from supervisor.state.records import EndpointRecord, LeaseRecord
from workers.contract.lease import AnyLease, Family, Lease, Lease6
from workers.contract.messages import EndpointSpec, Ipv6
from workers.system.clock import boottime

GUESSED_SECONDS = 3600  # until the lease counts as expired, if no server answers
PAST = 1  # second, after which such a lease is to be rebound


def record_of(
    seen: EndpointSeen, options: NetworkOptions, others: Collection[Endpoint], admission: Admission
) -> EndpointRecord:
    """The record; `others` are the endpoints of the network. Raises RequestError.

    A guess is not held: there is nothing to release before a server has told what it has leased.
    """
    container = seen.container
    identity = Identity(container.id, container.name, container.hostname)
    chosen_mac = admission.identifier.chosen_mac(container.id, seen.network_id)
    body = CreateEndpoint(seen.network_id, seen.endpoint_id, chosen_mac, None, dict(seen.options))
    mac = seen.mac if options.link.has_own_mac else None
    if options.link.has_own_mac and mac is None:
        raise InvalidRequest("Docker reports no MAC address for it")
    spec, origin = admission.admit_running(body, options, others, identity, mac)
    leases = tuple(_guesses(seen, spec))
    if not leases:
        raise InvalidRequest("Docker reports no address for it")
    spec = replace(
        spec,
        requested=seen.address.ip if seen.address else spec.requested,
        requested6=seen.address6.ip if seen.address6 else spec.requested6,
    )
    return EndpointRecord(
        spec,
        Phase.JOINED,
        origin,
        identity,
        seen.sandbox_key,
        tuple(LeaseRecord(lease, held=not lease.is_guess) for lease in leases),
        gateway=seen.gateway,
    )


def _guesses(seen: EndpointSeen, spec: EndpointSpec) -> Iterator[AnyLease]:
    """One for each address. The kernel itself knows those that it has made (SLAAC): they count as expired till then."""
    began = boottime() - PAST
    if seen.address is not None and Family.IPV4 in spec.families:
        routers = (seen.gateway,) if seen.gateway else ()
        yield Lease(seen.address, None, GUESSED_SECONDS, began, routers, renewal=PAST, rebinding=PAST)
    if seen.address6 is not None and Family.IPV6 in spec.families:
        address = IPv6Interface((seen.address6.ip, seen.address6.max_prefixlen))
        if spec.ipv6 is Ipv6.SLAAC or (spec.ipv6 is Ipv6.AUTO and _is_made(address.ip, spec)):
            yield Lease6(address, b"", 0, began, slaac=True)
        else:
            yield Lease6(address, b"", GUESSED_SECONDS, began, renewal=PAST, rebinding=PAST)


def _is_made(address: IPv6Address, spec: EndpointSpec) -> bool:
    """Whether the kernel has made it of the endpoint's token, or of a MAC address (RFC 4291, appendix A)."""
    own = address.packed[8:]
    return own[3:5] == b"\xff\xfe" if spec.token is None else own == spec.token.packed[8:]
