"""An endpoint's requests: each in its place, repeated, and out of place."""

import subprocess
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

import pytest
from msgspec import structs

from supervisor.contract.errors import Conflict, Failed
from supervisor.contract.messages import Done, EndpointCreated, Joined
from supervisor.domain.phases import Phase
from supervisor.endpoint.endpoint import GONE_SECONDS, JOIN_SECONDS, LEAVE_SECONDS
from supervisor.engine.facts import ContainersListed, EngineConnected, EngineFound
from supervisor.state.records import Origin
from tests.supervisor.puppet import (
    BRIDGE_ROUTE,
    ENDPOINT,
    IDENTITY,
    IPV4,
    LEASE,
    MAC,
    NONE,
    PID,
    SANDBOX,
    Puppet,
    attach_path,
    bring_to,
)
from workers.contract.lease import Family, Route
from workers.contract.messages import (
    Attach,
    Attached,
    Created,
    CreateFailed,
    Delete,
    Deleted,
    LeaseObtained,
    LeaveSandbox,
    Left,
    NotMoved,
    Resume,
    SandboxGone,
)
from workers.system.clock import boottime

CREATED = EndpointCreated(LEASE.address, MAC)
JOINED = Joined("dc-eeeeeeeeeeee", "eth", IPv4Address("192.0.2.1"), (BRIDGE_ROUTE,))
KEY = f"container:{IDENTITY.id}"
BEFORE_DELETING = [phase for phase in Phase if phase not in (Phase.ABSENT, Phase.DELETING)]


def test_create(puppet: Puppet) -> None:
    """The answer comes with the worker's report: the address and the MAC that Docker did not give."""
    answers = puppet.ask(puppet.endpoint.create)
    assert (puppet.state, answers, puppet.worker.begin.resume) == ("creating", [], None)
    puppet.report(Created((LEASE,), ()))
    assert (puppet.state, answers) == ("created", [CREATED])
    assert puppet.ipv4.lease == LEASE


@pytest.mark.parametrize(
    ("mac", "address", "answer"),
    [
        (MAC, None, EndpointCreated(LEASE.address, None)),
        (None, LEASE.address, EndpointCreated(None, MAC)),
        (MAC, LEASE.address, EndpointCreated(None, None)),
    ],
)
def test_what_docker_gave_is_not_echoed(
    mac: str | None, address: IPv4Interface | None, answer: EndpointCreated
) -> None:
    """A field that Docker has filled in stays out of the answer: to the engine an echo is an error."""
    puppet = Puppet(mac=mac, address=address)
    answers = puppet.ask(puppet.endpoint.create)
    puppet.report(Created((LEASE,), ()))
    assert answers == [answer]
    puppet.close()


def test_create_repeated(puppet: Puppet) -> None:
    """Who asks again while it is made waits for the same answer, who asks later gets it at once; one worker is made."""
    first, second = puppet.ask(puppet.endpoint.create), puppet.ask(puppet.endpoint.create)
    puppet.report(Created((LEASE,), ()))
    third = puppet.ask(puppet.endpoint.create)
    assert [first, second, third] == [[CREATED]] * 3
    assert len(puppet.process_manager.spawned) == 1


@pytest.mark.parametrize("phase", [Phase.JOINING, Phase.JOINED, Phase.LEAVING, Phase.LEFT, Phase.DELETING])
def test_create_of_what_is_in_use(puppet: Puppet, phase: Phase) -> None:
    """An endpoint that is past its creation cannot be created, and says what it is; it does not change."""
    bring_to(puppet, phase)
    (refusal,) = puppet.ask(puppet.endpoint.create)
    assert isinstance(refusal, Conflict)
    assert str(phase) in str(refusal)
    assert puppet.state == phase


def test_create_failed(puppet: Puppet) -> None:
    """Every caller reads the worker's reason, and the endpoint is forgotten before it does."""
    forgotten: list[int] = []
    puppet.endpoint.create(lambda _: forgotten.append(len(puppet.ended)))
    answers = puppet.ask(puppet.endpoint.create)
    puppet.report(CreateFailed("no DHCPOFFER on br0"))
    assert isinstance(answers[0], Failed)
    assert str(answers[0]) == "no DHCPOFFER on br0"
    assert (puppet.state, puppet.ended, forgotten) == ("absent", [ENDPOINT], [1])
    puppet.die(0)
    assert puppet.ended == [ENDPOINT]
    assert len(puppet.process_manager.spawned) == 1


