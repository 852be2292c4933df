"""What operators ask: pages, filters, one endpoint, and the history of leases as it is written."""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import pytest

from supervisor.contract.errors import Conflict, InvalidRequest, NotFound, Unavailable
from supervisor.contract.messages import (
    EVENT_WAIT_SECONDS,
    PAGE_ROWS,
    CheckList,
    EndpointView,
    EventView,
    GetChecks,
    GetEndpoint,
    GetHealth,
    GetReadiness,
    Health,
    ListEndpoints,
    ListEvents,
    Page,
    Question,
    Readiness,
)
from supervisor.driver.healing import Healing
from supervisor.driver.host_access import HostAccess
from supervisor.driver.networks import Networks
from supervisor.driver.parents import Parents
from supervisor.driver.reconnections import Reconnections
from supervisor.driver.registry import Registry
from supervisor.engine.container_files import Identity
from supervisor.engine.facts import Engine, EngineConnected, EngineFound, NetworkSeen
from supervisor.engine.identity import Identifier
from supervisor.ops.history import GATHER_SECONDS
from supervisor.ops.questions import Questions
from supervisor.ops.tcp import OpsTcp, TcpSetting
from supervisor.runtime.child import Child
from supervisor.runtime.jobs import Jobs
from supervisor.state import tables
from supervisor.state.records import LeaseRecord
from supervisor.state.store import Store
from supervisor.state.tables import Snapshot
from tests.supervisor.puppet import LEASE, Answers, PlayedLoop, PlayedProcessManager, Puppet
from workers.contract.lease import Family
from workers.system.clock import boottime

LAN, OTHER = "a" * 64, "b" * 64


def endpoint_id(number: int) -> str:
    """Ids that are ordered as their numbers are."""
    return f"{number:04x}" * 16


@dataclass
class Plugin:
    """Questions over a store on disk and endpoints that the test made."""

    directory: Path
    loop: PlayedLoop = field(default_factory=PlayedLoop)
    engine: Engine = field(default_factory=Engine)
    puppets: list[Puppet] = field(default_factory=list)
    watcher: Child = field(default_factory=lambda: Child("nd-watcher", "watcher", lambda _: None, lambda _: None))
    questions: Questions = field(init=False)
    store: Store = field(init=False)
    tcp: OpsTcp = field(init=False)

    def __post_init__(self) -> None:
        self.tcp = OpsTcp(PlayedProcessManager(self.loop), self.loop, TcpSetting(), lambda _request, _respond: None)
        self.store = Store(self.directory, Snapshot, self.loop.call_later)
        self.store.load()
        self.engine.learn(NetworkSeen(LAN, "lan", None))
        endpoints = cast(Registry, _Endpoints(self.puppets))
        nobody = cast(Networks, _NoNetworks())
        self.questions = Questions(
            Jobs(PlayedProcessManager(self.loop), self.loop),
            self.loop,
            self.engine,
            self.store,
            nobody,
            endpoints,
            cast(HostAccess, self),
            cast(Parents, self),
            cast(Healing, self),
            Identifier(self.engine),
            cast(Reconnections, self),
            self.tcp,
            self.watcher,
            lambda: (),
        )

    @property
    def problems(self) -> tuple[str, ...]:
        """As those of the host's access, of parents and of the healing."""
        return ()

    @property
    def healed(self) -> tuple[str, ...]:
        """As the healing's."""
        return ()

    def endpoint(self, number: int, network_id: str = LAN, container: str | None = None) -> None:
        """One more; its container's id is made of its name."""
        identity = None if container is None else Identity(container[0] * 64, container, container)
        puppet = Puppet(identity=identity)
        puppet.endpoint.spec = replace(puppet.spec, endpoint_id=endpoint_id(number), network_id=network_id)
        self.puppets.append(puppet)

    def ask(self, question: Question) -> Answers:
        """The answers so far: one, or none yet. Raises RequestError."""
        answers = Answers()
        self.questions.handlers[type(question)](question, answers)
        return answers

    def found(self, question: ListEndpoints) -> list[str]:
        """The ids in the answer."""
        (answer,) = self.ask(question)
        assert isinstance(answer, Page)
        return [view.endpoint_id for view in answer.rows]

    def happen(self, *kinds: str) -> None:
        """Events."""
        for kind in kinds:
            self.store.add_event(
                EventView(0, time.time(), endpoint_id(1), LAN, None, "web", kind, "192.0.2.10/24", "text")
            )


