"""Which containers are connected again as themselves, when, and what is said. The jobs and the endpoints are played."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest
from msgspec import structs

from supervisor.domain.options import NetworkOptions
from supervisor.domain.phases import Phase
from supervisor.driver import reconnections as module
from supervisor.driver.networks import Networks
from supervisor.driver.reconnections import AGAIN_SECONDS, CARRY_OUT, LOOK, MOST_TRIES, Reconnections
from supervisor.driver.registry import Registry
from supervisor.endpoint.endpoint import Endpoint
from supervisor.engine.facts import (
    ContainerGone,
    ContainerSeen,
    ContainersListed,
    Engine,
    EngineConnected,
    EngineLost,
    NetworkSeen,
)
from supervisor.engine.reconnection import End, Impossible, Outcome, Reconnection
from supervisor.runtime.jobs import Jobs
from supervisor.state import tables
from supervisor.state.bindings import key_of_container
from supervisor.state.holdings import Statement
from supervisor.state.records import LeaseRecord, Network
from tests.supervisor.puppet import ENDPOINT, IDENTITY, LEASE, NETWORK, PlayedLoop, Puppet, bring_to
from workers.contract.client_identity import ClientIdentity
from workers.contract.lease import Family
from workers.system.clock import boottime

OWN = "02:00:00:00:00:77"
LIVE = replace(LEASE, obtained=boottime())
WISH = {"DriverOpts": {"id": IDENTITY.id}}


@dataclass
class Asked:
    """A job that was asked for."""

    target: object
    wanted: Reconnection
    is_begun: bool
    answer: Callable[[object | None], None]


@dataclass
class Played:
    """One joined container whose identity was lost, on a network with `alike=reconnect`."""

    loop: PlayedLoop = field(default_factory=PlayedLoop)
    engine: Engine = field(default_factory=Engine)
    jobs: list[Asked] = field(default_factory=list)
    options: NetworkOptions = field(default_factory=lambda: NetworkOptions("br0", reconnects=True))

    def __post_init__(self) -> None:
        self.puppet = Puppet(identity=IDENTITY)
        self.endpoints: list[Endpoint] = [self.puppet.endpoint]
        bring_to(self.puppet, Phase.JOINED)
        self.puppet.endpoint.leases = {Family.IPV4: LeaseRecord(LIVE)}
        self.puppet.endpoint.identity_lost = "it has another MAC address than before"
        owner = replace(self.puppet.spec, mac=OWN, client_identity=ClientIdentity.of_mac(OWN))
        self.puppet.bindings.keep(owner, key_of_container(IDENTITY.id), LIVE)
        self.engine.learn(EngineConnected("/data", "overlay2"))
        self.engine.learn(NetworkSeen(NETWORK, "lan", None))
        self.reconnections = Reconnections(
            self.loop,
            cast(Jobs, self),
            self.engine,
            cast(Networks, self),
            cast(Registry, self),
            self.puppet.bindings,
            self.puppet.store,
            "/docker.sock",
        )

    def ask(self, _: str, target: object, socket: str, *words: Any, deadline: float, answer: Any) -> None:  # noqa: ANN401
        """As Jobs."""
        assert (socket, deadline > 0) == ("/docker.sock", True)
        self.jobs.append(Asked(target, words[0], words[-1] is True, answer))

    def find(self, network_id: str) -> Network:
        """As Networks."""
        return Network(network_id, self.options)

    def get(self, endpoint_id: str) -> Endpoint | None:
        """As Registry."""
        return next((one for one in self.endpoints if one.spec.endpoint_id == endpoint_id), None)

    def on_network(self, _: str) -> list[Endpoint]:
        """As Registry."""
        return self.endpoints

    def __iter__(self) -> Iterator[Endpoint]:
        return iter(self.endpoints)

    def begin(self) -> Asked:
        """The job that looks has told what is needed; gives the one that does it."""
        self.reconnections.look()
        (asked,) = self.jobs
        assert asked.target == LOOK
        asked.answer(structs.replace(asked.wanted, wish=WISH))
        assert self.jobs[1].target == CARRY_OUT
        return self.jobs[1]


@pytest.fixture(name="played")
def _played() -> Iterator[Played]:
    played = Played()
    yield played
    played.puppet.close()


def test_connected_again(played: Played, caplog: pytest.LogCaptureFixture) -> None:
    """It is on disk before anything is changed, until it has ended; then the log has the container and its break."""
    wrote: list[Statement] = []
    played.puppet.store.do = lambda *statements: wrote.extend(statements)  # type: ignore[method-assign]
    asked = played.begin()
    assert asked.wanted == Reconnection(IDENTITY.id, "web", NETWORK, "lan", ENDPOINT, OWN, WISH)
    assert not asked.is_begun
    assert wrote == [tables.put_reconnection(asked.wanted)]
    played.puppet.endpoint.identity_lost = None
    played.puppet.endpoint.spec = replace(played.puppet.spec, mac=OWN)
    caplog.set_level(logging.INFO)
    asked.answer(Outcome(End.DONE, 0.234))
    assert "connected again as itself; it was without this network for 0.23 s" in caplog.text
    assert wrote[1] == tables.put_reconnection(None)
    assert (len(played.jobs), played.reconnections.problems) == (2, ())


def _joining(played: Played) -> None:
    played.puppet.endpoint.phase = Phase.JOINING


def _in_trouble(played: Played) -> None:
    played.puppet.endpoint.troubles[Family.IPV4] = "no server answers"


def _renewing(played: Played) -> None:
    late = replace(LIVE, obtained=boottime() - 400)
    played.puppet.endpoint.leases[Family.IPV4] = LeaseRecord(late)


@pytest.mark.parametrize(
    "prepare",
    [
        lambda played: setattr(played, "options", NetworkOptions("br0")),
        lambda played: played.engine.learn(EngineLost("gone")),
        lambda played: setattr(played.puppet.endpoint, "identity_lost", None),
        lambda played: played.puppet.bindings.forget_container(IDENTITY.id),
        _joining,
        _in_trouble,
        _renewing,
    ],
    ids=["not wanted", "no API", "itself", "forgotten", "joining", "in trouble", "renewing"],
)
def test_left_alone(played: Played, prepare: Callable[[Played], None]) -> None:
    """Where nobody wants it, while the engine or a DHCP server may not answer, and who has no identity of its own."""
    prepare(played)
    played.reconnections.look()
    assert played.jobs == []


def test_as_soon_as_it_is_known(played: Played) -> None:
    """The engine's word is enough, and one job at a time."""
    seen = ContainerSeen(IDENTITY.id, "web", "web", (ENDPOINT,))
    for _ in range(2):
        played.reconnections.learn(seen)
    assert len(played.jobs) == 1