def test_create_failed_with_an_unreleased_lease(puppet: Puppet) -> None:
    """A lease that the worker could not release waits to be released later."""
    puppet.ask(puppet.endpoint.create)
    lease = replace(LEASE, obtained=boottime())
    other = replace(lease, address=IPv4Interface("192.0.2.99/24"))
    puppet.report(CreateFailed("no DHCPACK on br0", unreleased=(lease, other)))
    assert [waiting.leases[Family.IPV4] for waiting in puppet.bindings] == [lease, other]
    assert all(waiting.release_at is not None for waiting in puppet.bindings)


def test_join(puppet: Puppet) -> None:
    """The answer comes at once; the worker is told where dockerd's sandbox is for us."""
    bring_to(puppet, Phase.CREATED)
    assert puppet.ask(puppet.endpoint.join, SANDBOX) == [JOINED]
    assert puppet.worker.told() == [Attach(attach_path(puppet), None, LEASE.gateway)]


@pytest.mark.parametrize("version", ["29.7.1", None])
def test_other_name_than_the_wanted_one(puppet: Puppet, version: str | None, caplog: pytest.LogCaptureFixture) -> None:
    """The user reads once which name the engine has chosen, which engine that is, and what it would take."""
    puppet.endpoint.origin = Origin(interface="lan1")
    if version is not None:
        puppet.engine.learn(EngineConnected("/data", version=version))
    bring_to(puppet, Phase.CREATED)
    assert puppet.ask(puppet.endpoint.join, SANDBOX) == [structs.replace(JOINED, name="lan1")]
    puppet.report(Attached("eth0"))
    puppet.report(Attached("renamed"))  # by the container, or seen by a successor
    (warning,) = (record.message for record in caplog.records if record.levelname == "WARNING")
    engine = f"Docker {version}" if version else "Docker"
    assert warning.startswith(
        f"its interface is called eth0, and not lan1: {engine} has chosen the name. Before Docker"
    )


def test_wanted_name_given(puppet: Puppet, caplog: pytest.LogCaptureFixture) -> None:
    """Then there is nothing to say."""
    puppet.endpoint.origin = Origin(interface="lan0")
    bring_to(puppet, Phase.CREATED)
    assert puppet.ask(puppet.endpoint.join, SANDBOX) == [structs.replace(JOINED, prefix="lan", name="lan0")]
    puppet.report(Attached("lan0"))
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


@pytest.mark.parametrize("phase", [Phase.JOINING, Phase.JOINED])
def test_join_repeated(puppet: Puppet, phase: Phase) -> None:
    """The same Join again has the same answer, and the worker is not told twice; another sandbox is refused."""
    bring_to(puppet, phase)
    assert puppet.ask(puppet.endpoint.join, SANDBOX) == [JOINED]
    (refusal,) = puppet.ask(puppet.endpoint.join, "/nowhere/netns/2")
    assert isinstance(refusal, Conflict)
    assert puppet.worker.told() == []
    assert (puppet.state, puppet.endpoint.sandbox_key) == (phase, SANDBOX)


@pytest.mark.parametrize("phase", [Phase.CREATING, Phase.LEAVING, Phase.LEFT, Phase.DELETING])
def test_join_out_of_place(puppet: Puppet, phase: Phase) -> None:
    """A Join that does not belong to the phase is refused, names it, and changes nothing."""
    bring_to(puppet, phase)
    (refusal,) = puppet.ask(puppet.endpoint.join, SANDBOX)
    assert isinstance(refusal, Conflict)
    assert str(phase) in str(refusal)
    assert (puppet.state, puppet.worker.told()) == (phase, [])