class _NoNetworks(tuple[()]):
    """As Networks where there are none."""

    can_be_looked_at = True

    def findings(self) -> tuple[()]:
        return ()

    def alike(self) -> tuple[()]:
        return ()

    def look(self, looked: Callable[[bool], None]) -> None:
        looked(self.can_be_looked_at)


@dataclass
class _Endpoints:
    puppets: list[Puppet]

    def __len__(self) -> int:
        return len(self.puppets)

    def __iter__(self) -> Iterator[object]:
        return (puppet.endpoint for puppet in self.puppets)


@pytest.fixture(name="plugin")
def _plugin(tmp_path: Path) -> Iterator[Plugin]:
    plugin = Plugin(tmp_path)
    yield plugin
    for puppet in plugin.puppets:
        puppet.close()


def kinds(answers: Answers) -> list[str]:
    """Of the events in the one answer."""
    (answer,) = answers
    assert isinstance(answer, Page)
    return [event.kind for event in answer.rows]


def test_readiness(plugin: Plugin) -> None:
    """Before the last instance's endpoints are found, and without dockerd, the plugin is not ready, and says why."""
    (early,) = plugin.ask(GetReadiness())
    assert isinstance(early, Readiness)
    assert [words.split()[0] for words in early.awaits] == ["the", "dockerd"]
    plugin.questions.is_recovered = True
    plugin.engine.learn(EngineFound(4242))
    plugin.endpoint(1, container="web")
    assert plugin.ask(GetReadiness()) == [Readiness(True, ())]
    plugin.puppets[0].endpoint.recovering = True
    (late,) = plugin.ask(GetReadiness())
    assert isinstance(late, Readiness)
    assert "web is one" in late.awaits[0]


def test_checks(plugin: Plugin, monkeypatch: pytest.MonkeyPatch) -> None:
    """They have what is found at the engine. Without its files nobody is said to be alike or not, and without a look
    there is no answer."""
    assert plugin.ask(GetChecks()) == [CheckList((), (), None)]
    plugin.engine.learn(EngineFound(os.getpid()))
    plugin.engine.learn(EngineConnected("/var/lib/docker", "vfs"))
    (checks,) = plugin.ask(GetChecks())
    assert isinstance(checks, CheckList)
    assert ([one.id for one in checks.engine], checks.alike) == (["storage-driver"], ())
    monkeypatch.setattr(_NoNetworks, "can_be_looked_at", False)
    (refusal,) = plugin.ask(GetChecks())
    assert isinstance(refusal, Unavailable)


def test_wrong_setting_of_the_ops_service(plugin: Plugin) -> None:
    """It is a problem that /healthz tells of."""
    plugin.tcp.setting = TcpSetting("0.0.0.0:9618")
    plugin.tcp._is_over = False
    plugin.tcp.look()
    (health,) = plugin.ask(GetHealth())
    assert isinstance(health, Health)
    assert (health.healthy, len(health.problems)) == (False, 1)
    assert "OPS_TOKEN must be set" in health.problems[0]


def test_pages(plugin: Plugin) -> None:
    """Pages by the last id hold each endpoint once, in order, and are never larger than the supervisor allows."""
    for number in reversed(range(PAGE_ROWS + 3)):
        plugin.endpoint(number)
    first = plugin.found(ListEndpoints(limit=10_000))
    second = plugin.found(ListEndpoints(after=first[-1]))
    assert first + second == [endpoint_id(number) for number in range(PAGE_ROWS + 3)]
    assert len(first) == PAGE_ROWS
    assert plugin.found(ListEndpoints(after=second[-1])) == []


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        (ListEndpoints(network="lan"), [1, 2]),
        (ListEndpoints(network=LAN), [1, 2]),
        (ListEndpoints(network=OTHER[:12]), [3]),
        (ListEndpoints(network=OTHER[:11]), []),
        (ListEndpoints(container="web"), [1, 3]),
        (ListEndpoints(container="w" * 12), [1, 3]),
        (ListEndpoints(container="we"), []),
        (ListEndpoints(container="web", network="lan"), [1]),
        (ListEndpoints(phase="absent"), [1, 2, 3]),
        (ListEndpoints(phase="joined"), []),
        (ListEndpoints(lease_state="bound"), [2]),
    ],
)
def test_filters(plugin: Plugin, question: ListEndpoints, expected: list[int]) -> None:
    """Networks and containers are found by name or by an id of twelve characters at least; filters add up."""
    plugin.endpoint(1, LAN, "web")
    plugin.endpoint(2, LAN)
    plugin.endpoint(3, OTHER, "web")
    lease = replace(LEASE, obtained=boottime())
    plugin.puppets[1].endpoint.leases[Family.IPV4] = LeaseRecord(lease, True, time.time(), time.time())
    assert plugin.found(question) == [endpoint_id(number) for number in expected]


