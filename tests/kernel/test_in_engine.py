"""The built plugin in a real Docker Engine, under each kernel: minutes in a guest."""

import pytest

from tests.lab.build import PLUGIN
from tests.lab.command import wait_until
from tests.lab.containers import Container
from tests.lab.lab import Lab
from tests.lab.plugin import Plugin
from tests.plugin.conftest import NETWORK, create_network

pytestmark = pytest.mark.long


def test_life_in_an_engine() -> None:
    """`docker run`, `docker restart`, `docker stop`: one MAC address, one address, and a release at each stop."""
    with Lab.temporary("kernel") as lab:
        plugin = Plugin.install(lab.engine, f"net-dhcp:{lab.name}", PLUGIN)
        create_network(plugin, NETWORK)
        container = Container.run(lab.engine.docker, "c1", f"--network={NETWORK}")
        before = container.attachment(NETWORK)
        container.restart()
        after = container.attachment(NETWORK)
        container.stop()

        wait_until(lambda: lab.dhcp.kinds(before.mac).count("RELEASE") == 2, "the second release", 5)
        assert before.address is not None
        assert (after.mac, after.address) == (before.mac, before.address)
        assert {m.address for m in lab.dhcp.messages(before.mac, "ACK")} == {before.address.ip}
        assert not lab.dhcp.leases()
