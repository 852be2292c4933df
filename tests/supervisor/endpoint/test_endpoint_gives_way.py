"""An endpoint that still releases its lease while its container is started again: it ends soon, or releases nothing."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from supervisor.domain.phases import Phase
from supervisor.endpoint.endpoint import GIVE_WAY_SECONDS
from tests.supervisor.puppet import IPV4, LEASE, NONE, Puppet, bring_to
from workers.contract.messages import Delete, Deleted, Resume
from workers.system.clock import boottime

BACKOFF = 1.0
LIVE = replace(LEASE, obtained=boottime())


@pytest.fixture(name="releasing")
def _releasing() -> Iterator[Puppet]:
    """DeleteEndpoint has come without a Leave, so that the lease is released now."""
    puppet = Puppet(key="container:c1")
    bring_to(puppet, Phase.JOINED)
    puppet.ask(puppet.endpoint.delete)
    puppet.worker.told()
    yield puppet
    puppet.close()


def test_ends_by_itself(releasing: Puppet) -> None:
    """It is not disturbed while it may still end in time, and nothing comes of the deadline afterwards."""
    assert not releasing.endpoint.gives_way()
    releasing.loop.pass_time(GIVE_WAY_SECONDS - 1)
    assert not releasing.endpoint.gives_way()
    releasing.report(Deleted())
    releasing.loop.pass_time(1)
    assert releasing.process_manager.killed == 0


def test_releases_nothing_any_more(releasing: Puppet) -> None:
    """Its worker is killed, and the successor removes the link without a lease to release."""
    assert not releasing.endpoint.gives_way()
    releasing.loop.pass_time(GIVE_WAY_SECONDS)
    assert (releasing.endpoint.gives_way(), releasing.process_manager.killed) == (True, 1)
    releasing.die()
    releasing.loop.pass_time(BACKOFF)
    assert (releasing.worker.begin.reclaims, releasing.worker.begin.resume) == (False, Resume((LEASE,), NONE))
    assert releasing.worker.told() == [Delete()]


def test_last_word_of_its_worker(releasing: Puppet) -> None:
    """A lease that the killed worker could not release is that of the next endpoint: it does not wait for a release."""
    releasing.endpoint.leases = {f: replace(r, lease=LIVE) for f, r in releasing.endpoint.leases.items()}
    releasing.endpoint.gives_way()
    releasing.loop.pass_time(GIVE_WAY_SECONDS)
    releasing.report(Deleted(IPV4))
    assert not [one for one in releasing.bindings if one.leases]


@pytest.mark.parametrize("dies", ["before", "after"])
def test_next_instance(releasing: Puppet, dies: str) -> None:
    """A plugin that dies knows it afterwards, too."""
    record = releasing.endpoint.record()
    if dies == "after":
        releasing.endpoint.gives_way()
        releasing.loop.pass_time(GIVE_WAY_SECONDS)
        record = replace(releasing.endpoint.record(), phase=Phase.LEFT)
    following = Puppet(key="container:c1")
    following.endpoint.restore(replace(record, phase=Phase.LEFT))
    resume = following.worker.begin.resume
    assert resume is not None
    assert resume.held == (IPV4 if dies == "before" else NONE)
    following.close()


def test_creation_that_is_undone(puppet: Puppet) -> None:
    """What a dead worker may have obtained is not released either, also not by the next instance."""
    bring_to(puppet, Phase.CREATING)
    puppet.die()
    assert not puppet.endpoint.gives_way()
    puppet.loop.pass_time(BACKOFF)
    assert puppet.worker.begin.reclaims
    puppet.loop.pass_time(GIVE_WAY_SECONDS - BACKOFF)
    assert (puppet.endpoint.gives_way(), puppet.process_manager.killed) == (True, 1)
    puppet.die()
    puppet.loop.pass_time(2 * BACKOFF)
    assert (puppet.worker.begin.reclaims, puppet.worker.begin.resume) == (False, Resume((), NONE))
    following = Puppet()
    following.endpoint.restore(replace(puppet.endpoint.record(), phase=Phase.LEFT))
    assert (following.worker.begin.reclaims, following.worker.begin.resume) == (False, Resume((), NONE))
    following.close()


def test_nothing_to_release(puppet: Puppet) -> None:
    """An endpoint whose lease was released at Leave holds up nobody."""
    bring_to(puppet, Phase.DELETING)
    assert puppet.endpoint.gives_way()
    assert puppet.process_manager.killed == 0
