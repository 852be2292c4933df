"""A worker that dies or hangs, in every phase: who waits gets an answer, the successor the right command."""

import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from supervisor.contract.errors import Failed
from supervisor.contract.messages import Done
from supervisor.domain.phases import Phase
from supervisor.endpoint import worker_process as module
from supervisor.endpoint.worker_process import STUCK_SECONDS
from supervisor.runtime.process_manager import NOT_STARTED
from supervisor.state.records import EndpointRecord
from tests.supervisor.puppet import ENDPOINT, IDENTITY, IPV4, LEASE, NONE, Puppet, attach_path, bring_to
from workers.contract.lease import Family
from workers.contract.messages import (
    Attach,
    Attached,
    Command,
    Created,
    Delete,
    Deleted,
    LeaseObtained,
    LeaseTrouble,
    LeaveSandbox,
    Left,
    Resume,
    Trouble,
)
from workers.system.clock import boottime

BACKOFF = 1.0
HOUR = 3600.0
LEASE_SECONDS = 600
DEADLINE = 30.0  # longer than any


def test_no_process_at_create(puppet: Puppet) -> None:
    """The engine hears at once why no worker could be started, the endpoint is gone, and its lease waits on."""
    remembered = replace(LEASE, obtained=boottime())
    puppet.endpoint.spec = replace(puppet.endpoint.spec, remembered=remembered)
    answers = puppet.ask(puppet.endpoint.create)
    puppet.endpoint.worker.child.refusal = "Too many open files"
    puppet.die(NOT_STARTED)
    (error,) = answers
    assert isinstance(error, Failed)
    assert str(error).startswith("no process could be started for the endpoint: Too many open files; ")
    assert (puppet.state, puppet.ended, puppet.exits) == (Phase.ABSENT, [ENDPOINT], [0])
    assert [one.leases for one in puppet.bindings] == [{Family.IPV4: remembered}]
    puppet.loop.pass_time(DEADLINE)
    assert (len(puppet.process_manager.spawned), puppet.process_manager.killed) == (1, 0)


def test_lost_order(puppet: Puppet) -> None:
    """A worker that the forkserver has not made before it died is made again at once; nobody is told of it."""
    answers = puppet.ask(puppet.endpoint.create)
    puppet.endpoint.worker.child.has_run = False
    puppet.die(NOT_STARTED)
    assert (puppet.state, answers, len(puppet.process_manager.spawned)) == (Phase.CREATING, [], 2)
    assert puppet.worker.begin == puppet.process_manager.spawned[0].begin
    puppet.report(Created((LEASE,), ()))
    assert puppet.state == Phase.CREATED
    assert len(answers) == 1


def test_no_process_for_a_successor(puppet: Puppet) -> None:
    """It is tried again with ever longer pauses, and the endpoint keeps its phase and its lease."""
    bring_to(puppet, Phase.JOINED)
    for number, pause in enumerate((BACKOFF, 2 * BACKOFF, 4 * BACKOFF)):
        puppet.die(NOT_STARTED if number else -9)
        puppet.endpoint.worker.child.refusal = "Resource temporarily unavailable"
        puppet.loop.pass_time(pause - 0.1)
        assert len(puppet.process_manager.spawned) == number + 1
        puppet.loop.pass_time(0.1)
        assert len(puppet.process_manager.spawned) == number + 2
    assert (puppet.state, puppet.ipv4.held) == (Phase.JOINED, True)


@pytest.mark.parametrize(
    ("phase", "command"),
    [
        (Phase.CREATED, None),
        (Phase.JOINING, "attach"),
        (Phase.JOINED, "attach"),
        (Phase.LEAVING, LeaveSandbox()),
        (Phase.LEFT, None),
        (Phase.DELETING, Delete()),
    ],
)
def test_successor(puppet: Puppet, phase: Phase, command: Command | str | None) -> None:
    """After its backoff a successor is started with the lease and told what its predecessor had still to do."""
    bring_to(puppet, phase)
    puppet.die()
    assert len(puppet.process_manager.spawned) == 1
    puppet.loop.pass_time(BACKOFF)
    assert len(puppet.process_manager.spawned) == 2
    assert (puppet.worker.begin.reclaims, puppet.worker.begin.resume) == (
        False,
        Resume((LEASE,), NONE if phase in (Phase.LEFT, Phase.DELETING) else IPV4),
    )
    arrived = phase is Phase.JOINED
    expected = Attach(attach_path(puppet), None, LEASE.gateway, arrived) if command == "attach" else command
    assert puppet.worker.told() == ([] if expected is None else [expected])
    assert puppet.state == phase


