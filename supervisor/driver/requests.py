"""Passes each request of the engine to the network or endpoint that handles it.

Must not know how requests come in. Leave, DeleteEndpoint and DeleteNetwork succeed in every case, also for an unknown
id.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from supervisor.contract import messages as m
from supervisor.contract.errors import RequestError
from supervisor.domain.lease_states import lease_state
from supervisor.driver.admission import NotYet
from supervisor.driver.healing import Healing
from supervisor.driver.host_access import HostAccess
from supervisor.driver.networks import Networks
from supervisor.driver.orphans import Orphans
from supervisor.driver.registry import Registry
from supervisor.engine.facts import Engine
from supervisor.state.bindings import Bindings
from supervisor.state.records import Network
from workers.contract.lease import Family
from workers.system.clock import boottime

REGISTRATION_SECONDS = 2.0
REMEMBERS_JOINS = 29  # the release from which a driver of dockerd does


class Registration:
    """Whether dockerd has made a driver of this process of the plugin yet, half a second after it has started it.

    From Docker 29 on that driver knows which endpoints it has joined, and dockerd asks it for them behind Join
    (ProgramExternalConnectivity). If another driver takes its place between the two, the start fails, and dockerd
    forgets that the container was on the network. So no endpoint is made before dockerd has asked for the capabilities.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._deadline = math.inf

    def begin(self) -> None:
        """Requests are handled from now on; what comes before waits anyway, for a disk that may be slow."""
        self._deadline = min(self._deadline, time.monotonic() + REGISTRATION_SECONDS)

    def is_awaited(self) -> bool:
        """Whether an endpoint has to wait for it, though not for ever."""
        release = self._engine.release
        return release is not None and release >= REMEMBERS_JOINS and time.monotonic() < self._deadline

    def done(self, _: m.GetCapabilities, respond: m.Respond) -> None:
        """dockerd has asked."""
        self._deadline = -math.inf
        respond(m.Done())


@dataclass(frozen=True, slots=True, eq=False)
class DriverRequests:
    """`ask_again` brings a request that came too early once more, in a moment."""

    networks: Networks
    endpoints: Registry
    bindings: Bindings
    orphans: Orphans
    host_access: HostAccess
    healing: Healing
    registration: Registration
    ask_again: Callable[[m.EngineRequest, m.Respond], None]

    @property
    def handlers(self) -> dict[type[m.EngineRequest | m.GetCapabilities], Callable[..., None]]:
        """A function for each kind of request; it answers now or later, or raises RequestError."""
        return {
            m.GetCapabilities: self.registration.done,
            m.CreateNetwork: self._create_network,
            m.DeleteNetwork: self._delete_network,
            m.CreateEndpoint: self._create_endpoint,
            m.DeleteEndpoint: self._delete_endpoint,
            m.OperInfo: self._oper_info,
            m.Join: self._join,
            m.Leave: self._leave,
        }

    def _create_network(self, body: m.CreateNetwork, respond: m.Respond) -> None:
        def answer(result: m.Answer | RequestError) -> None:
            respond(result)
            self.host_access.ensure()

        self.networks.create(body, answer)

    def _delete_network(self, body: m.DeleteNetwork, respond: m.Respond) -> None:
        """The engine forgets the network even if we refuse, so its endpoints go too. It waits only for the host's."""
        link, host = self.networks.delete(body.network_id), self.endpoints.host_on(body.network_id)
        for endpoint in self.endpoints.on_network(body.network_id):
            if endpoint is not host:
                endpoint.delete()
        self.bindings.forget_network(body.network_id)
        self.healing.ended(body.network_id)

        def done(result: m.Answer | RequestError) -> None:
            self.networks.retire(link)
            respond(result)

        if host is None:
            done(m.Done())
        else:
            host.delete(done)

    def _create_endpoint(self, body: m.CreateEndpoint, respond: m.Respond) -> None:
        known = self.endpoints.get(body.endpoint_id)
        if known is not None:
            known.create(respond)
            return
        if self.registration.is_awaited():
            self.ask_again(body, respond)
            return

        def create(network: Network) -> None:
            repeated = self.endpoints.get(body.endpoint_id)
            if repeated is not None:
                repeated.create(respond)
                return
            try:
                self.endpoints.create(body, network.options, respond)
            except NotYet:
                self.ask_again(body, respond)

        self.healing.with_network(body.network_id, create, respond)

    def _join(self, body: m.Join, respond: m.Respond) -> None:
        self.endpoints.known(body.endpoint_id).join(body.sandbox_key, respond)

    def _leave(self, body: m.Leave, respond: m.Respond) -> None:
        self.healing.ended(body.endpoint_id)
        endpoint = self.endpoints.get(body.endpoint_id)
        if endpoint is None:
            respond(m.Done())
        else:
            endpoint.leave(respond)

    def _delete_endpoint(self, body: m.DeleteEndpoint, respond: m.Respond) -> None:
        self.healing.ended(body.endpoint_id)
        endpoint = self.endpoints.get(body.endpoint_id)
        if endpoint is None:
            self.orphans.remove_link(body.endpoint_id, lambda: respond(m.Done()))
        else:
            endpoint.delete(respond)

    def _oper_info(self, body: m.OperInfo, respond: m.Respond) -> None:
        endpoint = self.endpoints.known(body.endpoint_id)
        shown: dict[str, object] = {"mac": endpoint.spec.mac if endpoint.spec.link.has_own_mac else None}
        for family, record in endpoint.leases.items():
            lease, suffix = record.lease, "6" if family is Family.IPV6 else ""
            state = lease_state(lease, boottime())
            values = {"address": lease.address, "server": lease.source, "lease_state": state}
            shown |= {f"{name}{suffix}": value for name, value in values.items()}
        respond(m.OperValues({name: str(value) for name, value in shown.items() if value is not None}))
