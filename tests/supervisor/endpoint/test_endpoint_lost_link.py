"""A link that a running container has lost with its parent: what is told, and when the worker makes it again."""

import subprocess
from dataclasses import replace

import pytest

from supervisor.domain.phases import Phase
from supervisor.endpoint.endpoint import GONE_SECONDS, RECHECK_SECONDS
from supervisor.engine.facts import ContainersListed, EngineConnected, EngineFound
from tests.supervisor.puppet import BRIDGE_ROUTE, LEASE, PID, Puppet, attach_path, bring_to
from workers.contract.lease import Route
from workers.contract.messages import Attach, Attached, Delete, LinkNotMade, MakeLink, SandboxGone

GONE = SandboxGone(only_link=True, with_parent=True, awaits="card0")
UNSEEN = SandboxGone(only_link=True, awaits="card0")  # as a worker says that has never seen the link
AWAITED = "its link on br0 has gone: it is made again as soon as card0 is up and has a carrier"


def list_containers(puppet: Puppet, *hostnames: str) -> None:
    """The engine tells all containers anew: the endpoint's, if its host name is given."""
    puppet.engine.learn(EngineConnected("/data"))
    for hostname in hostnames:
        puppet.learn(hostname)
    puppet.engine.learn(ContainersListed())


def lost(puppet: Puppet) -> str | None:
    """What is said of it."""
    return puppet.endpoint.link_lost


def make_link_of(puppet: Puppet, *routes: Route) -> MakeLink:
    """What its worker is to be told."""
    return MakeLink(Attach(attach_path(puppet), None, LEASE.gateway, arrived=True), "eth0", routes)


def test_link_that_comes_back(puppet: Puppet) -> None:
    """It is made once, under the name that it had, with the host's route of our answer to Join; then all is well."""
    bring_to(puppet, Phase.JOINED)
    puppet.report(GONE)
    assert lost(puppet) == AWAITED

    puppet.endpoint.make_link()
    puppet.endpoint.make_link()
    assert puppet.worker.told() == [make_link_of(puppet, BRIDGE_ROUTE)]

    puppet.report(Attached("eth0"))
    assert (puppet.state, lost(puppet)) == ("joined", None)
    puppet.endpoint.make_link()
    puppet.loop.pass_time(GONE_SECONDS)
    assert puppet.worker.told() == []
    puppet.report(GONE)
    puppet.endpoint.make_link()
    assert len(puppet.worker.told()) == 1


def test_link_that_cannot_be_made(puppet: Puppet) -> None:
    """The reason is told, and the next time it is tried again."""
    bring_to(puppet, Phase.JOINED)
    puppet.report(GONE)
    for _ in range(2):
        puppet.endpoint.make_link()
        assert len(puppet.worker.told()) == 1
        puppet.report(LinkNotMade("renaming dc-1: there is another eth0; remove that"))
    words = "it cannot be made again yet: renaming dc-1: there is another eth0; remove that"
    assert lost(puppet) == f"its link on br0 has gone: {words}"


def test_link_that_goes_at_once(puppet: Puppet) -> None:
    """It is made again, however often; one that has come back by itself is waited for no more."""
    bring_to(puppet, Phase.JOINED)
    for _ in range(2):
        puppet.report(GONE)
        puppet.endpoint.make_link()
        assert len(puppet.worker.told()) == 1
    puppet.report(Attached("eth1"))
    assert puppet.endpoint.awaited is None
    puppet.report(GONE)
    puppet.endpoint.make_link()
    (order,) = puppet.worker.told()
    assert isinstance(order, MakeLink)
    assert order.interface == "eth1"


def test_order_that_fails_at_the_end(puppet: Puppet) -> None:
    """A container that is leaving needs no link, so nothing is told."""
    bring_to(puppet, Phase.JOINED)
    puppet.report(GONE)
    puppet.endpoint.make_link()
    puppet.ask(puppet.endpoint.leave)
    puppet.report(LinkNotMade("no such namespace"))
    assert lost(puppet) == AWAITED


