"""The built plugin in a real Docker Engine, under each kernel and on each kind of link: minutes in a guest."""

import os
import signal
from contextlib import ExitStack

import pytest

from tests.kernel.ways import WAYS, Way
from tests.lab.build import PLUGIN
from tests.lab.command import wait_until
from tests.lab.containers import Container
from tests.lab.lab import Lab
from tests.lab.plugin import Plugin
from tests.plugin.judge import await_client

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]  # the guest's seconds; the plugin's creation takes 140


def test_lives_in_an_engine() -> None:
    """`docker run`, a renewal, `docker restart`, `docker stop`: one address, and a release at each stop."""
    with Lab.temporary("kernel") as lab, ExitStack() as stack:
        plugin = Plugin.install(lab.engine, f"net-dhcp:{lab.name}", PLUGIN)
        for way in WAYS:
            stack.enter_context(way.on(lab.network))
            live(lab, plugin, way)
        assert not lab.dhcp.leases()


def live(lab: Lab, plugin: Plugin, way: Way) -> None:
    """One container's life on one way to the LAN."""
    docker, name = lab.engine.docker, way.card
    options = [f"--opt={key}={value}" for key, value in way.options.items()]
    if bridge := way.options.get("bridge"):
        lab.network.pass_bridged(bridge)
    docker("network", "create", "--driver", plugin.name, "--ipam-driver", "null", *options, name)
    container = Container.run(docker, f"on-{name}", f"--network={name}")
    before = container.attachment(name)
    mac = container.exec("cat", "/sys/class/net/eth0/address")
    client = await_client(plugin, before)
    acknowledged = lab.dhcp.kinds(mac).count("ACK")
    os.kill(client, signal.SIGUSR1)
    wait_until(lambda: lab.dhcp.kinds(mac).count("ACK") > acknowledged, f"a renewal over {name}")
    container.restart()
    after = container.attachment(name)
    container.stop()

    wait_until(lambda: lab.dhcp.kinds(mac).count("RELEASE") == 2, f"the second release over {name}")
    assert before.address is not None
    assert (after.mac, after.address) == (before.mac, before.address), name
    assert {m.address for m in lab.dhcp.messages(mac, "ACK")} == {before.address.ip}, name
    container.remove()
    docker("network", "rm", name)
