"""Turns a CreateEndpoint into an endpoint: finds its container, and with it the MAC, address and lease that it gets.

The only I/O is that the identifier reads the engine's files.
"""

import logging
import secrets
from collections.abc import Collection
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address

from supervisor.contract.errors import Conflict, InvalidRequest
from supervisor.contract.messages import CreateEndpoint
from supervisor.domain.option_values import filled
from supervisor.domain.options import EndpointOptions, NetworkOptions, for_endpoint, parse_endpoint_options
from supervisor.endpoint.endpoint import Endpoint
from supervisor.engine.container_files import Identity
from supervisor.engine.identity import Identifier
from supervisor.state.bindings import Bindings, Client, key_of, key_of_name, local_mac, mac_of_name
from supervisor.state.records import Origin
from workers.contract.client_identity import ClientIdentity, id_of_mac, id_of_text
from workers.contract.lease import Family, Lease, Lease6
from workers.contract.messages import EndpointSpec, Ipv6

log = logging.getLogger(__name__)


class NotYet(Exception):
    """An endpoint with the container's identity is just being made, or just releasing its lease: ask again in a moment.

    A lease that is released now and obtained again before the server hears of it would be lost to its container.
    """


@dataclass(frozen=True, slots=True, eq=False)
class Admission:
    """Admits endpoints by what the engine's files and the bindings tell of their containers."""

    identifier: Identifier
    bindings: Bindings

    def admit(
        self, body: CreateEndpoint, options: NetworkOptions, others: Collection[Endpoint]
    ) -> tuple[EndpointSpec, Origin, Identity | None]:
        """The endpoint that the request asks for; `others` are the endpoints of the network.

        The endpoint claims a lease that waits for its container. If the container has an endpoint already that the
        engine's store lacks, the engine has lost the answer to the request for that one, and starts the container
        again: that endpoint is retired.
        Raises InvalidRequest, Conflict for an id or a client identifier in use, and NotYet, though not for ever.
        """
        chosen, options = _chosen(body, options)
        identity, key = self._identify(body, chosen.id, options.mac_by_name, others)
        return *self._made(body, chosen, options, identity, key, others), identity

    def admit_running(
        self,
        body: CreateEndpoint,
        options: NetworkOptions,
        others: Collection[Endpoint],
        identity: Identity,
        mac: str | None,
    ) -> tuple[EndpointSpec, Origin]:
        """As `admit`, for a known container, whose link has this MAC address already, or none of its own.

        Another endpoint of the container on this network comes from a state that is older than the engine's: it is
        retired, or it would release the lease which the container has.
        """
        chosen, options = _chosen(body, options)
        key = key_of(body, chosen.id, options.mac_by_name, identity)
        for other in others:
            if other.identity and other.identity.id == identity.id and not (other.is_ending or other.is_being_made):
                other.retire("the engine has another endpoint of its container: replaced")
        free = all(other.origin.key != key for other in others if not other.is_ending)
        return self._made(body, chosen, options, identity, key if free else None, others, mac)

    def _made(  # noqa: PLR0917  what an endpoint is made of
        self,
        body: CreateEndpoint,
        chosen: EndpointOptions,
        options: NetworkOptions,
        identity: Identity | None,
        key: str | None,
        others: Collection[Endpoint],
        has_mac: str | None = None,
    ) -> tuple[EndpointSpec, Origin]:
        remembered = self.bindings.recall(body.network_id, key)
        wanted = body.address.ip if body.address else chosen.requested
        wanted6 = body.address6.ip if body.address6 else chosen.requested6
        if options.ipv6 is Ipv6.OFF and wanted6 is not None:
            raise InvalidRequest(f"the address {wanted6} needs a network with -o ipv6=true")
        name = identity.lasting_name if identity else ""
        named = mac_of_name(body.network_id, name) if identity and key == key_of_name(name) else None
        # Where the link has no MAC address of its own, this one is on no wire: the client's identity follows from it.
        mac = has_mac or body.mac or named or (remembered.mac if remembered else _new_mac(body, options, key))
        origin = Origin(
            given_mac=body.mac is not None,
            given_address=body.address is not None,
            key=key,
            keep_lease=options.keep_lease,
            given_address6=body.address6 is not None,
            hostname=chosen.hostname,
            hostname_is_id=options.hostname_is_id,
            interface=body.interface,
        )
        client = options.client_of(mac, origin.name_on_lan(identity))
        chosen_client = chosen.client_id or _client_id(options.client_id, mac, identity)
        client = replace(client, client_id=chosen_client or client.client_id)
        strangers = [
            e for e in others if not (e.is_ending or (identity and e.identity and e.identity.id == identity.id))
        ]
        _refuse_second_client(client, mac, strangers, key)
        ours = Client(mac, client)
        self._await_releases(ours, body.network_id, others)
        remembered = self.bindings.recall(body.network_id, key)  # an endpoint that has given way has left it a lease
        leases = self.bindings.claim(remembered, ours)
        if not options.drop_expired:
            leases = self.bindings.run_out(remembered, ours) | leases
        lease, lease6 = leases.get(Family.IPV4), leases.get(Family.IPV6)
        last = remembered.addresses if remembered else {}
        spec = EndpointSpec(
            network_id=body.network_id,
            endpoint_id=body.endpoint_id,
            link=options.link,
            mac=mac,
            client_identity=client,
            lease_timeout=options.lease_timeout,
            requested=wanted or (IPv4Address(last[Family.IPV4]) if Family.IPV4 in last else None),
            skip_routes=options.skip_routes,
            drop_expired=options.drop_expired,
            conflict=options.conflict,
            client=options.client,
            lease_dns=options.lease_dns,
            remembered=lease if isinstance(lease, Lease) and wanted in (None, lease.address.ip) else None,
            ipv6=options.ipv6,
            requested6=wanted6 or (IPv6Address(last[Family.IPV6]) if Family.IPV6 in last else None),
            remembered6=lease6 if isinstance(lease6, Lease6) and wanted6 in (None, lease6.address.ip) else None,
            gateway=options.gateway,
            mtu=options.mtu,
        )
        return spec, origin

    def _await_releases(self, client: Client, network_id: str, others: Collection[Endpoint]) -> None:
        """Raises NotYet while somebody releases a lease that servers take for this client's."""
        former = [e for e in others if e.is_ending and e.client.is_confused_with(client, e.spec.families)]
        given_way = [e.gives_way() for e in former]
        if self.bindings.is_releasing(network_id, client) or not all(given_way):
            raise NotYet

    def _identify(
        self, body: CreateEndpoint, chosen_id: str | None, by_name: bool, others: Collection[Endpoint]
    ) -> tuple[Identity | None, str | None]:
        """The container if it is known, and the key of its identity if no other endpoint has it.

        Raises NotYet if an endpoint that the engine does not know yet has it: it may just be getting the answer.
        """
        doubtful = any(e.may_be_forgotten for e in others)
        stored = self.identifier.stored(body.network_id) if doubtful else frozenset()
        forgotten = {e.spec.endpoint_id for e in others if e.may_be_forgotten} - stored
        live = [e for e in others if e.spec.endpoint_id not in forgotten and (e.is_awaited or not e.is_ending)]
        taken = {e.identity.id for e in live if e.identity}
        unknown = {e.spec.endpoint_id for e in live if e.identity is None}
        identity = self.identifier.at_create(body, taken, unknown)
        key = key_of(body, chosen_id, by_name, identity)
        owner = next((e for e in others if key is not None and e.origin.key == key and not e.is_ending), None)
        if owner is None:
            return identity, key
        if (
            owner.identity
            and owner.spec.endpoint_id not in self.identifier.stored(body.network_id)
            and self.identifier.at_create(body, taken - {owner.identity.id}, unknown) == owner.identity
        ):
            if owner.is_being_made:
                raise NotYet
            owner.retire("never joined, and its container is started again: replaced")
            return owner.identity, key
        _refuse_second(owner)
        return identity, None