def test_worker_that_dies_over_it(puppet: Puppet) -> None:
    """Its successor gets the same order."""
    bring_to(puppet, Phase.JOINED)
    puppet.report(GONE)
    puppet.endpoint.make_link()
    puppet.die()
    puppet.endpoint.worker.on_retry()
    puppet.report(UNSEEN)
    puppet.worker.told()
    puppet.endpoint.make_link()
    assert puppet.worker.told() == [make_link_of(puppet, BRIDGE_ROUTE)]


def test_next_instance(puppet: Puppet) -> None:
    """It knows the link's name, and as soon as the engine says that the container runs, what it waits for."""
    bring_to(puppet, Phase.JOINED)
    again = Puppet()
    again.endpoint.restore(puppet.endpoint.record())
    list_containers(again, "web-host")
    again.report(UNSEEN)
    assert lost(again) is None
    again.loop.pass_time(GONE_SECONDS)
    assert lost(again) == AWAITED
    again.worker.told()
    again.endpoint.make_link()
    (order,) = again.worker.told()
    assert isinstance(order, MakeLink)
    assert (order.interface, order.routes) == ("eth0", (BRIDGE_ROUTE,))
    again.close()


def test_record_without_a_name(puppet: Puppet) -> None:
    """An older record has no name of the link, so the link cannot come back, and that is said."""
    bring_to(puppet, Phase.JOINED)
    again = Puppet()
    again.endpoint.restore(replace(puppet.endpoint.record(), interface=None))
    again.report(GONE)
    assert lost(again) == "its link on br0 has gone: restart the container"
    again.close()


@pytest.mark.parametrize("report", [GONE, SandboxGone(only_link=True)])
def test_engine_that_does_not_answer(puppet: Puppet, report: SandboxGone) -> None:
    """Nobody knows whether the container runs: a link that can come back is waited for."""
    bring_to(puppet, Phase.JOINED)
    puppet.report(report)
    puppet.worker.told()
    for _ in range(2):
        puppet.loop.pass_time(GONE_SECONDS)
    assert puppet.worker.told() == ([] if report.awaits else [Delete()])


def test_container_that_has_ended(puppet: Puppet) -> None:
    """The engine does not have it any more, so nothing is waited for."""
    bring_to(puppet, Phase.JOINED)
    list_containers(puppet)
    puppet.report(GONE)
    puppet.loop.pass_time(GONE_SECONDS)
    assert puppet.worker.told() == [Delete()]
    puppet.endpoint.make_link()
    assert puppet.worker.told() == []


def test_engine_that_is_just_telling(puppet: Puppet) -> None:
    """Of a container that has not been told yet nobody knows whether it runs: the end of the list is awaited."""
    bring_to(puppet, Phase.JOINED)
    list_containers(puppet, "web-host")
    puppet.report(SandboxGone(only_link=True))
    puppet.engine.learn(EngineConnected("/data"))
    puppet.worker.told()
    puppet.loop.pass_time(GONE_SECONDS + RECHECK_SECONDS)
    assert (puppet.state, puppet.worker.told()) == ("joined", [])
    puppet.learn("web-host")
    puppet.engine.learn(ContainersListed())
    puppet.loop.pass_time(RECHECK_SECONDS)
    assert (puppet.state, lost(puppet)) == ("joined", "its link on br0 has gone: restart the container")
    list_containers(puppet)
    puppet.loop.pass_time(GONE_SECONDS)
    assert puppet.worker.told() == [Delete()]


def test_engine_that_has_ended_meanwhile(puppet: Puppet) -> None:
    """Without dockerd there is no way to the sandbox."""
    bring_to(puppet, Phase.JOINED)
    puppet.report(GONE)
    with subprocess.Popen("true") as ended:
        pass
    puppet.engine.learn(EngineFound(ended.pid))
    puppet.endpoint.make_link()
    assert puppet.worker.told() == []
    puppet.engine.learn(EngineFound(PID))
    puppet.endpoint.make_link()
    assert puppet.worker.told() == [make_link_of(puppet, BRIDGE_ROUTE)]
