"""Answers whether a DHCP server serves a network's LAN now. The question leaves neither a lease nor a link."""

from supervisor.contract.errors import Conflict, Failed, NotFound
from supervisor.contract.messages import NetworkProbed, ProbeNetwork, Respond
from supervisor.driver.networks import Networks
from supervisor.engine.facts import Engine
from supervisor.ops.views import networks_called
from workers.endpoint.server_probe import ServerReport


class Probing:
    """One question at a time for each network."""

    def __init__(self, networks: Networks, engine: Engine) -> None:
        self._networks = networks
        self._engine = engine
        self._probed: set[str] = set()

    def probe(self, asked: ProbeNetwork, respond: Respond) -> None:
        """Raises NotFound, and Conflict if the name stands for several networks or the network is being asked."""
        named = networks_called(asked.network, self._networks, self._engine)
        if not named:
            raise NotFound(f"no network {asked.network!r} is known to this plugin")
        if len(named) > 1:
            raise Conflict(f"{asked.network!r} stands for {len(named)} networks: name one by its id")
        network = self._networks.get(next(iter(named)))
        if network.id in self._probed:
            raise Conflict(f"a DHCP server is being looked for on {asked.network!r} already; try again later")
        self._probed.add(network.id)

        def answered(report: ServerReport | None) -> None:
            self._probed.discard(network.id)
            if report is None:
                respond(Failed("no server could be asked; the plugin's log says why"))
                return
            name, parent = self._engine.network_name(network.id), network.options.link.parent
            respond(NetworkProbed(network.id, name, parent, report.family, report.server, report.error))

        self._networks.find_server(network, answered)
