"""Fixtures: the plugin on a machine of its own, and the LAN's server."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.command import wait_until
from tests.lab.dhcp import DhcpServer
from tests.netns.process.rig import Rig, rig_in


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """The plugin, an engine and a LAN without a server; at the end nothing may have leaked."""
    with rig_in(tmp_path) as running:
        yield running


@pytest.fixture
def server(rig: Rig, tmp_path: Path) -> Iterator[DhcpServer]:
    """dnsmasq on the LAN; at the end every lease has been given back, unless the plugin was stopped."""
    dnsmasq = DhcpServer(tmp_path / "dhcp", rig.machine.lan)
    dnsmasq.start()
    try:
        yield dnsmasq
        rig.clean()
        if rig.plugin.running:
            wait_until(lambda: not dnsmasq.leases(), f"releases of {dnsmasq.leases()}", 3)
    finally:
        dnsmasq.stop()