@pytest.mark.parametrize(
    ("question", "text"),
    [
        (ListEndpoints(phase="dead"), r"^phase must be one of .*joined.*, got 'dead'$"),
        (ListEndpoints(lease_state="held"), r"^lease_state must be one of bound, .*, got 'held'$"),
    ],
)
def test_words_that_do_not_exist(plugin: Plugin, question: ListEndpoints, text: str) -> None:
    """A phase or state that does not exist is refused with those that do, not answered with an empty list."""
    with pytest.raises(InvalidRequest, match=text):
        plugin.ask(question)


def test_one_endpoint(plugin: Plugin) -> None:
    """It is found by its id, short or long, and by its container; two are a conflict, none is not found."""
    plugin.endpoint(1, LAN, "web")
    plugin.endpoint(2, LAN, "db")
    plugin.endpoint(3, OTHER, "db")
    for name in (endpoint_id(1), endpoint_id(1)[:12], "web", "w" * 64):
        (answer,) = plugin.ask(GetEndpoint(name))
        assert isinstance(answer, EndpointView)
        assert answer.endpoint_id == endpoint_id(1)
    with pytest.raises(Conflict, match="'db' stands for 2 endpoints"):
        plugin.ask(GetEndpoint("db"))
    with pytest.raises(NotFound, match="'cache'"):
        plugin.ask(GetEndpoint("cache"))


def test_history(plugin: Plugin) -> None:
    """Pages of it go on from the id of the last event; what is older than asked for stays out."""
    plugin.happen("bound", "renewed", "nak", "left")
    (answer,) = plugin.ask(ListEvents(1, limit=2))
    assert isinstance(answer, Page)
    assert [(event.id, event.kind, event.network, event.container) for event in answer.rows] == [
        (2, "renewed", "lan", "web"),
        (3, "nak", "lan", "web"),
    ]
    assert kinds(plugin.ask(ListEvents(int(answer.last)))) == ["left"]
    assert kinds(plugin.ask(ListEvents(4))) == []


def test_history_that_has_begun_anew(plugin: Plugin) -> None:
    """Who waits for events after one that does not exist would wait for ever, and is told."""
    plugin.happen("bound")
    with pytest.raises(InvalidRequest, match=r"^since must be at most 1, "):
        plugin.ask(ListEvents(2, wait=True))


def test_followers(plugin: Plugin) -> None:
    """Each one is told once of what comes after its event, all events that come at once in one answer."""
    plugin.happen("bound")
    newest = plugin.ask(ListEvents(None))
    waiting = [plugin.ask(ListEvents(1, limit=limit, wait=True)) for limit in (1, 10)]
    behind = plugin.ask(ListEvents(0, wait=True))
    assert (kinds(newest), kinds(behind), waiting) == ([], ["bound"], [[], []])
    assert [answer.last for answer in newest if isinstance(answer, Page)] == [1]
    plugin.store.do(tables.put_data_root("/elsewhere"))
    plugin.loop.pass_time(GATHER_SECONDS)
    assert waiting == [[], []]
    plugin.happen("renewed", "nak")
    plugin.loop.pass_time(GATHER_SECONDS)
    assert [kinds(answers) for answers in waiting] == [["renewed"], ["renewed", "nak"]]
    plugin.happen("left")
    plugin.loop.pass_time(EVENT_WAIT_SECONDS)
    assert [len(answers) for answers in waiting] == [1, 1]


def test_follower_in_vain(plugin: Plugin) -> None:
    """An empty answer comes in time, with the event to go on from."""
    plugin.happen("bound")
    waiting = plugin.ask(ListEvents(1, wait=True))
    plugin.loop.pass_time(EVENT_WAIT_SECONDS)
    assert waiting == [Page((), 1, complete=True)]


@pytest.mark.parametrize("why", ["stop", "disk"])
def test_followers_that_cannot_be_answered(plugin: Plugin, why: str) -> None:
    """A stop of the plugin and a history that cannot be read any more end the wait with the reason."""
    waiting = plugin.ask(ListEvents(0, wait=True))
    if why == "stop":
        plugin.questions.stop()
    else:
        plugin.store._waiting.append(("DROP TABLE event", ()))
        plugin.store.settle()
        plugin.loop.pass_time(GATHER_SECONDS)
    plugin.loop.pass_time(EVENT_WAIT_SECONDS)
    assert [type(answer) for answer in waiting] == [Unavailable]
