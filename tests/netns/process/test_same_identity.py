"""Who gets which MAC and address, judged at the server: the same for ever, or a fresh one, never another's."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.command import wait_until
from tests.lab.dhcp import DhcpServer
from tests.netns.process.enginefiles import EngineFiles, engine_files
from tests.netns.process.fakeengine import Answer, Container
from tests.netns.process.instances import Instances
from tests.netns.process.rig import Rig
from tests.netns.process.wire import Kind

WEB, MAIL, ANEW = "a" * 64, "b" * 64, "c" * 64
GIVEN = "02:42:ac:11:00:99"
ROUNDS = 3


pytestmark = pytest.mark.usefixtures("instances")


@pytest.fixture(name="engine")
def _engine(instances: Instances, tmp_path: Path) -> Iterator[EngineFiles]:
    with engine_files(instances, tmp_path) as files:
        yield files


def create(rig: Rig, container: Container, **options: str) -> Answer:
    """CreateEndpoint with driver options."""
    request = container.request
    answer = rig.engine.call("CreateEndpoint", {**request, "Options": options} if options else request)
    if answer.status == 200:
        interface = answer.body["Interface"]
        container.mac, container.address = interface.get("MacAddress", container.mac), interface["Address"]
    return answer


def started(rig: Rig, network: str, mac: str = "", **options: str) -> Container:
    """A container that runs, with a confirmed lease."""
    container = rig.container(network)
    container.mac = mac
    created = create(rig, container, **options)
    assert created.status == 200, created
    container.attach(container.join())
    rig.wait_for_bound(container)
    return container


def who(container: Container) -> tuple[str, str]:
    """What the LAN knows it by."""
    return container.mac, container.address


def test_two_at_once(rig: Rig, server: DhcpServer, engine: EngineFiles) -> None:
    """Who cannot be told from another gets a fresh MAC, not that of whoever it might be; the log names the remedy."""
    network = rig.network()
    engine.mount(WEB, "web", network)
    web = started(rig, network)
    web.stop()
    engine.mount(MAIL, "mail", network)

    first, second = started(rig, network), started(rig, network)

    assert len({who(web), who(first), who(second)}) == 3
    assert len({web.mac, first.mac, second.mac}) == 3
    assert "use --mac-address or driver-opt=id=NAME" in rig.plugin.log
    assert "mail, web" in rig.plugin.log or "web, mail" in rig.plugin.log


def test_given_mac_wins(rig: Rig, server: DhcpServer, engine: EngineFiles) -> None:
    """A MAC that the user gave is in every packet, whatever is known of the container; it has an address of its own."""
    network = rig.network(mac="name")
    engine.mount(WEB, "web", network)
    before = started(rig, network)
    before.stop()
    container = started(rig, network, mac=GIVEN)
    assert {f.packet.chaddr for f in rig.capture.frames() if f.mac == GIVEN} == {GIVEN}
    assert [lease.mac for lease in server.leases()] == [GIVEN]
    assert container.view["container"] == "web"
    address = container.address
    container.stop()
    assert started(rig, network, mac=GIVEN).address == address


def test_dead_sandbox_of_one_that_comes_back(
    rig: Rig, server: DhcpServer, engine: EngineFiles, instances: Instances
) -> None:
    """After a crash of the engine its container starts on the lease that waited for it, without a RELEASE."""
    network = rig.network()
    engine.mount(WEB, "web", network, policy="always")
    first = started(rig, network)
    engine.configure(WEB, "web", network, running=True)
    instances.end()
    first.remove_sandbox()
    instances.start()
    wait_until(lambda: instances.endpoints == 0, "the end of the dead sandbox's endpoint")
    rig.containers.remove(first)
    before = len(rig.capture.frames())
    engine.configure(WEB, "web", network, running=False)

    second = started(rig, network)

    assert who(second) == who(first)
    assert rig.capture.frames()[before].packet.kind is Kind.REQUEST
    assert not rig.capture.frames(kind=Kind.RELEASE)
    second.stop()
    server.stop()
    server.lease_file.unlink()
    server.start()