def _chosen(body: CreateEndpoint, options: NetworkOptions) -> tuple[EndpointOptions, NetworkOptions]:
    """The endpoint's own options, and the network's with these in their place. Raises InvalidRequest."""
    chosen = parse_endpoint_options(body.options)
    options = for_endpoint(options, chosen)
    if body.mac is not None and not options.link.has_own_mac:
        raise InvalidRequest(
            f"the MAC address {body.mac} cannot be given to a container on a network with mode={options.mode}, where "
            "all have the parent's; choose its identity with driver-opt=id=NAME"
        )
    return chosen, options


def _new_mac(body: CreateEndpoint, options: NetworkOptions, key: str | None) -> str:
    """One that is on no wire is made such that it can be made again: no link keeps it if our state is lost."""
    if options.link.has_own_mac:
        return local_mac(secrets.token_bytes(5))
    return mac_of_name(body.network_id, key or body.endpoint_id)


def _client_id(template: str | None, mac: str, identity: Identity | None) -> bytes | None:
    """The client identifier that the network's option makes, if it can. Raises InvalidRequest."""
    if template is None or ("{name}" in template and identity is None):
        return None
    try:
        return id_of_text(filled(template, mac, identity.lasting_name if identity else ""))
    except ValueError as error:
        raise InvalidRequest(f"option client_id: {error}") from None


def _refuse_second_client(client: ClientIdentity, mac: str, others: Collection[Endpoint], key: str | None) -> None:
    """Raises Conflict for a client identifier that another endpoint has: the server would give both one lease.

    If it is the MAC address, `_refuse_second` has warned, unless that is of an id which the other one was pinned to.
    """
    ours = client.client_id
    owner = next((e for e in others if e.spec.client_identity.client_id == ours), None)
    if owner is not None and key is not None and key.startswith("id:"):
        raise Conflict(f"the identity of {key!r} is in use on this network, by container {owner.name}")
    if owner is not None and ours != id_of_mac(mac):
        raise Conflict(f"option client_id: this identifier is in use on this network, by container {owner.name}")


def _refuse_second(owner: Endpoint) -> None:
    """Raises Conflict for an id or a name: one identity belongs to one endpoint at a time.

    If the user gave a MAC twice, two containers use it. If another container has got the identity of this one, because
    the engine's files could not tell them apart, this one gets a fresh identity.
    """
    kind, _, value = (owner.origin.key or "").partition(":")
    if kind in ("id", "name"):
        raise Conflict(f"the identity of {kind} {value!r} is in use on this network, by container {owner.name}")
    if kind == "mac":
        log.warning("two containers have the MAC %s, the other one is %s", value, owner.name)
    else:
        log.warning("container %s has the identity of container %s, which gets a fresh one", owner.name, value[:12])
