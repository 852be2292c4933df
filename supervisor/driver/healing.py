"""Heals lost state: learns networks and running containers again from what the engine's API tells.

`docker plugin rm`, a wiped disk and a damaged file take the state away, and the engine repeats neither CreateNetwork
nor Join. The watcher asks; a request waits for it for WAIT_SECONDS at most. Must not know how an endpoint is adopted.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from supervisor.contract.errors import Conflict, Failed, RequestError
from supervisor.contract.messages import Respond
from supervisor.driver.admission import NotYet
from supervisor.driver.networks import Networks
from supervisor.driver.registry import Registry
from supervisor.engine import facts
from supervisor.runtime.loop import Loop, Timer
from supervisor.state.records import Network

WAIT_SECONDS = 2.0
AGAIN_SECONDS = 1.0  # until an endpoint whose client's last lease is just being released is taken over
OLD_SECONDS = 60.0  # after which no list that is begun then has what has ended

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    """A request for a network that the engine may tell of in a moment."""

    network_id: str
    use: Callable[[Network], None]
    respond: Respond
    timer: Timer


class Healing:
    """What was lost and is known again, and what could not be healed."""

    def __init__(self, loop: Loop, engine: facts.Engine, networks: Networks, endpoints: Registry) -> None:
        self._loop = loop
        self._engine = engine
        self._networks = networks
        self._endpoints = endpoints
        self._healed: dict[str, str] = {}  # by the id of the network or endpoint
        self._failures: dict[str, str] = {}
        self._listing = True  # or about to: from the start on, and while the engine's API does not answer
        # Until the list is there, by `time.monotonic()`: what it tells of them may be older.
        self._ended: dict[str, float] = {}
        self._waiting: list[_Waiting] = []
        self._early: dict[str, Timer] = {}  # by the id of an endpoint that cannot be taken over yet

    @property
    def healed(self) -> tuple[str, ...]:
        """One sentence for each network and each endpoint that this instance had lost."""
        return tuple(self._healed.values())

    @property
    def problems(self) -> tuple[str, ...]:
        """One sentence for each that could not be healed, and still is in the engine."""
        return tuple(self._failures.values())

    def learn(self, fact: facts.Fact) -> None:
        """Heals what the fact tells of. Only a listing counts: later facts may be about what has ended meanwhile."""
        match fact:
            case facts.EngineConnected() | facts.EngineLost():
                self._listing = True
                for one in tuple(self._early):
                    self._early.pop(one).cancel()  # the list tells of it once more
            case facts.NetworkSeen() if self._listing and fact.driver == self._engine.own_name:
                self._learn_network(fact)
                self._answer(fact.id)
            case facts.NetworksListed():
                self._answer(None)
            case facts.EndpointSeen():
                self._adopt(fact)
            case facts.ContainersListed():
                self._listing = False
                self._ended.clear()
            case facts.NetworkGone(network_id):
                self.ended(network_id)
            case _:
                pass

    def ended(self, one: str) -> None:
        """The engine has ended this endpoint or network."""
        self._failures.pop(one, None)
        if one in self._early:
            self._early.pop(one).cancel()
        if self._listing:
            self._ended[one] = now = time.monotonic()
            if not self._engine.connected:
                self._ended = {known: at for known, at in self._ended.items() if at > now - OLD_SECONDS}

    def with_network(self, network_id: str, use: Callable[[Network], None], respond: Respond) -> None:
        """Calls `use` with the network, now or soon. Raises RequestError, or responds with one."""
        if self._networks.find(network_id) is None and self._engine.listed is None:
            timer = self._loop.call_later(WAIT_SECONDS, lambda: self._answer(network_id))
            self._waiting.append(_Waiting(network_id, use, respond, timer))
        else:
            use(self._network(network_id))

    def _answer(self, network_id: str | None) -> None:
        """Answers the requests that wait for this network, or all of them."""
        ready = [one for one in self._waiting if network_id in (None, one.network_id)]
        self._waiting = [one for one in self._waiting if one not in ready]
        for one in ready:
            one.timer.cancel()
            try:
                one.use(self._network(one.network_id))
            except RequestError as error:
                one.respond(error)

    def _network(self, network_id: str) -> Network:
        """The network of a request. The request tells that it is one of this driver. Raises RequestError."""
        seen = self._engine.networks.get(network_id)
        if self._networks.find(network_id) is None and seen is not None:
            self._learn_network(seen)
            if network_id in self._failures:
                raise Failed(self._failures[network_id])
        return self._networks.get(network_id)

    def _learn_network(self, seen: facts.NetworkSeen) -> None:
        if self._networks.find(seen.id) is not None or seen.id in self._ended:
            return
        try:
            if self._engine.own_name not in (None, seen.driver):
                raise Conflict(f"it is one of the driver {seen.driver}, and this one is {self._engine.own_name}")
            self._networks.learn(seen)
        except RequestError as error:
            what = f"network {seen.name} was lost and cannot be learnt from the engine: {error}; create it again"
            self._fail(seen.id, what, {"network": seen.id})
        else:
            self._failures.pop(seen.id, None)
            self._healed[seen.id] = f"network {seen.name} was lost and learnt from the engine"

    def _adopt(self, seen: facts.EndpointSeen) -> None:
        one, network = seen.endpoint_id, self._networks.find(seen.network_id)
        self._early.pop(one, None)
        known = self._endpoints.get(one) is not None or self._endpoints.is_ending(one)
        if network is None or known or one in self._ended:
            return
        what = f"container {seen.container.name} on network {self._engine.network_name(network.id)}"
        try:
            self._endpoints.adopt(seen, network.options)
        except NotYet:
            self._early[one] = self._loop.call_later(AGAIN_SECONDS, lambda: self._adopt(seen))
        except RequestError as error:
            text = f"{what} was lost and cannot be taken over: {error}; restart it"
            self._fail(one, text, {"network": network.id, "endpoint": one})
        else:
            self._failures.pop(one, None)
            self._healed[one] = f"{what} was lost and taken over from the engine"

    def _fail(self, one: str, text: str, extra: dict[str, str]) -> None:
        if self._failures.get(one) != text:
            log.error("%s", text, extra=extra)
        self._failures[one] = text
