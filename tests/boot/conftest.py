"""One machine for all tests, as its disk takes a minute to make."""

from collections.abc import Iterator

import pytest

from tests.boot.members import NETWORK, Members
from tests.lab.build import PLUGIN
from tests.lab.lab import Lab
from tests.lab.machine import Machine
from tests.lab.network import BRIDGE
from tests.lab.plugin import Plugin


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """The LAN of both families and its DHCP server, which stay when the machine's power fails."""
    with Lab.temporary("boot") as lab:
        lab.network.serve_ipv6()
        yield lab


@pytest.fixture(scope="session")
def switched_off(lab: Lab) -> Iterator[Machine]:
    """The machine with the plugin and a network."""
    plugin = Plugin.install(lab.engine, "net-dhcp:boot", PLUGIN)
    options = (f"--driver={plugin.name}", "--ipam-driver=null", f"--opt=bridge={BRIDGE}", "--opt=ipv6=true")
    plugin.docker("network", "create", *options, NETWORK)
    with Machine.in_lab(lab) as machine:
        yield machine


@pytest.fixture
def machine(lab: Lab, switched_off: Machine) -> Iterator[Machine]:
    """It runs, without containers, before a server that has leased nothing and does not run; at the end it is off."""
    lab.dhcp.stop()
    lab.dhcp.lease_file.unlink(missing_ok=True)
    switched_off.start_over()
    switched_off.switch_on()
    switched_off.wait()
    yield switched_off
    switched_off.kill()


@pytest.fixture
def members(lab: Lab, machine: Machine) -> Members:
    """None yet."""
    return Members(lab, machine)
