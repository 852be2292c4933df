"""Fixtures: the plugin on a machine of its own, and the LAN's server."""

from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest

from tests.lab.command import run, wait_until
from tests.lab.dhcp import DhcpServer
from tests.lab.network import LAN, LAN6, LAN_BRIDGE, SERVER, inside
from tests.netns.process.hurried import ENGINE_IS_SILENT, with_constants
from tests.netns.process.instances import Instances, instances_of
from tests.netns.process.rig import Rig, rig_in
from tests.netns.process.shared import Shared, shared

Squat = Callable[[IPv4Address | IPv6Address], None]
CARD = "card0"


@pytest.fixture
def alone() -> None:
    """For a test that ends the plugin, starts it otherwise or changes the machine: it has a rig of its own."""


@pytest.fixture
def hurried(alone: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plugin waits for the engine for seconds only: to be asked for before `rig`."""
    monkeypatch.setattr("tests.netns.process.plugin.PROGRAM", with_constants(ENGINE_IS_SILENT))


@pytest.fixture(name="rigs", scope="module")
def _rigs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared[Rig]]:
    with shared(lambda: rig_in(tmp_path_factory.mktemp("rig"))) as rigs:
        yield rigs


@pytest.fixture
def rig(rigs: Shared[Rig], request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    """The plugin, an engine and a LAN without a server, for all tests of a module; after each nothing may be left."""
    own = "alone" in request.fixturenames
    with rig_in(tmp_path) if own else rigs.lend(request.session) as rig, rig.turn():
        yield rig


@pytest.fixture
def instances(alone: None, rig: Rig) -> Iterator[Instances]:
    """The plugin may be ended and started again."""
    with instances_of(rig) as instances:
        yield instances


@pytest.fixture
def server(rig: Rig, tmp_path: Path) -> Iterator[DhcpServer]:
    """dnsmasq on the LAN; at the end every lease has been given back, unless the plugin was stopped."""
    dnsmasq = DhcpServer(tmp_path / "dhcp", rig.machine.lan)
    dnsmasq.start()
    try:
        yield dnsmasq
        rig.clean()
        if rig.plugin.running:
            wait_until(lambda: not (dnsmasq.leases() or dnsmasq.leases6()), "a release of each lease")
    finally:
        dnsmasq.stop()


@pytest.fixture
def card(rig: Rig) -> Iterator[str]:
    """A second card of the machine, without an address, that is plugged into the LAN."""
    rig.machine.plug_in(CARD)
    yield CARD
    rig.clean()
    rig.machine.unplug(CARD)


@pytest.fixture
def neighbour(rig: Rig) -> Iterator[str]:
    """The network namespace of another machine on the LAN, whose card is eth0; it says which addresses it takes."""
    namespace, lan = f"{rig.machine.lan}-neighbour", rig.machine.lan
    run("ip", "netns", "add", namespace)
    run("ip", "-n", lan, "link", "add", "neighbour", "type", "veth", "peer", "name", "eth0", "netns", namespace)
    run("ip", "-n", lan, "link", "set", "neighbour", "master", LAN_BRIDGE, "up")
    # Without its own search for duplicates an address is in use at once, and its first packet is an advertisement.
    settings = [f"net.ipv6.conf.eth0.{one}" for one in ("accept_dad=0", "ndisc_notify=1")]
    run(*inside(namespace, "sysctl", "-qw", *settings))
    run("ip", "-n", namespace, "link", "set", "eth0", "up")
    yield namespace
    run("ip", "netns", "delete", namespace)


@pytest.fixture
def squat(neighbour: str) -> Squat:
    """Another machine on the LAN takes addresses without asking, and says so."""

    def take(address: IPv4Address | IPv6Address) -> None:
        if isinstance(address, IPv6Address):
            run("ip", "-n", neighbour, "addr", "add", f"{address}/{LAN6.prefixlen}", "dev", "eth0")
            return
        run("ip", "-n", neighbour, "addr", "add", f"{address}/{LAN.prefixlen}", "dev", "eth0")
        run(*inside(neighbour, "busybox", "ping", "-c", "1", "-I", str(address), str(SERVER)))  # it asks by ARP first

    return take