def test_join_before_the_engine_is_found() -> None:
    """While dockerd's pid is not known the worker waits; it is told with the watcher's first fact, once."""
    puppet = Puppet(engine_pid=None)
    bring_to(puppet, Phase.JOINING)
    assert puppet.worker.told() == []
    puppet.engine.pid = PID
    puppet.endpoint.engine_changed()
    puppet.endpoint.engine_changed()
    assert puppet.worker.told() == [Attach(attach_path(puppet), None, LEASE.gateway)]
    puppet.close()


def test_join_identity(puppet: Puppet) -> None:
    """A container that is known only now gives the client its host name."""
    bring_to(puppet, Phase.CREATED)
    puppet.container.found = IDENTITY
    puppet.ask(puppet.endpoint.join, SANDBOX)
    assert puppet.worker.told() == [Attach(attach_path(puppet), "web-host", LEASE.gateway)]
    assert puppet.endpoint.identity == IDENTITY


@pytest.mark.parametrize("key", ["container:c9", "name:mail"])
def test_join_of_a_stranger(key: str) -> None:
    """What was made for one container is not joined to another one; its MAC stays remembered for whom it was made."""
    puppet = Puppet(identity=structs.replace(IDENTITY, id="c9", name="mail"), key=key)
    bring_to(puppet, Phase.CREATED)
    puppet.container.found = IDENTITY
    (refusal,) = puppet.ask(puppet.endpoint.join, SANDBOX)
    assert isinstance(refusal, Conflict)
    assert "made for container mail, which is being started, and not for web" in str(refusal)
    assert puppet.state == "deleting"
    assert puppet.worker.told() == [Delete()]
    kept = puppet.bindings.recall(puppet.spec.network_id, key)
    assert kept is not None
    assert (kept.mac, kept.addresses) == (puppet.spec.mac, {Family.IPV4: str(LEASE.address.ip)})
    puppet.close()


def test_joined_with_the_lease_of_now(puppet: Puppet) -> None:
    """Routes of the bridge are part of Join's answer where the lease leads to their hop."""
    answers = puppet.ask(puppet.endpoint.create)
    stranger = Route(IPv4Network("10.9.0.0/16"), IPv4Address("203.0.113.1"))
    puppet.report(Created((LEASE,), (stranger, BRIDGE_ROUTE)))
    assert answers == [CREATED]
    assert puppet.ask(puppet.endpoint.join, SANDBOX) == [JOINED]


@pytest.mark.parametrize("phase", [Phase.JOINING, Phase.JOINED])
def test_leave(puppet: Puppet, phase: Phase) -> None:
    """Leave is answered when the worker has left; who asks again meanwhile waits too, and the worker is told once."""
    bring_to(puppet, phase)
    first, second = puppet.ask(puppet.endpoint.leave), puppet.ask(puppet.endpoint.leave)
    assert (puppet.state, first, second) == ("leaving", [], [])
    assert puppet.worker.told() == [LeaveSandbox()]
    puppet.report(Left(IPV4))
    assert (puppet.state, first, second) == ("left", [Done()], [Done()])


@pytest.mark.parametrize("phase", [Phase.CREATING, Phase.CREATED, Phase.LEFT, Phase.DELETING])
def test_leave_out_of_place(puppet: Puppet, phase: Phase) -> None:
    """A Leave with nothing to leave succeeds and changes nothing."""
    bring_to(puppet, phase)
    assert puppet.ask(puppet.endpoint.leave) == [Done()]
    assert (puppet.state, puppet.worker.told()) == (phase, [])


@pytest.mark.parametrize("phase", BEFORE_DELETING)
def test_delete(puppet: Puppet, phase: Phase) -> None:
    """Delete in any phase is answered by the worker; repeated ones wait with it; the endpoint is forgotten."""
    bring_to(puppet, phase)
    first, second = puppet.ask(puppet.endpoint.delete), puppet.ask(puppet.endpoint.delete)
    assert (puppet.state, first, second) == ("deleting", [], [])
    assert puppet.worker.told() == [Delete()]
    puppet.report(Deleted())
    assert (puppet.state, first, second) == ("absent", [Done()], [Done()])
    assert (puppet.ended, puppet.exits) == ([ENDPOINT], [])
    puppet.die(0)
    assert puppet.exits == [0]
    assert len(puppet.process_manager.spawned) == 1