def test_successor_has_the_latest_lease(puppet: Puppet) -> None:
    """It goes on with what the server said last, and with the host name that is known by now."""
    bring_to(puppet, Phase.JOINED)
    latest = LeaseObtained(LEASE).lease
    puppet.report(LeaseObtained(latest))
    puppet.learn("web_host")
    puppet.die()
    puppet.loop.pass_time(BACKOFF)
    assert puppet.worker.begin.resume == Resume((latest,), IPV4)
    assert puppet.worker.told() == [Attach(attach_path(puppet), "web-host", LEASE.gateway, arrived=True)]
    puppet.report(Attached("eth0"))
    assert puppet.state == "joined"


def test_death_while_creating(puppet: Puppet) -> None:
    """Who waits is told; a successor only removes what was left behind, and then the endpoint is forgotten."""
    answers = puppet.ask(puppet.endpoint.create)
    puppet.die(-11)
    assert isinstance(answers[0], Failed)
    assert "-11" in str(answers[0])
    assert puppet.state == "deleting"
    puppet.loop.pass_time(BACKOFF)
    assert (puppet.worker.begin.reclaims, puppet.worker.begin.resume) == (True, None)
    puppet.report(Deleted())
    puppet.die(0)
    assert (len(answers), puppet.ended, len(puppet.process_manager.spawned)) == (1, [ENDPOINT], 2)


def test_death_while_creating_and_deletion(puppet: Puppet) -> None:
    """A Delete that comes while the successor cleans up is answered when that is done."""
    puppet.ask(puppet.endpoint.create)
    puppet.die()
    answers = puppet.ask(puppet.endpoint.delete)
    puppet.loop.pass_time(BACKOFF)
    assert answers == []
    puppet.report(Deleted())
    assert answers == [Done()]


@pytest.mark.parametrize("phase", [Phase.LEAVING, Phase.DELETING])
def test_death_with_somebody_waiting(puppet: Puppet, phase: Phase) -> None:
    """Who waits for Leave or Delete is answered by the successor."""
    bring_to(puppet, Phase.JOINED)
    answers = puppet.ask(puppet.endpoint.leave if phase is Phase.LEAVING else puppet.endpoint.delete)
    puppet.die()
    puppet.loop.pass_time(BACKOFF)
    assert answers == []
    puppet.report(Left() if phase is Phase.LEAVING else Deleted())
    assert answers == [Done()]


@pytest.mark.parametrize("phase", [Phase.LEAVING, Phase.DELETING])
def test_deaths_one_after_another(puppet: Puppet, phase: Phase) -> None:
    """Workers that die at once are started ever more slowly, though somebody waits: no storm of processes."""
    bring_to(puppet, phase)
    starts = []
    for _ in range(4):
        puppet.die(1)
        before = len(puppet.process_manager.spawned)
        while len(puppet.process_manager.spawned) == before:
            puppet.loop.pass_time(0.5)
        starts.append(puppet.loop.now)
    assert starts == [1.0, 3.0, 7.0, 15.0]


@pytest.mark.parametrize("phase", [Phase.JOINING, Phase.JOINED])
def test_leave_in_backoff(puppet: Puppet, phase: Phase) -> None:
    """A Leave that finds no worker does not wait for the end of the backoff: a successor is started for it."""
    bring_to(puppet, phase)
    puppet.die()
    answers = puppet.ask(puppet.endpoint.leave)
    assert len(puppet.process_manager.spawned) == 2
    assert puppet.worker.told() == [LeaveSandbox()]
    puppet.report(Left())
    assert answers == [Done()]


@pytest.mark.parametrize("phase", [Phase.CREATED, Phase.JOINED, Phase.LEFT])
def test_delete_in_backoff(puppet: Puppet, phase: Phase) -> None:
    """A Delete that finds no worker starts one, which takes the predecessor's lease to release it."""
    bring_to(puppet, phase)
    puppet.die()
    answers = puppet.ask(puppet.endpoint.delete)
    assert puppet.worker.begin.resume == Resume((LEASE,), NONE if phase is Phase.LEFT else IPV4)
    assert puppet.worker.told() == [Delete()]
    puppet.report(Deleted())
    assert answers == [Done()]


def test_join_in_backoff(puppet: Puppet) -> None:
    """A Join that finds no worker is answered; the successor is told of the sandbox."""
    bring_to(puppet, Phase.CREATED)
    puppet.die()
    assert len(puppet.ask(puppet.endpoint.join, "/nowhere/netns/1")) == 1
    puppet.loop.pass_time(BACKOFF)
    assert puppet.worker.told() == [Attach(attach_path(puppet), None, LEASE.gateway)]


def test_successor_while_the_engine_is_lost(puppet: Puppet) -> None:
    """A successor whose sandbox cannot be found at its start is told of it as soon as it can."""
    bring_to(puppet, Phase.JOINING)
    puppet.die()
    pid, puppet.engine.pid = puppet.engine.pid, None
    puppet.loop.pass_time(BACKOFF)
    assert puppet.worker.told() == []
    puppet.engine.pid = pid
    puppet.endpoint.engine_changed()
    assert puppet.worker.told() == [Attach(attach_path(puppet), None, LEASE.gateway)]


