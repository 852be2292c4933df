"""The networks that Docker has made with this driver. Checks one before accepting it, and forgets lost ones."""

import logging
import math
import secrets
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection

from supervisor.contract.errors import Conflict, Failed, InvalidRequest, NotFound, RequestError
from supervisor.contract.messages import CreateNetwork, Done, IpamPool, Respond
from supervisor.domain.options import ANY_DRIVER, parse_network_options, require_null_ipam
from supervisor.engine.checks import engine_findings, mixed_up_at_boot, rootless
from supervisor.engine.facts import Engine, NetworkSeen
from supervisor.engine.identity import Alike, Identifier
from supervisor.runtime.jobs import Jobs
from supervisor.state.bindings import local_mac
from supervisor.state.records import Network
from supervisor.state.store import Store
from workers.contract.finding import Finding
from workers.contract.link import LinkSpec, vlan_of
from workers.contract.messages import EndpointSpec, Ipv6
from workers.diagnosis.checks import IPV6_OFF, diagnose
from workers.endpoint.server_probe import ServerReport, probe_server
from workers.link.kind import ParentReport, probe_parent
from workers.link.vlan_parent import retire_parent

PROBE_DEADLINE_SECONDS = 5.0
LINK_SECONDS = 3.0  # to make and remove one; with the longest search for a server it is less than the engine's 30 s
REPORT_SECONDS = 30.0  # the watcher reports a network that the engine has made within this time
LOOK_SECONDS = 15.0  # a look at a network that is older than this is repeated
SURE_SECONDS = 60.0  # a network is in each list that the engine begins this long after we accepted it
DEFAULT_BRIDGES = ("docker0", "docker_gwbridge")  # the engine's own, until the watcher has reported them

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Look:
    """What was found of a network, and when the look began (`time.monotonic()`); `alike` may be mixed up at a boot."""

    at: float
    findings: tuple[Finding, ...]
    alike: tuple[Alike, ...] = ()


NEVER = _Look(-math.inf, ())


