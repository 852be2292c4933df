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
    container.options = options
    return container.create()


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


@pytest.mark.parametrize("policy", ["no", "always"])
def test_container_that_is_restarted(
    rig: Rig, server: DhcpServer, engine: EngineFiles, instances: Instances, policy: str
) -> None:
    """MAC, address and host name stay over restarts and over a `kill -9` of the plugin between two of them."""
    network = rig.network()
    engine.mount(WEB, "web", network, policy=policy)
    seen = set()
    for _ in range(ROUNDS):
        container = started(rig, network)
        engine.configure(WEB, "web", network, running=True)
        seen.add(who(container))
        instances.again()
        container.stop()
        engine.configure(WEB, "web", network, running=False)
        instances.again()

    assert len(seen) == 1
    hostnames = {f.packet.hostname for f in rig.capture.frames(kind=Kind.REQUEST)}
    assert hostnames == {"web-host"}
    releases = len(rig.capture.frames(kind=Kind.RELEASE))
    assert releases == (ROUNDS if policy == "no" else 0)  # who comes back by itself keeps its lease meanwhile
    if policy == "always":
        mac = seen.pop()[0]
        assert [m.kind for m in server.messages(mac)].count("DISCOVER") == ROUNDS + 1  # the first start, udhcpc's own
        server.stop()
        server.lease_file.unlink()
        server.start()


def test_sequential_restart_of_two(rig: Rig, server: DhcpServer, engine: EngineFiles) -> None:
    """Containers that are restarted one after the other each get their own again, never the other's."""
    network = rig.network()
    names = {WEB: "web", MAIL: "mail"}
    before = {}
    running = {}
    for container_id, name in names.items():
        engine.mount(container_id, name, network)
        running[container_id] = started(rig, network)
        engine.configure(container_id, name, network, running=True)
        before[container_id] = who(running[container_id])
    for container in running.values():
        container.stop()
    for container_id, name in reversed(names.items()):
        engine.configure(WEB, "web", network, running=container_id != WEB)
        engine.configure(MAIL, "mail", network, running=container_id != MAIL)
        again = started(rig, network)
        assert again.view["container"] == name
        assert who(again) == before[container_id]


def test_two_at_once(rig: Rig, server: DhcpServer, engine: EngineFiles) -> None:
    """Who cannot be told from another gets a fresh MAC, not that of whoever it might be. Nobody knows yet whether a MAC
    address was lost by it, so the log says nothing."""
    network = rig.network()
    engine.mount(WEB, "web", network)
    web = started(rig, network)
    web.stop()
    engine.mount(MAIL, "mail", network)

    first, second = started(rig, network), started(rig, network)

    assert len({who(web), who(first), who(second)}) == 3
    assert len({web.mac, first.mac, second.mac}) == 3
    assert "driver-opt=id=NAME" not in rig.plugin.log


def test_told_apart_by_ports(rig: Rig, server: DhcpServer, engine: EngineFiles) -> None:
    """Two that start at once are told apart by what they expose."""
    network = rig.network()
    engine.mount(WEB, "web", network, "80/tcp")
    engine.mount(MAIL, "mail", network, "25/tcp")
    ports = {WEB: 80, MAIL: 25}
    macs: dict[str, set[str]] = {WEB: set(), MAIL: set()}
    for _ in range(2):
        containers = {}
        for container_id, port in ports.items():
            container = containers[container_id] = rig.container(network)
            container.exposed_ports = [{"Proto": 6, "Port": port}]
            macs[container_id].add(container.create().body["Interface"]["MacAddress"])
        for container in containers.values():
            container.stop()
    assert [len(seen) for seen in macs.values()] == [1, 1]
    assert macs[WEB] != macs[MAIL]


def test_chosen_id(rig: Rig, server: DhcpServer, instances: Instances) -> None:
    """The same id has the same MAC and address whoever comes with it; while one has it, nobody else gets it."""
    network = rig.network()
    first, other = started(rig, network, id="web"), started(rig, network, id="db")
    second = rig.container(network)

    refused = create(rig, second, id="web")

    assert refused.status == 409
    assert "id 'web' is in use on this network" in refused.error
    assert who(first) != who(other)
    first.stop()
    instances.again()
    assert create(rig, second, id="web").status == 200
    assert who(second) == who(first)
    assert len({lease.mac for lease in server.leases()}) == 2


@pytest.mark.parametrize(
    ("name", "next_name"),
    [
        ("web", "web"),
        (f"web.1.{'x9s9uirs4psl'.ljust(25, '0')}", f"web.1.{'vfcaycqy6f1x'.ljust(25, '0')}"),
    ],
    ids=["container", "task of a Swarm"],
)
def test_mac_by_name(rig: Rig, server: DhcpServer, engine: EngineFiles, name: str, next_name: str) -> None:
    """With `mac=name` a container that is removed and made anew under its name is the same machine on the LAN."""
    network = rig.network(mac="name")
    engine.mount(WEB, name, network)
    first = started(rig, network)
    first.stop()
    engine.unmount(WEB)
    engine.mount(MAIL, "mail", network)
    mail = started(rig, network)
    engine.configure(MAIL, "mail", network, running=True)
    engine.mount(ANEW, next_name, network)

    second = started(rig, network)

    assert second.view["container_id"] == ANEW
    assert who(second) == who(first)
    assert mail.mac != first.mac


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
