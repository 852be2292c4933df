"""Where no lease is to be had, `docker run` fails in time, says why, and leaves nothing behind (the leak gate)."""

import time
from collections.abc import Iterator

import pytest

from tests.lab.command import CommandFailed
from tests.lab.containers import Container
from tests.lab.dhcp import DhcpServer
from tests.lab.images import BUSYBOX
from tests.lab.lab import Lab
from tests.lab.network import BRIDGE
from tests.lab.plugin import Plugin
from tests.plugin.conftest import create_network
from tests.plugin.judge import assert_leased

pytestmark = pytest.mark.plugin

NETWORK = "barren"
BUDGET = 3.0  # seconds, in which a busy machine starts a container where there is a server
OVERHEAD = 10.0  # seconds, for all that the engine does around CreateEndpoint on a busy machine
BRIDGE_RULE = f"DOCKER-USER -i {BRIDGE} -o {BRIDGE} -j ACCEPT"


@pytest.fixture
def barren(plugin: Plugin, no_leaks: None) -> Iterator[Container]:
    """A container, not started, on a network that waits that long for a lease."""
    create_network(plugin, NETWORK, f"--opt=lease_timeout={BUDGET:g}s")
    container = _create(plugin)
    yield container
    container.remove()
    plugin.docker("network", "rm", NETWORK)


def test_lan_without_a_server(barren: Container, dhcp: DhcpServer) -> None:
    """The budget is used, and the text has the interface, the counts and a question; with a server it starts."""
    dhcp.stop()
    began = time.monotonic()
    with pytest.raises(CommandFailed) as caught:
        barren.start()

    assert BUDGET <= time.monotonic() - began < BUDGET + OVERHEAD
    text = str(caught.value)
    assert f"no DHCPOFFER on {BRIDGE} in {BUDGET:g} s" in text
    assert "0 DISCOVER sent" not in text
    assert "DISCOVER sent, 0 answers" in text
    assert "is there a DHCP server on this LAN" in text
    dhcp.start()
    barren.start()
    assert_leased(barren, NETWORK, dhcp)


@pytest.mark.parametrize(
    ("trouble", "remedy", "words"),
    [
        ("ip link set uplink nomaster", f"ip link set uplink master {BRIDGE}", "no ports besides the containers'"),
        (f"iptables -D {BRIDGE_RULE}", f"iptables -I {BRIDGE_RULE}", "bridge-nf-call-iptables is 1, and the packet"),
    ],
)
def test_machine_in_the_way(barren: Container, lab: Lab, trouble: str, remedy: str, words: str) -> None:
    """What keeps DHCP from passing the machine's bridge is named; once it is mended, the same container starts."""
    lab.network.on_host(*trouble.split())
    try:
        with pytest.raises(CommandFailed) as caught:
            barren.start()
    finally:
        lab.network.on_host(*remedy.split())

    assert words in str(caught.value)
    barren.start()
    assert_leased(barren, NETWORK, lab.dhcp)


@pytest.fixture
def odd_bridge(lab: Lab, plugin: Plugin, no_leaks: None) -> Iterator[str]:
    """A bridge with STP on and nothing behind it, and a network on it that would wait for three seconds."""
    lab.network.on_host("ip", "link", "add", "br-odd", "up", "type", "bridge", "stp_state", "1")
    create_network(plugin, NETWORK, "--opt=lease_timeout=3s", bridge="br-odd")
    yield "br-odd"
    plugin.docker("network", "rm", NETWORK)
    if "br-odd" in lab.network.links():
        lab.network.on_host("ip", "link", "delete", "br-odd")


def test_spanning_tree(odd_bridge: str, plugin: Plugin) -> None:
    """A port that is kept from forwarding for 30 s is a trap that is warned of beforehand, and named when it bites."""
    assert any("STP is on for br-odd with a forward delay of 15 s" in line for line in plugin.log())
    container = _create(plugin)
    try:
        with pytest.raises(CommandFailed, match="STP is on for br-odd"):
            container.start()
    finally:
        container.remove()


def test_bridge_that_has_gone(odd_bridge: str, plugin: Plugin, lab: Lab) -> None:
    """The error names the bridge."""
    lab.network.on_host("ip", "link", "delete", odd_bridge)
    container = _create(plugin)
    try:
        with pytest.raises(CommandFailed, match="br-odd: there is none of that name"):
            container.start()
    finally:
        container.remove()


def _create(plugin: Plugin) -> Container:
    container = Container(plugin.docker, "barren")
    plugin.docker("create", "--name", container.name, f"--network={NETWORK}", BUSYBOX)
    return container