def test_not_for_ever(played: Played, caplog: pytest.LogCaptureFixture) -> None:
    """A container that cannot be connected again is left alone after some tries, each of which says why."""
    for number in range(MOST_TRIES):
        played.reconnections.look()
        played.jobs[number].answer(None if number else Impossible("Docker's Swarm does not let"))
    played.reconnections.look()
    assert len(played.jobs) == MOST_TRIES
    assert "it is not connected again as itself: Docker's Swarm" in caplog.text


def test_not_twice(played: Played) -> None:
    """A container that is not itself even then is not connected again for ever."""
    for number in range(MOST_TRIES):
        played.reconnections.look()
        played.jobs[2 * number].answer(played.jobs[2 * number].wanted)
        played.jobs[2 * number + 1].answer(Outcome(End.DONE, 0.2))
    played.reconnections.look()
    assert len(played.jobs) == 2 * MOST_TRIES


def test_left_off_the_network(played: Played, caplog: pytest.LogCaptureFixture) -> None:
    """It is told with the command that helps, and tried again; meanwhile no other container is touched."""
    played.begin().answer(Outcome(End.OFF, reason="no lease"))
    (problem,) = played.reconnections.problems
    assert "web is off network lan" in problem
    assert f"`docker network connect --driver-opt id={IDENTITY.id} lan web`" in problem
    assert problem in caplog.text
    played.reconnections.look()
    assert len(played.jobs) == 2
    played.loop.pass_time(AGAIN_SECONDS)
    assert played.jobs[2].is_begun
    played.jobs[2].answer(Outcome(End.NEEDLESS))
    assert played.reconnections.problems == ()


@pytest.mark.parametrize("outcome", [None, Outcome(End.OFF, reason="the plugin is stopping")])
def test_next_instance_goes_on(played: Played, outcome: Outcome | None) -> None:
    """As soon as the engine has listed its containers."""
    played.reconnections.current = Reconnection(IDENTITY.id, "web", NETWORK, "lan", "f" * 64, OWN, WISH)
    played.reconnections.look()
    assert played.jobs == []
    played.reconnections.learn(ContainersListed())
    assert (played.jobs[0].target, played.jobs[0].is_begun) == (CARRY_OUT, True)
    played.jobs[0].answer(outcome)
    played.loop.pass_time(module.AGAIN_SECONDS)
    assert len(played.jobs) == 2


def test_container_that_is_removed(played: Played) -> None:
    """There is nothing more to be done, nor to be told."""
    played.begin().answer(Outcome(End.OFF, reason="no lease"))
    played.reconnections.learn(ContainerGone(IDENTITY.id))
    assert (played.reconnections.current, played.reconnections.problems) == (None, ())