@pytest.mark.parametrize("phase", BEFORE_DELETING)
def test_death_after_the_deletion(puppet: Puppet, phase: Phase) -> None:
    """Its last act was to remove the link: a worker that dies over it is told of, and has no successor."""
    bring_to(puppet, phase)
    puppet.ask(puppet.endpoint.delete)
    puppet.report(Deleted())
    puppet.die(-9)
    assert puppet.exits == [-9]
    puppet.loop.pass_time(60.0)
    assert len(puppet.process_manager.spawned) == 1


def test_delete_while_creating(puppet: Puppet) -> None:
    """Who waits for the creation is told at once that it was deleted; the worker's failure then ends it."""
    creation = puppet.ask(puppet.endpoint.create)
    deletion = puppet.ask(puppet.endpoint.delete)
    assert isinstance(creation[0], Failed)
    assert "deleted while it was being made" in str(creation[0])
    puppet.report(CreateFailed("cancelled"))
    assert (len(creation), deletion, puppet.state) == (1, [Done()], "absent")


def test_delete_crosses_the_creation(puppet: Puppet) -> None:
    """A worker that has just succeeded when Delete comes is deleted all the same."""
    creation = puppet.ask(puppet.endpoint.create)
    deletion = puppet.ask(puppet.endpoint.delete)
    puppet.report(Created((LEASE,), ()))
    assert (len(creation), deletion, puppet.state) == (1, [], "deleting")
    puppet.report(Deleted())
    assert (deletion, puppet.state) == ([Done()], "absent")


@pytest.mark.parametrize("dies", [False, True])
def test_delete_crosses_the_creation_and_its_release_fails(dies: bool) -> None:
    """The lease that nobody hears of any more waits for its release; a successor knows it, too."""
    puppet = Puppet(key=KEY)
    puppet.ask(puppet.endpoint.create)
    puppet.ask(puppet.endpoint.delete)
    lease = replace(LEASE, obtained=boottime())
    puppet.report(Created((lease,), ()))
    if dies:
        puppet.die()
        puppet.loop.pass_time(60)
        assert puppet.worker.begin.resume == Resume((lease,), IPV4)
    puppet.report(Deleted(IPV4))
    (waiting,) = puppet.bindings
    assert waiting.leases == {Family.IPV4: lease}
    puppet.close()


@pytest.mark.parametrize("overdue", [False, True])
def test_deleted_before_it_has_left(overdue: bool) -> None:
    """The lease of a container that comes back waits for it, even if its worker does not say that it has left."""
    puppet = Puppet(key=KEY)
    puppet.container.returning = True
    bring_to(puppet, Phase.JOINED)
    lease = replace(LEASE, obtained=boottime())
    puppet.report(LeaseObtained(lease))
    puppet.ask(puppet.endpoint.leave)
    if overdue:
        puppet.loop.pass_time(LEAVE_SECONDS)
    puppet.ask(puppet.endpoint.delete)
    puppet.report(Left(NONE))
    puppet.report(Deleted())
    (waiting,) = puppet.bindings
    assert (waiting.leases, waiting.last) == ({Family.IPV4: lease}, {Family.IPV4: lease})
    puppet.close()


def test_delete_while_leaving(puppet: Puppet) -> None:
    """Who waits for Leave has the answer when Delete comes; a late report of having left changes nothing."""
    bring_to(puppet, Phase.JOINED)
    leave = puppet.ask(puppet.endpoint.leave)
    puppet.ask(puppet.endpoint.delete)
    assert leave == [Done()]
    puppet.report(Left(IPV4))
    assert (leave, puppet.state) == ([Done()], "deleting")


def test_endpoint_that_nobody_joins(puppet: Puppet) -> None:
    """The engine never heard that it was made, so it is removed by itself, lease included."""
    bring_to(puppet, Phase.CREATED)
    puppet.loop.pass_time(JOIN_SECONDS)
    assert puppet.state == "deleting"
    assert puppet.worker.told() == [Delete()]
    puppet.report(Deleted())
    assert puppet.ended == [ENDPOINT]


def test_endpoint_that_is_joined_stays(puppet: Puppet) -> None:
    """The deadlines for the Join and for the move of the link end with them."""
    bring_to(puppet, Phase.JOINED)
    puppet.loop.pass_time(3 * JOIN_SECONDS)
    assert puppet.state == "joined"
    assert puppet.worker.told() == []


