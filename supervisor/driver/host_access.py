"""Lets the host reach the containers of macvlan networks, where the option `host_access` asks for it.

Each such network has an endpoint of the host's own. Makes it, makes it again when it has gone, removes it with its
network, and tells it which containers there are. No container waits for it, and none fails with it.
"""

import hashlib
import logging
import socket
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Address

from supervisor.contract.errors import RequestError
from supervisor.contract.messages import Answer
from supervisor.domain.phases import Phase
from supervisor.driver.networks import Networks
from supervisor.driver.registry import Registry
from supervisor.endpoint.host_endpoint import HostEndpoint
from supervisor.engine.facts import Engine
from supervisor.runtime.loop import Loop
from supervisor.state.bindings import Bindings, Client, local_mac
from supervisor.state.records import Network, Origin
from workers.contract.lease import Family, Lease
from workers.contract.messages import ClientKind, EndpointSpec

KEY = "host"  # of its binding on each network (supervisor.state.bindings)
RETRY_SECONDS = 30.0

log = logging.getLogger(__name__)


class HostAccess:
    """The host's endpoints of all networks. `problems` says why the host has none where it should have one."""

    def __init__(self, loop: Loop, engine: Engine, networks: Networks, endpoints: Registry, bindings: Bindings) -> None:
        self._loop = loop
        self._engine = engine
        self._networks = networks
        self._endpoints = endpoints
        self._bindings = bindings
        self._failures: dict[str, str] = {}  # by the network's id
        self._resting: set[str] = set()  # the networks that are tried again later
        self._changed: set[str] = set()
        self._stopped = False
        endpoints.watchers.append(lambda spec: self._on_change(spec.network_id))

    @property
    def problems(self) -> tuple[str, ...]:
        """One sentence for each network that the host cannot reach."""
        named = ((self._engine.network_name(key) or key[:12], reason) for key, reason in self._failures.items())
        return tuple(f"the host does not reach the containers of network {name}: {reason}" for name, reason in named)

    def ensure(self) -> None:
        """Makes the endpoints that are missing, and removes those whose network has gone. Call it often."""
        if self._stopped:
            return
        wanted = {network.id: network for network in self._networks if network.options.host_access}
        for network in wanted.values():
            self._ensure(network)
        for host in self._hosts():
            if host.spec.network_id not in wanted:
                host.delete()
        self._failures = {key: reason for key, reason in self._failures.items() if key in wanted}

    def retry(self, parent: str) -> None:
        """The parent has got a carrier: tries at once what has failed there."""
        there = {network.id for network in self._networks if network.options.link.parent == parent}
        if self._resting & there:
            self._resting -= there
            self.ensure()

    def stop(self) -> None:
        """Makes none any more; those that are there stay."""
        self._stopped = True

    def _hosts(self) -> Iterator[HostEndpoint]:
        return (endpoint for endpoint in self._endpoints if isinstance(endpoint, HostEndpoint))

    def _ensure(self, network: Network) -> None:
        host = self._endpoints.host_on(network.id)
        if host is not None and host.phase is Phase.CREATED:
            host.attach()
        elif host is None and network.id not in self._resting and not self._endpoints.is_ending(network.id):
            self._create(network)

    def _create(self, network: Network) -> None:
        """The network's id stands for the host's endpoint: the interface keeps its name and its MAC address.

        While a lease of the host's is being released, the next call of `ensure` tries again.
        """
        options, binding = network.options, self._bindings.recall(network.id, KEY)
        mac = local_mac(hashlib.sha256(f"{network.id}\0{KEY}".encode()).digest()[:5])
        client = options.client_of(mac, host_name())
        if self._bindings.is_releasing(network.id, Client(mac, client)):
            return
        lease = self._bindings.claim(binding, Client(mac, client)).get(Family.IPV4)
        last = binding.addresses.get(Family.IPV4) if binding else None
        spec = EndpointSpec(
            network_id=network.id,
            endpoint_id=network.id,
            link=replace(options.link, on_host=True),
            mac=mac,
            client_identity=client,
            lease_timeout=options.lease_timeout,
            requested=IPv4Address(last) if last else None,
            skip_routes=True,
            conflict=options.conflict,
            client=ClientKind.NATIVE,
            remembered=lease if isinstance(lease, Lease) else None,
            mtu=options.mtu,
        )
        host = self._endpoints.add_host(spec, Origin(key=KEY))
        host.create(partial(self._on_created, network.id))

    def _on_created(self, network_id: str, answer: Answer | RequestError) -> None:
        if self._stopped or self._networks.find(network_id) is None:
            return  # it is not wanted any more
        if isinstance(answer, RequestError):
            self._resting.add(network_id)
            self._loop.call_later(RETRY_SECONDS, partial(self._resting.discard, network_id))
            if str(answer) != self._failures.get(network_id):
                log.error("the host does not reach its containers: %s", answer, extra={"network": network_id})
            self._failures[network_id] = str(answer)
            return
        self._failures.pop(network_id, None)
        host = self._endpoints.host_on(network_id)
        if host is not None:
            host.attach()

    def _on_change(self, network_id: str) -> None:
        """Looks at it after the answer to the engine, which must not wait for that."""
        if network_id not in self._changed and self._has_access(network_id):
            self._changed.add(network_id)
            self._loop.call_later(0, partial(self._follow, network_id))

    def _has_access(self, network_id: str) -> bool:
        network = self._networks.find(network_id)
        return network is not None and network.options.host_access

    def _follow(self, network_id: str) -> None:
        self._changed.discard(network_id)
        host = self._endpoints.host_on(network_id)
        if host is None:
            self.ensure()
        else:
            host.reach(frozenset(self._addresses(network_id)))

    def _addresses(self, network_id: str) -> Iterator[IPv4Address]:
        """The addresses of the network's containers."""
        for endpoint in self._endpoints.on_network(network_id):
            record = endpoint.leases.get(Family.IPV4)
            is_container = endpoint.has_sandbox and not isinstance(endpoint, HostEndpoint)
            if is_container and record is not None and isinstance(record.lease, Lease):
                yield record.lease.address.ip


def host_name() -> str:
    """The name that the DHCP server gets: the host itself may be known there under its own."""
    return f"{socket.gethostname().partition('.')[0]}-docker"
