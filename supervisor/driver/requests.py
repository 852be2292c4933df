"""Passes each request of the engine to the network or endpoint that handles it.

Must not know how requests come in. Leave, DeleteEndpoint and DeleteNetwork succeed in every case, also for an unknown
id.
"""

from collections.abc import Callable
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True, eq=False)
class DriverRequests:
    """`ask_again` brings a request that came too early once more, in a moment."""

    networks: Networks
    endpoints: Registry
    bindings: Bindings
    orphans: Orphans
    host_access: HostAccess
    healing: Healing
    ask_again: Callable[[EngineRequest, Respond], None]

    @property
    def handlers(self) -> dict[type[EngineRequest], Callable[..., None]]:
        """A function for each kind of request; it answers now or later, or raises RequestError."""
        return {
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
            self.host_access.ensure()

        self.networks.create(body, answer)

    def _delete_network(self, body: DeleteNetwork, respond: Respond) -> None:
        """The engine forgets the network even if we refuse, so its endpoints go too. It waits only for the host's."""
        link, host = self.networks.delete(body.network_id), self.endpoints.host_on(body.network_id)
        for endpoint in self.endpoints.on_network(body.network_id):
            if endpoint is not host:
                endpoint.delete()
        self.bindings.forget_network(body.network_id)
        self.healing.ended(body.network_id)

        def done(result: Answer | RequestError) -> None:
            self.networks.retire(link)
            respond(result)

        if host is None:
            done(Done())
        else:
            host.delete(done)

    def _create_endpoint(self, body: CreateEndpoint, respond: Respond) -> None:
        known = self.endpoints.get(body.endpoint_id)
        if known is not None:
            known.create(respond)
            return

        def create(network: Network) -> None:
            repeated = self.endpoints.get(body.endpoint_id)
            try:
                endpoint = repeated or self.endpoints.admit(body, network.options)
            except NotYet:
                self.ask_again(body, respond)
            else:
                endpoint.create(respond)

        self.healing.with_network(body.network_id, create, respond)

    def _join(self, body: Join, respond: Respond) -> None:
        self.endpoints.known(body.endpoint_id).join(body.sandbox_key, respond)

    def _leave(self, body: Leave, respond: Respond) -> None:
        self.healing.ended(body.endpoint_id)
        endpoint = self.endpoints.get(body.endpoint_id)
        if endpoint is None:
            respond(Done())
        else:
            endpoint.leave(respond)

    def _delete_endpoint(self, body: DeleteEndpoint, respond: Respond) -> None:
        self.healing.ended(body.endpoint_id)
        endpoint = self.endpoints.get(body.endpoint_id)
        if endpoint is None:
            self.orphans.remove_link(body.endpoint_id, lambda: respond(Done()))
        else:
            endpoint.delete(respond)

    def _oper_info(self, body: OperInfo, respond: Respond) -> None:
        endpoint = self.endpoints.known(body.endpoint_id)
        shown: dict[str, object] = {"mac": endpoint.spec.mac if endpoint.spec.link.has_own_mac else None}
        for family, record in endpoint.leases.items():
            lease, suffix = record.lease, "6" if family is Family.IPV6 else ""
            state = lease_state(lease, boottime())
            values = {"address": lease.address, "server": lease.source, "lease_state": state}
            shown |= {f"{name}{suffix}": value for name, value in values.items()}
        respond(OperValues({name: str(value) for name, value in shown.items() if value is not None}))
