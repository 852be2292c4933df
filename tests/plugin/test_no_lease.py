"""Where no lease is to be had, `docker run` fails in time, says why, and leaves nothing behind (the leak gate)."""

import time
from collections.abc import Iterator

import pytest

from tests.lab.command import CommandFailed
from tests.lab.containers import Container
from tests.lab.dhcp import DhcpServer
from tests.lab.images import BUSYBOX
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


def _create(plugin: Plugin) -> Container:
    container = Container(plugin.docker, "barren")
    plugin.docker("create", "--name", container.name, f"--network={NETWORK}", BUSYBOX)
    return container
