"""A container that is back while its last lease is still being released: judged at the server and on the wire."""

import select
from collections.abc import Mapping
from itertools import dropwhile

import psutil
import pytest

from tests.api.unit import reaction
from tests.lab.command import run, wait_until
from tests.lab.dhcp import DhcpServer, Ipv6Options, ServerOptions
from tests.netns.process.hurried import with_constants
from tests.netns.process.instances import Instances
from tests.netns.process.rig import Rig, hang
from tests.netns.process.wire import Kind

ID = {"id": "web"}
WAITED_SECONDS = 1.0
PATIENT = {
    "supervisor.state.bindings.COMEBACK_SECONDS": 2.0,
    "supervisor.core.TICK_SECONDS": 0.2,
    "supervisor.driver.orphans.RELEASE_DEADLINE_SECONDS": 60.0,  # as the test holds its process up
}
HASTY = {
    "supervisor.endpoint.endpoint.LEAVE_SECONDS": 0.5,
    "supervisor.endpoint.endpoint.DELETE_SECONDS": 0.5,
}


def start_with(instances: Instances, constants: Mapping[str, float], monkeypatch: pytest.MonkeyPatch) -> None:
    """The next instance has these."""
    monkeypatch.setattr("tests.netns.process.plugin.PROGRAM", with_constants(constants))
    instances.again()


def test_process_releases(rig: Rig, server: DhcpServer, instances: Instances, monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits for the process that releases its lease, and then it has one of each family, which nobody releases."""
    start_with(instances, PATIENT, monkeypatch)
    rig.machine.serve_ipv6()
    server.restart(ServerOptions(ipv6=Ipv6Options()))
    network = rig.network(ipv6="true")
    first = rig.joined(network, ID)
    run("ip", "-n", rig.machine.lan, "link", "set", "port", "down")
    first.stop()
    pids = wait_until(lambda: rig.plugin.pids("nd-release"), "the release", interval=0.005)
    release = psutil.Process(pids[0])  # it waits for an answer to its ARP request
    release.suspend()
    run("ip", "-n", rig.machine.lan, "link", "set", "port", "up")
    rig.capture.forget()
    second = rig.container(network)
    second.options = dict(ID)

    with rig.engine.send("CreateEndpoint", second.request) as creating:
        answered, _, _ = select.select([creating], [], [], WAITED_SECONDS)
        release.resume()
        answer = reaction(creating)

    assert (answer.status, answered) == (200, [])
    interface = answer.json["Interface"]
    second.mac, second.address, second.address6 = (interface[key] for key in ("MacAddress", "Address", "AddressIPv6"))
    second.attach(second.join())
    rig.wait_for_bound(second)
    assert (second.mac, second.address, second.duid) == (first.mac, first.address, first.duid)
    assert [lease.address for lease in server.leases()] == [second.ip]
    assert [lease.address for lease in server.leases6()] == [second.ip6]
    assert_no_release_after_the_start(rig)
    second.stop()


def test_worker_releases(rig: Rig, server: DhcpServer, instances: Instances, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine got its answer to DeleteEndpoint as the worker hangs: its successor releases nothing of the next."""
    start_with(instances, HASTY, monkeypatch)
    network = rig.network()
    first = rig.joined(network, ID)
    hang(first.view["worker_pid"])
    assert (first.leave().status, first.delete().status) == (200, 200)
    rig.capture.forget()

    second = rig.joined(network, ID)

    assert (second.mac, second.address) == (first.mac, first.address)
    gone = f"dh-{first.endpoint_id[:12]}"
    wait_until(lambda: gone not in rig.machine.links(), "the end of the former link")
    assert [lease.address for lease in server.leases()] == [second.ip]
    assert_no_release_after_the_start(rig)
    second.stop()


def assert_no_release_after_the_start(rig: Rig) -> None:
    """A server that hears of a release before it hears of the next start takes nothing from that one."""
    kinds = [frame.packet.kind for frame in rig.capture.frames()]
    assert Kind.RELEASE not in dropwhile(lambda kind: kind is Kind.RELEASE, kinds)
