"""What operators change, before an endpoint whose worker is in the test's hands."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import cast

import pytest
from msgspec import structs

from supervisor.contract.errors import Conflict, DeadlineExceeded, InvalidRequest, NotFound
from supervisor.contract.messages import (
    Action,
    Done,
    EndpointView,
    ForgetBinding,
    Forgotten,
    PinEndpoint,
    ReleaseLease,
    RenewLease,
    SetLogLevel,
)
from supervisor.domain.phases import Phase
from supervisor.driver.networks import Networks
from supervisor.driver.registry import Registry
from supervisor.endpoint.awaited_leases import CONFIRM_SECONDS
from supervisor.engine.container_files import Identity
from supervisor.ops.actions import RELEASED, Actions
from tests.supervisor.puppet import LEASE, NETWORK, Answers, Puppet, bring_to
from workers.contract import messages as w
from workers.contract.lease import Family

WEB = Identity("c" * 64, "web", "web")


@dataclass
class Rig:
    """One endpoint, and others of its network that the test names."""

    puppet: Puppet
    others: list[Puppet] = field(default_factory=list)

    def __iter__(self) -> Iterator[object]:
        return iter([self.puppet.endpoint, *(other.endpoint for other in self.others)])

    def on_network(self, _network_id: str) -> list[object]:
        """As Registry."""
        return list(self)

    def places(self) -> set[tuple[str, str]]:
        """As Registry."""
        key = self.puppet.endpoint.origin.key
        return set() if key is None else {(NETWORK, key)}

    def ask(self, action: Action) -> Answers:
        """The answers so far. Raises RequestError."""
        puppet, answers = self.puppet, Answers()
        actions = Actions(puppet.loop, puppet.engine, cast(Networks, ()), cast(Registry, self), puppet.bindings)
        actions.handlers[type(action)](action, answers)
        return answers


@pytest.fixture(name="rig")
def _rig() -> Iterator[Rig]:
    puppet = Puppet(identity=WEB, key="container:" + "c" * 64)
    bring_to(puppet, Phase.JOINED)
    puppet.endpoint.worker.child.pid = 4242
    yield Rig(puppet)
    puppet.close()


@pytest.mark.parametrize(("action", "command"), [(RenewLease("web"), w.AskServers), (ReleaseLease("web"), w.GiveBack)])
def test_answer_comes_with_the_lease(rig: Rig, action: Action, command: type[w.Command]) -> None:
    """The worker is told, and the answer waits for what a server says."""
    answers = rig.ask(action)
    assert [type(one) for one in rig.puppet.worker.told()] == [command]
    assert answers == []
    rig.puppet.report(w.LeaseObtained(LEASE))
    (view,) = answers
    assert isinstance(view, EndpointView)
    assert view.last_trouble is None


def test_no_server(rig: Rig) -> None:
    """After its time the operator hears what the worker has seen, and that it goes on."""
    answers = rig.ask(ReleaseLease("web"))
    rig.puppet.loop.pass_time(CONFIRM_SECONDS)
    (error,) = answers
    assert isinstance(error, DeadlineExceeded)
    assert RELEASED in str(error)
    rig.puppet.report(w.LeaseObtained(LEASE))
    assert len(answers) == 1


def test_container_that_ends_meanwhile(rig: Rig) -> None:
    """The operator is not told that a worker asks on which does not."""
    answers = rig.ask(RenewLease("web"))
    rig.puppet.ask(rig.puppet.endpoint.leave)
    rig.puppet.loop.pass_time(CONFIRM_SECONDS)
    (error,) = answers
    assert isinstance(error, Conflict)
    assert "keeps no lease now" in str(error)


@pytest.mark.parametrize("action", [RenewLease("web"), ReleaseLease("web")])
def test_no_lease_is_kept(action: Action) -> None:
    """An endpoint that no container has joined refuses, and its worker hears nothing."""
    puppet = Puppet(identity=WEB)
    bring_to(puppet, Phase.CREATED)
    with pytest.raises(Conflict, match="web is created and keeps no lease now"):
        Rig(puppet).ask(action)
    puppet.close()


def test_pin(rig: Rig) -> None:
    """The MAC address and the address are kept under the id beside the container's own binding; twice is once."""
    for _ in range(2):
        (view,) = rig.ask(PinEndpoint("web", "db"))
        assert isinstance(view, EndpointView)
    pinned = rig.puppet.bindings.recall(NETWORK, "id:db")
    assert pinned is not None
    assert (pinned.mac, pinned.addresses) == (rig.puppet.spec.mac, {Family.IPV4: str(LEASE.address.ip)})


def test_pin_to_what_others_have(rig: Rig) -> None:
    """An id of another identity, or one in use, is refused, and so is what is no id; nothing changes."""
    other = Puppet(identity=structs.replace(WEB, id="d" * 64, name="db"), key="id:db")
    rig.puppet.bindings.keep(replace(rig.puppet.spec, mac="02:00:00:00:00:99"), "id:used", LEASE)
    rig.others.append(other)
    with pytest.raises(Conflict, match="belongs to another identity on this network, with the MAC address"):
        rig.ask(PinEndpoint("web", "used"))
    with pytest.raises(Conflict, match="in use on this network"):
        rig.ask(PinEndpoint("web", "db"))
    with pytest.raises(InvalidRequest, match=r"^id: "):
        rig.ask(PinEndpoint("web", "x" * 1000))
    assert rig.puppet.bindings.recall(NETWORK, "id:db") is None
    other.close()


def test_forget(rig: Rig) -> None:
    """An identity that no endpoint has is forgotten by its id or its MAC address; one in use is not."""
    bindings, spec = rig.puppet.bindings, replace(rig.puppet.spec, mac="02:00:00:00:00:99")
    for name in ("db", "02:00:00:00:00:99"):
        bindings.keep(spec, "id:db", LEASE)
        (answer,) = rig.ask(ForgetBinding(name))
        assert isinstance(answer, Forgotten)
        assert [one.key for one in answer.forgotten] == ["id:db"]
        assert bindings.recall(NETWORK, "id:db") is None
    with pytest.raises(NotFound, match="no identity 'db' is known"):
        rig.ask(ForgetBinding("db"))
    with pytest.raises(Conflict, match="in use by a running container"):
        rig.ask(ForgetBinding("c" * 64))


def test_forget_a_lease_that_waits(rig: Rig) -> None:
    """A lease that waits for its container is released at once."""
    bindings = rig.puppet.bindings
    spec, lease = replace(rig.puppet.spec, mac="02:00:00:00:00:99"), replace(LEASE, duration=None)
    bindings.set_aside(spec, "id:db", lease, give_back=True)
    rig.ask(ForgetBinding("db"))
    assert [one.key for one in bindings.overdue()] == ["id:db"]


def test_log_level(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the supervisor's at once, and each worker's."""
    levels: list[int] = []
    monkeypatch.setattr("logging.Logger.setLevel", lambda _logger, level: levels.append(level))
    assert rig.ask(SetLogLevel("ERROR")) == [Done()]
    rig.puppet.loop.pass_time(1.0)
    assert levels == [40]
    assert rig.puppet.worker.told() == [w.SetLogLevel(40)]
    with pytest.raises(InvalidRequest, match="level must be one of DEBUG, INFO"):
        rig.ask(SetLogLevel("debug"))