def test_container_that_is_known_with_the_successor(puppet: Puppet, monkeypatch: pytest.MonkeyPatch) -> None:
    """The record has it as well: renewals write the leases alone."""
    bring_to(puppet, Phase.JOINED)
    puppet.die()
    puppet.container.found = IDENTITY
    written: list[object] = []
    monkeypatch.setattr(puppet.store, "put", written.append)
    puppet.loop.pass_time(BACKOFF)
    assert [one.identity for one in written if isinstance(one, EndpointRecord)] == [IDENTITY]


def test_create_overdue(puppet: Puppet) -> None:
    """A worker that is silent for longer than its budgets is killed, and who waits reads so."""
    answers = puppet.ask(puppet.endpoint.create)
    ((seconds, _),) = puppet.loop.set
    assert seconds == 14.0
    puppet.loop.pass_time(DEADLINE)
    assert puppet.process_manager.killed == 1
    puppet.die()
    assert isinstance(answers[0], Failed)


def test_leave_overdue(puppet: Puppet) -> None:
    """Leave is answered at its deadline and not asked of the worker again; Delete then does what is left."""
    bring_to(puppet, Phase.JOINED)
    answers = puppet.ask(puppet.endpoint.leave)
    puppet.loop.pass_time(DEADLINE)
    assert answers == [Done()]
    assert puppet.ask(puppet.endpoint.leave) == [Done()]
    puppet.report(Left(IPV4))
    deletion = puppet.ask(puppet.endpoint.delete)
    assert puppet.worker.told() == [LeaveSandbox(), Delete()]
    puppet.report(Deleted())
    assert deletion == [Done()]


def test_delete_overdue(puppet: Puppet) -> None:
    """Delete is answered at its deadline and the worker killed; successors have deadlines of their own."""
    bring_to(puppet, Phase.LEFT)
    answers = puppet.ask(puppet.endpoint.delete)
    puppet.loop.pass_time(DEADLINE)
    assert (answers, puppet.process_manager.killed) == ([Done()], 1)
    puppet.die()
    puppet.loop.pass_time(BACKOFF)
    assert puppet.worker.told() == [Delete()]
    late = puppet.ask(puppet.endpoint.delete)
    puppet.loop.pass_time(DEADLINE)
    assert (late, puppet.process_manager.killed) == ([Done()], 2)


@pytest.mark.parametrize("phase", [Phase.CREATED, Phase.JOINED, Phase.LEFT])
def test_deadlines_end_with_their_answers(puppet: Puppet, phase: Phase) -> None:
    """What was answered in time has no deadline any more."""
    bring_to(puppet, phase)
    puppet.loop.pass_time(DEADLINE)
    assert (puppet.process_manager.killed, puppet.state) == (0, phase)


@pytest.fixture(name="clock")
def _clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets both clocks on by so many seconds."""
    passed = [0.0]
    monkeypatch.setattr(module, "boottime", lambda: boottime() + passed[0])
    monkeypatch.setattr(time, "monotonic", lambda: time.clock_gettime(time.CLOCK_MONOTONIC) + passed[0])

    def set_on(seconds: float) -> None:
        passed[0] += seconds

    return set_on


def test_hanging_worker(puppet: Puppet, clock: Callable[[float], None]) -> None:
    """One that lets its lease run out without a word is killed, once; a host that has just woken up is no reason."""
    bring_to(puppet, Phase.JOINED)
    puppet.report(LeaseObtained(replace(LEASE, obtained=boottime())))
    clock(LEASE_SECONDS - 1)
    puppet.endpoint.check_worker()
    clock(HOUR)
    puppet.endpoint.check_worker()
    assert puppet.process_manager.killed == 0
    clock(STUCK_SECONDS)
    puppet.endpoint.check_worker()
    puppet.endpoint.check_worker()
    assert puppet.process_manager.killed == 1


def test_worker_that_speaks(puppet: Puppet, clock: Callable[[float], None]) -> None:
    """One that has told the end of its lease is left alone, however long no server answers."""
    bring_to(puppet, Phase.JOINED)
    puppet.report(LeaseObtained(replace(LEASE, obtained=boottime())))
    clock(LEASE_SECONDS + 1)
    puppet.report(LeaseTrouble(Trouble.EXPIRED, "the lease has run out", Family.IPV4))
    for _ in range(3):
        clock(HOUR)
        puppet.endpoint.check_worker()
    assert puppet.process_manager.killed == 0


def test_identity_survives() -> None:
    """The successor's sandbox comes with the host name that was known from the start."""
    puppet = Puppet(identity=IDENTITY)
    bring_to(puppet, Phase.JOINED)
    puppet.die()
    puppet.loop.pass_time(BACKOFF)
    assert puppet.worker.told() == [Attach(attach_path(puppet), "web-host", LEASE.gateway, arrived=True)]
    puppet.close()
