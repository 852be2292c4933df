"""Connects containers again as themselves, on networks with `alike=reconnect`.

A container that started together with others may have got a MAC address for that start only; who it is becomes known
later. Then it is taken off the network and connected with its own id as `id`, which admission takes for what it is:
certain, not a guess. One container comes after the other, and only while the engine's API answers. If one is left off
the network, no other follows. Must not know how the engine is asked: jobs do that.
"""

import logging
from collections import Counter
from dataclasses import dataclass, field

from supervisor.domain.lease_states import LeaseState, lease_state
from supervisor.domain.phases import Phase
from supervisor.driver.networks import Networks
from supervisor.driver.registry import Registry
from supervisor.endpoint.endpoint import Endpoint
from supervisor.engine import facts
from supervisor.engine.reconnection import End, Impossible, Outcome, Reconnection
from supervisor.runtime.jobs import Jobs
from supervisor.runtime.loop import Loop
from supervisor.state import tables
from supervisor.state.bindings import Bindings, key_of_container
from supervisor.state.store import Store
from workers.system.clock import boottime

LOOK = "supervisor.engine.reconnecting:look"
CARRY_OUT = "supervisor.engine.reconnecting:carry_out"
LOOK_SECONDS = 10.0
CARRY_OUT_SECONDS = 180.0  # several attempts, each of which may take the engine's 30 s
AGAIN_SECONDS = 60.0  # until one that has begun is tried again
MOST_TRIES = 3  # for one container on one network, until it is itself

log = logging.getLogger(__name__)