def test_link_that_is_never_moved(puppet: Puppet) -> None:
    """After its time the worker looks for it as for one that had arrived; where nothing is there, all is removed."""
    bring_to(puppet, Phase.JOINING)
    puppet.loop.pass_time(JOIN_SECONDS)
    assert puppet.worker.told() == [Attach(attach_path(puppet), None, LEASE.gateway, arrived=True)]
    puppet.report(SandboxGone())
    puppet.loop.pass_time(GONE_SECONDS)
    assert puppet.worker.told() == [Delete()]


@pytest.mark.parametrize("recovering", [False, True])
def test_engine_that_has_ended(puppet: Puppet, recovering: bool) -> None:
    """No sandbox is found on the way through a dockerd that has ended: the next one is waited for."""
    bring_to(puppet, Phase.JOINED)
    puppet.endpoint.recovering = recovering
    with subprocess.Popen("true") as ended:
        pass
    puppet.engine.learn(EngineFound(ended.pid))
    puppet.endpoint.engine_changed()
    assert len(puppet.worker.told()) == 1
    puppet.report(SandboxGone())
    puppet.loop.pass_time(GONE_SECONDS)
    assert (puppet.state, puppet.worker.told()) == ("joined", [])
    puppet.engine.learn(EngineFound(PID))
    puppet.endpoint.engine_changed()
    assert puppet.worker.told() == [Attach(attach_path(puppet), None, LEASE.gateway, arrived=True)]
    puppet.report(SandboxGone())
    puppet.loop.pass_time(GONE_SECONDS)
    assert puppet.state == "deleting"


@pytest.mark.parametrize("recovering", [False, True])
def test_link_that_a_running_container_has_lost(puppet: Puppet, recovering: bool) -> None:
    """Where the engine still has the container on the network, the endpoint waits for Leave; else it is removed."""
    bring_to(puppet, Phase.JOINED)
    puppet.endpoint.recovering = recovering
    puppet.engine.learn(EngineConnected("/data"))
    puppet.learn("web-host")
    puppet.engine.learn(ContainersListed())
    puppet.report(SandboxGone())
    puppet.worker.told()
    for _ in range(3):
        puppet.loop.pass_time(GONE_SECONDS)
        assert (puppet.state, puppet.worker.told()) == ("joined", [])
        assert puppet.endpoint.link_lost == "its link on br0 has gone: restart the container"
    puppet.learn("web-host", endpoints=())
    puppet.loop.pass_time(GONE_SECONDS)
    assert puppet.worker.told() == [Delete()]


@pytest.mark.parametrize("reason", ["the container is being started", "nobody knows the way to its sandbox"])
def test_link_that_may_still_be_moved(puppet: Puppet, reason: str) -> None:
    """What only takes long is waited for; without dockerd's pid nothing can be told."""
    bring_to(puppet, Phase.JOINING)
    puppet.container.starting = reason.startswith("the container")
    if not puppet.container.starting:
        puppet.engine.pid = None
    puppet.loop.pass_time(JOIN_SECONDS)
    puppet.loop.pass_time(JOIN_SECONDS)
    assert (puppet.state, puppet.worker.told()) == ("joining", [])
    puppet.container.starting, puppet.engine.pid = False, PID
    puppet.loop.pass_time(JOIN_SECONDS)
    assert puppet.worker.told() == [Attach(attach_path(puppet), None, LEASE.gateway, arrived=True)]


def test_found_again_before_its_link_was_moved(puppet: Puppet) -> None:
    """Nobody waits for its recovery once its worker has found the link where it was made."""
    bring_to(puppet, Phase.JOINING)
    record = puppet.endpoint.record()
    again = Puppet()
    again.endpoint.restore(record)
    assert again.endpoint.recovering
    again.report(NotMoved())
    assert (again.endpoint.recovering, again.state) == (False, "joining")
    again.loop.pass_time(JOIN_SECONDS)
    assert [command.arrived for command in again.worker.told() if isinstance(command, Attach)] == [False, True]
    again.close()
