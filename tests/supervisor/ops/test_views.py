"""What is not well, and the list of processes: no child is missing from it, whatever has happened to it meanwhile."""

import os
import time
from dataclasses import replace

import pytest

from supervisor.contract.messages import Cost
from supervisor.domain.phases import Phase
from supervisor.engine.facts import Engine, EngineFound, EngineLost
from supervisor.ops.sampling import Sample
from supervisor.ops.views import BIRTH_SECONDS, ENGINE_SECONDS, problems, view_workers, watcher_problems
from supervisor.runtime.child import Child
from supervisor.runtime.child_states import ChildState
from tests.supervisor.puppet import IDENTITY, LEASE, Puppet, bring_to
from workers.contract.lease import Family
from workers.system.clock import boottime

COST = Cost(cpu=0.1, rss=2, pss=1, descriptors=4, threads=1)


def child(name: str, pid: int | None) -> Child:
    """One of the supervisor's; no pid while it waits for its next start."""
    return Child(name, "watcher", lambda _: None, lambda _: None, pid=pid)


def sample(pid: int, parent: int) -> Sample:
    """What was seen of a process."""
    return Sample(pid, "name", parent, 0.0, COST)


def test_children_with_and_without_a_sample() -> None:
    """A child that is sampled has a cost; one that waits, or has died since the supervisor looked, has none."""
    children = (child("sampled", 7), child("waiting", None), child("dying", 8))
    views = view_workers((sample(os.getpid(), 1), sample(7, os.getpid())), children, ())
    found = [(view.name, view.role, view.pid, view.cost) for view in views]
    assert found == [
        ("name", "supervisor", os.getpid(), COST),
        ("sampled", "watcher", 7, COST),
        ("waiting", "watcher", None, None),
        ("dying", "watcher", 8, None),
    ]


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase not in (Phase.ABSENT, Phase.CREATING)])
def test_lease_that_has_run_out(phase: Phase) -> None:
    """It is a problem where a container uses it, and nowhere else."""
    puppet = Puppet(identity=IDENTITY)
    bring_to(puppet, phase)
    puppet.endpoint.worker.child.pid = os.getpid()
    expired = replace(LEASE, obtained=boottime() - 601)
    puppet.endpoint.leases[Family.IPV4] = replace(puppet.ipv4, lease=expired)
    expected = ("web: lease expired, last trouble: none seen",) if phase in (Phase.JOINING, Phase.JOINED) else ()
    assert problems((puppet.endpoint,)) == expected
    puppet.close()


def test_lease_that_has_run_out_after_the_identity() -> None:
    """A container that came back with another MAC address is told of as long as nothing worse is to be said of it."""
    puppet = Puppet(identity=IDENTITY)
    bring_to(puppet, Phase.JOINED)
    puppet.endpoint.worker.child.pid = os.getpid()
    puppet.endpoint.identity_lost = "it has another MAC address than before"
    for age, text in ((1, puppet.endpoint.identity_lost), (601, "lease expired, last trouble: none seen")):
        lease = replace(LEASE, obtained=boottime() - age)
        puppet.endpoint.leases[Family.IPV4] = replace(puppet.ipv4, lease=lease)
        assert problems((puppet.endpoint,)) == (f"web: {text}",)
    puppet.close()


@pytest.mark.parametrize("phase", [Phase.JOINED, Phase.LEFT])
def test_link_that_is_lost(phase: Phase) -> None:
    """It is a problem as long as the container runs."""
    puppet = Puppet(identity=IDENTITY)
    bring_to(puppet, phase)
    puppet.endpoint.worker.child.pid = os.getpid()
    puppet.endpoint.leases[Family.IPV4] = replace(puppet.ipv4, lease=replace(LEASE, obtained=boottime()))
    puppet.endpoint.link_lost = "its link on br0 has gone"
    expected = ("web: its link on br0 has gone",) if phase is Phase.JOINED else ()
    assert problems((puppet.endpoint,)) == expected
    puppet.close()


@pytest.mark.parametrize("phase", [Phase.CREATED, Phase.JOINED, Phase.LEFT])
def test_worker_that_died(phase: Phase) -> None:
    """It is one wherever there ought to be a worker."""
    puppet = Puppet(identity=IDENTITY)
    bring_to(puppet, phase)
    puppet.endpoint.leases[Family.IPV4] = replace(puppet.ipv4, lease=replace(LEASE, obtained=boottime()))
    puppet.die()
    assert problems((puppet.endpoint,)) == ("web: its worker has died and is started again",)
    puppet.endpoint.worker.child.refusal = "Too many open files"
    assert problems((puppet.endpoint,)) == ("web: its worker has died and is started again (Too many open files)",)
    puppet.close()


@pytest.mark.parametrize("phase", [Phase.CREATING, Phase.CREATED, Phase.JOINED])
def test_worker_that_is_about_to_be_born(phase: Phase) -> None:
    """It is no problem yet, but one that does not come is."""
    puppet = Puppet(identity=IDENTITY)
    bring_to(puppet, phase)
    worker = puppet.endpoint.worker.child
    worker.state, worker.pid, worker.spawned = ChildState.STARTING, None, time.monotonic()
    for family, record in puppet.endpoint.leases.items():
        puppet.endpoint.leases[family] = replace(record, lease=replace(LEASE, obtained=boottime()))
    assert problems((puppet.endpoint,)) == ()
    worker.spawned -= BIRTH_SECONDS + 1
    assert problems((puppet.endpoint,)) == ("web: its worker has been waited for 5 s and more",)
    worker.pid = os.getpid()
    assert problems((puppet.endpoint,)) == ()
    puppet.close()


def test_watcher_that_died() -> None:
    """It is a problem until another one runs."""
    watcher, engine = child("nd-watcher", None), Engine()
    engine.learn(EngineFound(1))
    watcher.state = ChildState.BACKOFF
    (text,) = watcher_problems(watcher, engine, 0.0)
    assert text == "the engine's watcher has died and is started again"
    watcher.state = ChildState.STARTING
    assert list(watcher_problems(watcher, engine, 0.0)) == []


def test_engine_that_was_never_found() -> None:
    """It is a problem after a while, with what the watcher saw; one that was found and has ended is none."""
    watcher, engine = child("nd-watcher", os.getpid()), Engine()
    engine.learn(EngineLost("no dockerd listens there"))
    assert list(watcher_problems(watcher, engine, ENGINE_SECONDS - 1)) == []
    (text,) = watcher_problems(watcher, engine, ENGINE_SECONDS + 1)
    assert text.startswith("dockerd has not been found since the plugin's start (no dockerd listens there), ")
    engine.learn(EngineFound(os.getpid()))
    engine.learn(EngineLost("the engine closed the stream of events"))
    assert list(watcher_problems(watcher, engine, ENGINE_SECONDS + 1)) == []
