"""Passes each request of the engine to the network or endpoint that handles it.

Must not know how requests come in. Leave, DeleteEndpoint and DeleteNetwork succeed in every case, also for an unknown
id.
"""

from collections.abc import Callable

from supervisor.contract.errors import RequestError
from supervisor.contract.messages import (
    Answer,
    CreateEndpoint,
    CreateNetwork,
    DeleteEndpoint,
    DeleteNetwork,
    Done,
    EngineRequest,
    Join,
    Leave,
    OperInfo,
    OperValues,
    Respond,
)
from supervisor.domain.lease_states import lease_state
from supervisor.driver.admission import NotYet
from supervisor.driver.healing import Healing
from supervisor.driver.host_access import HostAccess
from supervisor.driver.networks import Networks
from supervisor.driver.orphans import Orphans
from supervisor.driver.registry import Registry
from supervisor.state.bindings import Bindings
from supervisor.state.records import Network
from workers.contract.lease import Family
from workers.system.clock import boottime


class DriverRequests:
    """`handlers` has a function for each kind of request; it answers now or later, or raises RequestError."""

    def __init__(  # noqa: PLR0917  all that requests are about
        self,
        networks: Networks,
        endpoints: Registry,
        bindings: Bindings,
        orphans: Orphans,
        host_access: HostAccess,
        healing: Healing,
        ask_again: Callable[[EngineRequest, Respond], None],
    ) -> None:
        """`ask_again` brings a request that came too early once more, in a moment."""
        self._networks = networks
        self._endpoints = endpoints
        self._bindings = bindings
        self._orphans = orphans
        self._host_access = host_access
        self._healing = healing
        self._ask_again = ask_again
        self.handlers: dict[type[EngineRequest], Callable[..., None]] = {
            CreateNetwork: self._create_network,
            DeleteNetwork: self._delete_network,
            CreateEndpoint: self._create_endpoint,
            DeleteEndpoint: self._delete_endpoint,
            OperInfo: self._oper_info,
            Join: self._join,
            Leave: self._leave,
        }

    def _create_network(self, body: CreateNetwork, respond: Respond) -> None:
        def answer(result: Answer | RequestError) -> None:
            respond(result)
            self._host_access.ensure()

        self._networks.create(body, answer)

    def _delete_network(self, body: DeleteNetwork, respond: Respond) -> None:
        """The engine forgets the network even if we refuse, so its endpoints go too. It waits only for the host's."""
        link, host = self._networks.delete(body.network_id), self._endpoints.host_on(body.network_id)
        for endpoint in self._endpoints.on_network(body.network_id):
            if endpoint is not host:
                endpoint.delete()
        self._bindings.forget_network(body.network_id)
        self._healing.ended(body.network_id)

        def done(result: Answer | RequestError) -> None:
            self._networks.retire(link)
            respond(result)

        if host is None:
            done(Done())
        else:
            host.delete(done)

    def _create_endpoint(self, body: CreateEndpoint, respond: Respond) -> None:
        known = self._endpoints.get(body.endpoint_id)
        if known is not None:
            known.create(respond)
            return

        def create(network: Network) -> None:
            repeated = self._endpoints.get(body.endpoint_id)
            try:
                endpoint = repeated or self._endpoints.admit(body, network.options)
            except NotYet:
                self._ask_again(body, respond)
            else:
                endpoint.create(respond)

        self._healing.with_network(body.network_id, create, respond)

    def _join(self, body: Join, respond: Respond) -> None:
        self._endpoints.known(body.endpoint_id).join(body.sandbox_key, respond)

    def _leave(self, body: Leave, respond: Respond) -> None:
        self._healing.ended(body.endpoint_id)
        endpoint = self._endpoints.get(body.endpoint_id)
        if endpoint is None:
            respond(Done())
        else:
            endpoint.leave(respond)

    def _delete_endpoint(self, body: DeleteEndpoint, respond: Respond) -> None:
        self._healing.ended(body.endpoint_id)
        endpoint = self._endpoints.get(body.endpoint_id)
        if endpoint is None:
            self._orphans.remove_link(body.endpoint_id, lambda: respond(Done()))
        else:
            endpoint.delete(respond)

    def _oper_info(self, body: OperInfo, respond: Respond) -> None:
        endpoint = self._endpoints.known(body.endpoint_id)
        shown: dict[str, object] = {"mac": endpoint.spec.mac if endpoint.spec.link.has_own_mac else None}
        for family, record in endpoint.leases.items():
            lease, suffix = record.lease, "6" if family is Family.IPV6 else ""
            state = lease_state(lease, boottime())
            values = {"address": lease.address, "server": lease.source, "lease_state": state}
            shown |= {f"{name}{suffix}": value for name, value in values.items()}
        respond(OperValues({name: str(value) for name, value in shown.items() if value is not None}))
