"""What operators may do: renew or give back leases, keep or forget identities, look for a server, set the log's level.

A request that does not fit the endpoint's state raises Conflict and changes nothing. No request changes a phase. Must
not know who asks: only the API on the plugin's own socket may.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from supervisor.contract import messages as m
from supervisor.contract.errors import Conflict, DeadlineExceeded, Failed, InvalidRequest, NotFound
from supervisor.domain.option_values import chosen_id
from supervisor.domain.phases import Phase
from supervisor.driver.networks import Networks
from supervisor.driver.registry import Registry
from supervisor.endpoint.awaited_leases import CONFIRM_SECONDS
from supervisor.endpoint.endpoint import Endpoint
from supervisor.engine.facts import Engine
from supervisor.ops.views import networks_called, the_endpoint, view_endpoint
from supervisor.runtime.loop import Loop
from supervisor.state.bindings import Bindings, key_of_container
from supervisor.state.records import Binding
from workers.contract import messages as w
from workers.contract.lease import AnyLease, Lease6
from workers.endpoint.server_probe import ServerReport

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
RELEASED = "an operator gave the lease back; a new one is asked for"
SPREAD_SECONDS = 0.01  # between two workers that hear of the log's level: a thousand at once would keep others waiting

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Actions:
    """All that operators may do."""

    loop: Loop
    engine: Engine
    networks: Networks
    endpoints: Registry
    bindings: Bindings
    _probed: set[str] = field(default_factory=set)  # the networks on which a server is being looked for

    @property
    def handlers(self) -> dict[type, Callable[..., None]]:
        """A function for each kind of request. It answers now or later, or raises RequestError."""
        return {
            m.RenewLease: self._renew,
            m.ReleaseLease: self._release,
            m.PinEndpoint: self._pin,
            m.ForgetBinding: self._forget,
            m.SetLogLevel: self._set_log_level,
            m.ProbeNetwork: self._probe,
        }

    def _renew(self, asked: m.RenewLease, respond: m.Respond) -> None:
        endpoint = the_endpoint(self.endpoints, asked.name)
        leases = _from_servers(endpoint)
        endpoint.awaited_leases.add((lease.family for lease in leases), partial(self._confirmed, endpoint, respond))
        endpoint.worker.send(w.AskServers())

    def _release(self, asked: m.ReleaseLease, respond: m.Respond) -> None:
        endpoint = the_endpoint(self.endpoints, asked.name)
        leases = _from_servers(endpoint)
        endpoint.awaited_leases.add((lease.family for lease in leases), partial(self._confirmed, endpoint, respond))
        endpoint.journal.released_on_request(leases, RELEASED)
        endpoint.troubles |= {lease.family: RELEASED for lease in leases}
        endpoint.worker.send(w.GiveBack())

    def _confirmed(self, endpoint: Endpoint, respond: m.Respond, is_confirmed: bool) -> None:
        if is_confirmed:
            respond(view_endpoint(endpoint, self.engine))
            return
        try:
            _from_servers(endpoint)
        except Conflict as error:  # the container has ended meanwhile
            respond(error)
        else:
            troubles = "; ".join(dict.fromkeys(endpoint.troubles.values())) or "nothing was heard"
            text = f"no server has answered {endpoint.name} within {CONFIRM_SECONDS:g} s ({troubles}); it asks on"
            respond(DeadlineExceeded(text))

    def _pin(self, asked: m.PinEndpoint, respond: m.Respond) -> None:
        endpoint = the_endpoint(self.endpoints, asked.name)
        try:
            key = f"id:{chosen_id(asked.id)}"
        except ValueError as error:
            raise InvalidRequest(f"id: {error}") from None
        network_id = endpoint.spec.network_id
        known = self.bindings.recall(network_id, key)
        if known is not None and known.mac != endpoint.spec.mac:
            raise Conflict(
                f"the id {asked.id!r} belongs to another identity on this network, with the MAC address {known.mac}: "
                "choose another id, or forget that one"
            )
        if any(e.origin.key == key and e is not endpoint for e in self.endpoints.on_network(network_id)):
            raise Conflict(f"the id {asked.id!r} is in use on this network, by another container")
        if not endpoint.leases:
            raise Conflict(f"{endpoint.name} has no lease yet, and so no address to be kept")
        endpoint.journal.pinned([record.lease for record in endpoint.leases.values()], key)
        respond(view_endpoint(endpoint, self.engine))

    def _forget(self, asked: m.ForgetBinding, respond: m.Respond) -> None:
        keys = {f"{kind}:{asked.name}" for kind in ("id", "name", "mac", "container")}
        keys |= {key_of_container(one.id) for one in self.engine.containers.values() if one.name == asked.name}
        found = [one for one in self.bindings if one.key in keys or one.mac == asked.name.lower()]
        used = self.endpoints.places()
        idle = [one for one in found if (one.network_id, one.key) not in used]
        if not found:
            raise NotFound(f"no identity {asked.name!r} is known: name an id, a container or a MAC address")
        if not idle:
            raise Conflict(f"the identity {asked.name!r} is in use by a running container")
        self.bindings.forget(idle)
        respond(m.Forgotten(tuple(self._view(one) for one in idle)))

    def _view(self, one: Binding) -> m.BindingView:
        addresses = tuple(one.addresses.values())
        return m.BindingView(one.network_id, self.engine.network_name(one.network_id), one.key, one.mac, addresses)

    def _probe(self, asked: m.ProbeNetwork, respond: m.Respond) -> None:
        """One question at a time for each network; it leaves neither a lease nor a link."""
        named = networks_called(asked.network, self.networks, self.engine)
        if not named:
            raise NotFound(f"no network {asked.network!r} is known to this plugin")
        if len(named) > 1:
            raise Conflict(f"{asked.network!r} stands for {len(named)} networks: name one by its id")
        network = self.networks.get(next(iter(named)))
        if network.id in self._probed:
            raise Conflict(f"a DHCP server is being looked for on {asked.network!r} already; try again later")
        self._probed.add(network.id)

        def answered(report: ServerReport | None) -> None:
            self._probed.discard(network.id)
            if report is None:
                respond(Failed("no server could be asked; the plugin's log says why"))
                return
            name, parent = self.engine.network_name(network.id), network.options.link.parent
            respond(m.NetworkProbed(network.id, name, parent, report.family, report.server, report.error))

        self.networks.find_server(network, answered)

    def _set_log_level(self, asked: m.SetLogLevel, respond: m.Respond) -> None:
        if asked.level not in LEVELS:
            raise InvalidRequest(f"level must be one of {', '.join(LEVELS)}, got {asked.level!r}")
        level = logging.getLevelNamesMapping()[asked.level]
        logging.getLogger().setLevel(level)
        log.warning("from now on the log has the level %s", asked.level)
        for number, endpoint in enumerate(self.endpoints):
            self.loop.call_later(number * SPREAD_SECONDS, partial(endpoint.worker.send, w.SetLogLevel(level)))
        respond(m.Done())


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