@dataclass(eq=False)
class Reconnections:
    """`current` is the reconnection that has begun, `problem` says that it has left its container off the network."""

    loop: Loop
    jobs: Jobs
    engine: facts.Engine
    networks: Networks
    endpoints: Registry
    bindings: Bindings
    store: Store
    engine_socket: str
    current: Reconnection | None = None
    problem: str | None = None
    _is_busy: bool = False
    _tries: Counter[tuple[str, str]] = field(default_factory=Counter)  # by the ids of container and network

    @property
    def problems(self) -> tuple[str, ...]:
        """A sentence if a container is off its network."""
        return () if self.problem is None else (self.problem,)

    def learn(self, fact: facts.Fact) -> None:
        """The engine may have told who a container is, or what became of the one that has begun."""
        begun = self.current
        match fact:
            case facts.ContainersListed():
                self._go_on()
            case facts.ContainerSeen(container_id) if begun is not None and begun.container_id == container_id:
                self._go_on()
            case facts.ContainerGone(gone) | facts.NetworkGone(gone) if begun is not None:
                if gone in (begun.container_id, begun.network_id) and not self._is_busy:
                    self._end()
        if isinstance(fact, facts.ContainerSeen):
            seen = (self.endpoints.get(endpoint_id) for endpoint_id in fact.endpoints)
            if any(endpoint is not None and endpoint.identity_lost is not None for endpoint in seen):
                self.look()

    def look(self) -> None:
        """Begins with the next container that is not itself. Call it often."""
        if self._is_busy or self.current is not None or not self.engine.connected:
            return
        endpoint = next((one for one in self.endpoints if one.identity_lost is not None and self._is_due(one)), None)
        wanted = self._wanted(endpoint) if endpoint is not None else None
        if endpoint is None or wanted is None:
            return
        self._is_busy = True
        self._tries[wanted.container_id, wanted.network_id] += 1

        def looked(found: object | None) -> None:
            self._is_busy = False
            if isinstance(found, Reconnection):
                self._begin(found)
            else:
                reason = found.reason if isinstance(found, Impossible) else "the engine does not answer"
                endpoint.journal.say(f"it is not connected again as itself: {reason}", logging.WARNING)

        self.jobs.ask("nd-reconnect", LOOK, self.engine_socket, wanted, deadline=LOOK_SECONDS, answer=looked)

    def _is_due(self, endpoint: Endpoint) -> bool:
        """Whether it may be connected again now: a server answers, so it will have a lease then, too."""
        network, now = self.networks.find(endpoint.spec.network_id), boottime()
        return (
            network is not None
            and network.options.reconnects
            and endpoint.phase is Phase.JOINED
            and endpoint.identity is not None
            and not (endpoint.recovering or endpoint.link_lost or endpoint.troubles)
            and all(lease_state(record.lease, now) is LeaseState.BOUND for record in endpoint.leases.values())
            and self._tries[endpoint.identity.id, network.id] < MOST_TRIES
        )

    def _wanted(self, endpoint: Endpoint) -> Reconnection | None:
        """What is known of it here; None if its own identity has gone meanwhile."""
        network_id, identity = endpoint.spec.network_id, endpoint.identity
        own = self.bindings.recall(network_id, key_of_container(identity.id)) if identity is not None else None
        if identity is None or own is None:
            return None
        network = self.engine.network_name(network_id) or network_id
        return Reconnection(
            identity.id, identity.name, network_id, network, endpoint.spec.endpoint_id, own.mac, wish={}
        )

    def _begin(self, one: Reconnection) -> None:
        self.store.do(tables.put_reconnection(one))
        self.current = one
        self._carry_out(one, is_begun=False)

    def _go_on(self) -> None:
        """Looks how far the one that has begun is, and goes on with it."""
        if self.current is not None and not self._is_busy and self.engine.connected:
            self._carry_out(self.current, is_begun=True)
        self.look()

    def _carry_out(self, one: Reconnection, *, is_begun: bool) -> None:
        self._is_busy = True

        def ended(outcome: object | None) -> None:
            self._is_busy = False
            match outcome:
                case Outcome(End.OFF, reason=reason):
                    self._is_left_off(one, reason)
                case Outcome():
                    self._end()
                    self._tell(one, outcome)
                    self.look()
                case _:
                    log.warning("the process that connects %s again has ended; going on in a minute", one.container)
                    self.loop.call_later(AGAIN_SECONDS, self._go_on)

        words = "nd-reconnect", CARRY_OUT, self.engine_socket, one, is_begun
        self.jobs.ask(*words, deadline=CARRY_OUT_SECONDS, answer=ended)

    def _end(self) -> None:
        self.current = self.problem = None
        self.store.do(tables.put_reconnection(None))

    def _tell(self, one: Reconnection, outcome: Outcome) -> None:
        extra = {"network": one.network_id, "container": one.container}
        if outcome.end is End.UNCHANGED:
            log.warning("container could not be connected again as itself: %s", outcome.reason, extra=extra)
        if outcome.end is not End.DONE:
            return
        alive = (endpoint for endpoint in self.endpoints.on_network(one.network_id) if not endpoint.is_ending)
        endpoint = next((e for e in alive if e.identity and e.identity.id == one.container_id), None)
        took = "" if outcome.seconds is None else f"; it was without this network for {outcome.seconds:.2f} s"
        if endpoint is not None and endpoint.spec.mac == one.mac:
            del self._tries[one.container_id, one.network_id]
            leases = [record.lease for record in endpoint.leases.values()]
            endpoint.journal.note("identified", f"connected again as itself{took}", leases)
        else:
            log.warning("container was connected again, but is not itself%s", took, extra=extra)

    def _is_left_off(self, one: Reconnection, reason: str) -> None:
        """Says so once for each reason. No container is left off for good, so this is tried again and again."""
        what = f"{one.container} is off network {one.network}, as it could not be connected again as itself: {reason}"
        text = f"{what}; the plugin tries again each minute, and so can you: `{one.command}`"
        if text != self.problem:
            log.error("%s", text, extra={"network": one.network_id, "container": one.container})
        self.problem = text
        self.loop.call_later(AGAIN_SECONDS, self._go_on)
