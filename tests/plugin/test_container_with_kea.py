"""Kea instead of dnsmasq, with the real engine: one lease from the start to the stop of a container."""

import pytest

from tests.lab.kea import Kea
from tests.lab.network import SERVER
from tests.lab.plugin import Plugin
from tests.plugin.conftest import NETWORK, Run
from tests.plugin.judge import assert_released, await_client
from tests.plugin.sandbox import Sandbox

pytestmark = pytest.mark.plugin


def test_container(kea: Kea, run: Run, plugin: Plugin) -> None:
    """Docker, the kernel and Kea agree on the address; a restart brings it again, each stop one RELEASE."""
    container = run("--hostname=web")
    attachment, sandbox = container.attachment(NETWORK), Sandbox.of(container)
    assert attachment.address is not None
    assert sandbox.addresses(attachment.mac) == [attachment.address]
    assert sandbox.gateway() == str(SERVER)
    await_client(plugin, attachment)
    (lease,) = kea.leases()
    assert (lease.address, lease.mac, lease.hostname) == (attachment.address.ip, attachment.mac, "web")

    container.restart()

    again = container.attachment(NETWORK)
    assert (again.mac, again.address) == (attachment.mac, attachment.address)
    assert [lease.address for lease in kea.leases()] == [attachment.address.ip]
    container.remove()
    assert_released(kea, attachment.mac, 2)
    assert not kea.leases()
