"""Leases that run out, that are kept, that could not be given back: judged at the server and in the kernel."""

import os
import signal
import time
from collections.abc import Callable

import pytest

from tests.lab.command import run, wait_until
from tests.lab.dhcp import DhcpServer, Ipv6Options, ServerOptions
from tests.lab.network import SERVER
from tests.netns.process.fakeengine import Answer, Container
from tests.netns.process.hurried import with_constants
from tests.netns.process.instances import Instances
from tests.netns.process.rig import Rig
from tests.netns.process.scripted import refusal, scripted_server, to_each_its_own
from tests.netns.process.wire import Kind, Option

LEASE_SECONDS = 30  # a shorter one is not left to udhcpc
BACK_SECONDS = 30.0
LEASE_TIMEOUT = 10.0  # seconds, the usual one
IMPATIENT = {"supervisor.state.bindings.COMEBACK_SECONDS": 2.0, "supervisor.core.TICK_SECONDS": 0.2}


pytestmark = pytest.mark.usefixtures("instances")


@pytest.fixture(name="lose_patience")
def _lose_patience(instances: Instances, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From the call on another instance of the plugin waits for a container's return for two seconds only."""

    def again() -> None:
        monkeypatch.setattr("tests.netns.process.plugin.PROGRAM", with_constants(IMPATIENT))
        instances.again()

    return again


@pytest.fixture(name="impatient")
def _impatient(lose_patience: Callable[[], None]) -> None:
    lose_patience()


def create_as(rig: Rig, container: Container, chosen: str) -> Answer:
    """CreateEndpoint with `driver-opt=id=chosen`."""
    container.options = {"id": chosen}
    return container.create()


def start_as(rig: Rig, network: str, chosen: str) -> Container:
    """A running container of that id."""
    container = rig.container(network)
    created = create_as(rig, container, chosen)
    assert created.status == 200, created
    container.attach(container.join())
    rig.wait_for_bound(container)
    return container


def test_expired(rig: Rig) -> None:
    """Without a server `drop` takes the address off at expiry, `keep` leaves it; both are bound again soon after.

    Whoever keeps the lease: udhcpc, or the native client. A worker that was killed meanwhile knows of it, too.
    """
    answer = to_each_its_own(LEASE_SECONDS)
    with scripted_server(rig.machine.lan, answer) as server:
        clients = ("udhcpc", "native")
        keep = [rig.joined(rig.network(ignore_conflicts="true", client=client)) for client in clients]
        drop = [rig.joined(rig.network(ignore_conflicts="true", client=client, expired="drop")) for client in clients]
        server.behaviour = lambda _: []
        before = [rig.confirmations(c) for c in (*keep, *drop)]

        wait_until(lambda: not any(c.inet for c in drop), "empty links", 2 * LEASE_SECONDS)
        wait_until(lambda: all(c.view["lease_state"] == "expired" for c in (*keep, *drop)), "each lease's end")
        assert [c.inet for c in keep] == [[c.address] for c in keep]
        assert not rig.engine.get("/healthz")["healthy"]
        rig.restart_worker(drop[0])

        begun = time.monotonic()
        server.behaviour = answer
        for container, times in zip((*keep, *drop), before, strict=True):
            wait_until(lambda c=container, n=times: rig.confirmations(c) > n, "a lease", BACK_SECONDS)  # type: ignore[misc]
        print(f"bound again {time.monotonic() - begun:.1f} s after the server's return")
        for container in (*keep, *drop):
            assert container.inet == [container.address]
            assert "default" in container.inside("ip", "-4", "route")
        wait_until(lambda: rig.engine.get("/healthz")["healthy"], "a healthy plugin")
        rig.clean()


def test_refused(rig: Rig, instances: Instances) -> None:
    """With `drop` a NAK takes the address off, and no later instance puts it back; address and default route come with
    the next lease. Whoever keeps the lease."""
    answer = to_each_its_own(600)
    with scripted_server(rig.machine.lan, answer) as server:
        networks = [rig.network(ignore_conflicts="true", expired="drop", client=c) for c in ("udhcpc", "native")]
        udhcpc, native = (rig.joined(network) for network in networks)
        server.behaviour = lambda packet: [refusal(packet).encode()] if packet.kind is Kind.REQUEST else []
        os.kill(udhcpc.view["udhcpc_pid"], signal.SIGUSR1)
        os.kill(native.view["worker_pid"], signal.SIGKILL)
        wait_until(lambda: not (udhcpc.inet or native.inet), "empty links")

        instances.end()
        before = len(rig.capture.frames())
        instances.start()
        asked = {udhcpc.mac, native.mac}
        wait_until(lambda: {f.mac for f in rig.capture.frames()[before:]} >= asked, "a question of each")
        assert (udhcpc.inet, native.inet) == ([], [])
        assert {f.packet.kind for f in rig.capture.frames()[before:]} == {Kind.DISCOVER}

        server.behaviour = answer
        for container in (udhcpc, native):
            wait_until(lambda c=container: c.inet == [c.address], "the address", 60)  # type: ignore[misc]
            wait_until(lambda c=container: f"via {SERVER}" in c.default_route, "the route")  # type: ignore[misc]
        rig.clean()


def test_lease_that_is_kept(rig: Rig, server: DhcpServer, instances: Instances) -> None:
    """With `release=keep` a stop sends no RELEASE; the next start asks for the same lease first, also after a kill."""
    network = rig.network(release="keep")
    first = start_as(rig, network, "web")
    first.stop()
    assert [lease.mac for lease in server.leases()] == [first.mac]
    instances.again()
    before = len(rig.capture.frames())

    second = start_as(rig, network, "web")

    kinds = [f.packet.kind for f in rig.capture.frames()[before:]]
    assert kinds[0] is Kind.REQUEST
    assert (second.mac, second.address) == (first.mac, first.address)
    assert not rig.capture.frames(kind=Kind.RELEASE)
    second.stop()
    forget(server)


def test_one_container_keeps_its_lease(rig: Rig, server: DhcpServer) -> None:
    """With `release=keep` of its own it sends no RELEASE, while its neighbour on the network does."""
    network = rig.network()
    kept, other = rig.joined(network, {"release": "keep"}), rig.joined(network)
    for container in (kept, other):
        container.stop()
    assert [frame.mac for frame in rig.capture.frames(kind=Kind.RELEASE)] == [other.mac]
    assert [lease.mac for lease in server.leases()] == [kept.mac]
    forget(server)


def test_start_without_a_server(rig: Rig, server: DhcpServer) -> None:
    """A valid lease is enough to start within moments while no server answers; it is confirmed when one is back."""
    network = rig.network(release="keep")
    first = start_as(rig, network, "web")
    first.stop()
    server.stop()

    second = rig.container(network)
    created = create_as(rig, second, "web")

    assert (created.status, second.address, created.seconds < LEASE_TIMEOUT) == (200, first.address, True)
    assert "no server answers; starting on" in rig.plugin.log
    second.attach(second.join())
    server.start()
    rig.wait_for_bound(second)
    assert second.inet == [first.address]
    second.stop()
    forget(server)


def test_lease_that_the_server_has_given_away(rig: Rig, server: DhcpServer) -> None:
    """A kept lease that the server refuses meanwhile costs one NAK: the container starts with another address."""
    network = rig.network(release="keep")
    first = start_as(rig, network, "web")
    first.stop()
    taken = first.address.partition("/")[0]
    server.stop()
    line = server.lease_file.read_text().replace(first.mac, "02:00:00:00:00:99").replace(f"01:{first.mac}", "*")
    server.lease_file.write_text(line)
    server.start()
    before = len(rig.capture.frames())

    second = start_as(rig, network, "web")

    assert second.mac == first.mac
    assert second.address.partition("/")[0] != taken
    kinds = [f.packet.kind for f in rig.capture.frames()[before:]]
    assert kinds[:3] == [Kind.REQUEST, Kind.DISCOVER, Kind.REQUEST]
    assert server.messages(second.mac, "NAK")
    second.stop()
    forget(server)


def test_both_families_are_kept(rig: Rig, server: DhcpServer) -> None:
    """With `release=keep` neither lease is released. The next start asks for both first, and uses both unconfirmed
    while no server answers."""
    rig.machine.serve_ipv6()
    dual = ServerOptions(ipv6=Ipv6Options())
    server.restart(dual)
    network = rig.network(release="keep", ipv6="true")

    def start() -> Container:
        container = rig.container(network)
        container.options["id"] = "web"
        container.start()
        wait_until(lambda: container.view["phase"] == "joined", "the worker in the sandbox")
        return container

    first = start()
    first.stop()
    assert [lease.address for lease in server.leases6()] == [first.ip6]
    second = start()
    assert (second.address, second.address6) == (first.address, first.address6)
    second.stop()
    kinds = server.kinds6(first.duid)
    assert kinds.count("SOLICIT") == 1
    assert "REBIND" in kinds
    server.stop()

    third = start()
    assert (third.address, third.address6) == (first.address, first.address6)
    assert rig.plugin.log.count("no server answers; starting on") == 2
    heard = len(server.kinds6(first.duid))
    server.start(dual)
    wait_until(lambda: "REPLY" in server.kinds6(first.duid)[heard:], "a confirmation")
    wait_until(lambda: third.inet6 == [first.address6], "the address")
    third.stop()
    assert "RELEASE" not in server.kinds6(first.duid)
    forget(server)


@pytest.mark.usefixtures("impatient")
def test_lease_that_could_not_be_given_back(rig: Rig, server: DhcpServer) -> None:
    """A RELEASE that found no way to the server at Leave goes out later from the host's side, and nothing is left."""
    links = rig.machine.links()
    container = rig.joined()
    run("ip", "-n", rig.machine.lan, "link", "set", "port", "down")
    container.stop()
    assert not rig.capture.frames(kind=Kind.RELEASE)
    run("ip", "-n", rig.machine.lan, "link", "set", "port", "up")

    wait_until(lambda: not server.leases(), "the release")

    (release,) = rig.capture.frames(kind=Kind.RELEASE)
    assert (release.mac, str(release.source)) == (container.mac, container.address.partition("/")[0])
    wait_until(lambda: rig.machine.links() == links, "the links of before")


def test_lease_of_another_client(rig: Rig, server: DhcpServer, lose_patience: Callable[[], None]) -> None:
    """A container that comes back with another client identifier leaves its lease to be released by the former one."""
    network = rig.network()
    first = rig.joined(network, {"id": "web", "client_id": "former"})
    run("ip", "-n", rig.machine.lan, "link", "set", "port", "down")
    first.stop()
    run("ip", "-n", rig.machine.lan, "link", "set", "port", "up")

    second = rig.joined(network, {"id": "web", "client_id": "present"})

    assert (second.mac, second.ip != first.ip) == (first.mac, True)
    lose_patience()  # not before: the server would give the second one what the first one has given back
    wait_until(lambda: [lease.address for lease in server.leases()] == [second.ip], "the former lease's release")
    (release,) = rig.capture.frames(kind=Kind.RELEASE)
    assert (release.packet.options[Option.CLIENT_ID], release.packet.ciaddr) == (b"\0former", first.ip)


@pytest.mark.usefixtures("impatient")
def test_kept_lease_is_never_given_back(rig: Rig, server: DhcpServer, instances: Instances) -> None:
    """What the user wants kept stays at the server however long its container is away."""
    network = rig.network(release="keep")
    first = start_as(rig, network, "web")
    first.stop()
    other = start_as(rig, rig.network(ignore_conflicts="true"), "other")
    run("ip", "-n", rig.machine.lan, "link", "set", "port", "down")
    other.stop()
    run("ip", "-n", rig.machine.lan, "link", "set", "port", "up")
    wait_until(lambda: len(server.leases()) == 1, "the release of the other one, which is due later")
    assert [lease.mac for lease in server.leases()] == [first.mac]
    forget(server)


def forget(server: DhcpServer) -> None:
    """The server's leases go: what a test has kept on purpose is no leak."""
    server.stop()
    server.lease_file.unlink()
    server.start()