class Networks:
    """All of them, by id."""

    def __init__(self, jobs: Jobs, engine: Engine, store: Store, mark: int) -> None:
        """`mark` is the group of our links (supervisor.state.instance_lock), 0 if they have none."""
        self._jobs = jobs
        self._engine = engine
        self._store = store
        self._mark = mark
        self._networks: dict[str, Network] = {}
        self._since: dict[str, float] = {}  # `time.monotonic()`
        self._looks: dict[str, _Look] = {}
        self._reported_missing: set[str] = set()

    def __len__(self) -> int:
        return len(self._networks)

    def __iter__(self) -> Iterator[Network]:
        return iter(self._networks.values())

    def load(self, networks: tuple[Network, ...]) -> None:
        """Takes over the last instance's networks, unchecked: they may have running containers."""
        self._networks = {network.id: network for network in networks}
        self._since = dict.fromkeys(self._networks, time.monotonic())

    def find(self, network_id: str) -> Network | None:
        """None if the network is not known."""
        return self._networks.get(network_id)

    def get(self, network_id: str) -> Network:
        """Raises NotFound, which says what to do: the engine does not repeat CreateNetwork."""
        try:
            return self._networks[network_id]
        except KeyError:
            raise NotFound(
                f"network {network_id[:12]} is not known to this plugin: remove its containers and the network, "
                "and create both again (docker rm, docker network rm, docker network create, docker run)"
            ) from None

    def create(self, body: CreateNetwork, respond: Respond) -> None:
        """Checks the options at once, and has a job look at the bridge or parent. Raises RequestError."""
        if finding := rootless():
            raise Failed(str(finding))
        driver = self._engine.own_name or ANY_DRIVER
        require_null_ipam(body.network_id, body.pools, driver)
        network = Network(body.network_id, parse_network_options(body.options, driver), dict(body.options), time.time())
        if self._networks.get(network.id) == network:
            respond(Done())
            return
        self._refuse_conflict(network)

        def probed(report: object | None) -> None:
            try:
                look = _Look(time.monotonic(), self._require_usable(network, report))
            except RequestError as error:
                respond(error)
            else:
                following = self._require_server if network.options.validate_dhcp else self._accept
                following(network, look, respond)

        self._jobs.ask("nd-probe", _probe, *_looked_at(network), deadline=PROBE_DEADLINE_SECONDS, answer=probed)

    def learn(self, seen: NetworkSeen) -> None:
        """Takes a network over as the engine describes it, unchecked as by `load`.

        Raises InvalidRequest if this version cannot work with its options.
        """
        require_null_ipam(seen.id, (IpamPool(seen.ipam, ""),), seen.driver)
        options = parse_network_options(seen.options, seen.driver)
        self._add(Network(seen.id, options, dict(seen.options)), "learnt from the engine")

    def delete(self, network_id: str) -> LinkSpec | None:
        """Forgets the network; returns its link, whose parent the caller may `retire`. None if it is not known."""
        network = self._networks.pop(network_id, None)
        if network is None:
            return None
        del self._since[network_id]
        self._looks.pop(network_id, None)
        self._reported_missing.discard(network_id)
        self._store.drop("network", network_id)
        log.info("network deleted", extra={"network": network_id})
        return network.options.link

    def findings(self) -> Iterator[tuple[Network, Finding]]:
        """What the last look at each network found. A job repeats looks that are out of date, for the next call."""
        self._look_again()
        return ((n, finding) for n in self for finding in self._looks.get(n.id, NEVER).findings)

    def alike(self) -> Iterator[tuple[Network, Alike]]:
        """The containers that a boot may mix up, as the last look at each network found them."""
        return ((network, one) for network in self for one in self._looks.get(network.id, NEVER).alike)

    def look(self, looked: Callable[[bool], None]) -> None:
        """Looks at all networks now, and tells `looked` whether that succeeded. Calls meanwhile share the look."""
        self._look_at(list(self), looked, self._jobs.share)

    def _look_again(self) -> None:
        now = time.monotonic()
        due = [network for network in self if now - self._looks.get(network.id, NEVER).at > LOOK_SECONDS]
        if due:
            self._look_at(due, lambda _: None, self._jobs.ask)

    def _look_at(self, due: list[Network], done: Callable[[bool], None], ask: Callable[..., None]) -> None:
        now = time.monotonic()

        def looked(found: object | None) -> None:
            for network_id, look in (found if isinstance(found, dict) else {}).items():
                if network_id in self._networks:
                    self._looks[network_id] = _Look(now, *look)
            done(isinstance(found, dict))

        for network in due:  # not by two jobs at a time
            self._looks[network.id] = replace(self._looks.get(network.id, NEVER), at=now)
        about = {network.id: _looked_at(network) for network in due}, self._engine
        ask("nd-probe", _diagnose, *about, deadline=PROBE_DEADLINE_SECONDS, answer=looked)

    @property
    def parents(self) -> frozenset[str]:
        """The interfaces that networks are on."""
        return frozenset(network.options.link.parent for network in self)

    def retire(self, link: LinkSpec | None) -> None:
        """The endpoints of a network with such links are gone: what was made of the parent goes with its last one."""
        if link is None or link.parent in self.parents or (link.has_own_mac and vlan_of(link.parent) is None):
            return
        words = ("nd-retire", retire_parent, link, self._mark)
        self._jobs.ask(*words, deadline=PROBE_DEADLINE_SECONDS, answer=lambda _: None)

    def drop_forgotten(self, used: Collection[str]) -> tuple[str, ...]:
        """Drops the networks that the engine does not have and that are not `used`; returns their ids.

        The connection broke during their creation or removal. A list of networks counts only if it is complete and the
        engine began it well after we had accepted the network.
        """
        listed = self._engine.listed
        forgotten = [
            n.id for n in self._missing(used) if listed is not None and listed - self._since[n.id] > SURE_SECONDS
        ]
        for network_id in forgotten:
            log.warning("the engine has no such network: forgotten", extra={"network": network_id})
            self.retire(self.delete(network_id))
        return tuple(forgotten)

    def newly_missing(self, used: Collection[str]) -> bool:
        """Whether another list could show that the engine has forgotten a network. True once for each network."""
        if self._engine.listed is None:
            return False
        missing = {n.id for n in self._missing(used) if time.monotonic() - self._since[n.id] > SURE_SECONDS}
        new, self._reported_missing = missing - self._reported_missing, self._reported_missing | missing
        return bool(new)

    def _missing(self, used: Collection[str]) -> Iterator[Network]:
        return (n for n in self if n.id not in used and self._engine.network_name(n.id) is None)

    def _require_usable(self, network: Network, report: object | None) -> tuple[Finding, ...]:
        """What was found at a parent that can be used. Raises RequestError."""
        option, parent = network.options.named_by, network.options.link.parent
        if not isinstance(report, ParentReport):
            raise Failed(f"{option} {parent} could not be looked at; the plugin's log says why")
        if report.error:
            raise InvalidRequest(f"option {option}: {report.error}")
        for finding in report.findings:
            if finding.id == IPV6_OFF.id:
                raise InvalidRequest(f"option ipv6: {finding}")
        for finding in (*report.findings, *engine_findings(self._engine)):
            log.warning("%s", finding, extra={"network": network.id, "interface": parent})
        return report.findings

    def find_server(self, network: Network, answer: Callable[[ServerReport | None], None]) -> None:
        """Has a job ask for a DHCP server as a container would; `answer` gets None if that could not be done.

        The question has a MAC address of its own, and leaves neither a lease nor a link.
        """
        options, mac = network.options, local_mac(secrets.token_bytes(5))
        owner = (network.id, secrets.token_hex(32), options.link, mac, options.client_of(mac))
        spec = EndpointSpec(*owner, options.lease_timeout, mark=self._mark, ipv6=options.ipv6)

        def answered(report: object | None) -> None:
            answer(report if isinstance(report, ServerReport) else None)

        deadline = options.lease_timeout + LINK_SECONDS
        self._jobs.ask("nd-probe", probe_server, spec, deadline=deadline, answer=answered)

    def _require_server(self, network: Network, look: _Look, respond: Respond) -> None:
        def answered(report: ServerReport | None) -> None:
            if report is None or report.error is not None:
                self.retire(network.options.link)
                why = "no server could be asked; the plugin's log says why" if report is None else report.error
                respond(Failed(f"option validate_dhcp: {why}"))
            else:
                self._accept(network, look, respond)

        self.find_server(network, answered)

    def _accept(self, network: Network, look: _Look, respond: Respond) -> None:
        try:
            self._refuse_conflict(network)  # again: another network may have been accepted meanwhile
        except RequestError as error:
            respond(error)
            return
        self._looks[network.id] = look
        self._add(network, "created")
        respond(Done())

    def _add(self, network: Network, how: str) -> None:
        self._networks[network.id] = network
        self._since[network.id] = time.monotonic()
        self._store.put(network)
        log.info("network %s", how, extra={"network": network.id, "interface": network.options.link.parent})

    def _refuse_conflict(self, network: Network) -> None:
        option, parent = network.options.named_by, network.options.link.parent
        if network.options.ignore_conflicts:
            return
        for other in self:
            if other.options.link.parent == parent and other.id != network.id and not self._forgotten(other):
                name = self._engine.network_name(other.id) or other.id[:12]
                raise Conflict(
                    f"option {option}: {parent} is already used by network {name}; use that network, "
                    "or add -o ignore_conflicts=true"
                )
        owner = self._engine.owner_of_bridge(parent) or (parent if parent in DEFAULT_BRIDGES else None)
        if owner is not None:
            raise Conflict(
                f"option {option}: Docker itself hands out the addresses on {parent} (network {owner}); "
                "use a bridge that your LAN is on, or add -o ignore_conflicts=true"
            )

    def _forgotten(self, network: Network) -> bool:
        """Whether the engine has no such network: the connection broke during its creation or removal."""
        seen = not self._engine.connected or self._engine.network_name(network.id) is not None
        return not seen and time.monotonic() - self._since[network.id] > REPORT_SECONDS


def _looked_at(network: Network) -> tuple[LinkSpec, bool]:
    """Whether the network wants IPv6, beside its link."""
    return network.options.link, network.options.ipv6 is not Ipv6.OFF


def _diagnose(networks: dict[str, tuple[LinkSpec, bool]], engine: Engine, channel: Connection) -> None:
    """The networks' parents, and by the engine's files their containers: findings and Alike of each network."""
    identifier, looks = Identifier(engine), {}
    for network_id, (spec, ipv6) in networks.items():
        alike = tuple(identifier.mixed_up_at_boot(network_id))
        findings = *diagnose(spec, ipv6=ipv6), *mixed_up_at_boot([one.name for one in alike])
        looks[network_id] = findings, alike
    channel.send(looks)


def _probe(spec: LinkSpec, ipv6: bool, channel: Connection) -> None:
    channel.send(probe_parent(spec, ipv6=ipv6))
