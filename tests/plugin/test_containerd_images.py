"""An engine with containerd's image store, the default of new installations from Docker 29 on. Older than 25 has none.

Runs with ENGINE alone (conftest.py). Its containers' roots are mounted at other places, by which they are known.
"""

from collections.abc import Iterator

import pytest

from tests.lab.build import PLUGIN
from tests.lab.containers import Container
from tests.lab.lab import Lab
from tests.lab.plugin import Plugin
from tests.plugin.conftest import create_network
from tests.plugin.crash import await_instance, kill_supervisor
from tests.plugin.judge import assert_leased, await_client, renew

pytestmark = pytest.mark.plugin

NETWORK = "lan"
STORE = {"features": {"containerd-snapshotter": True}}


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """One with such an engine."""
    with Lab.temporary("containerd", settings=STORE) as lab:
        yield lab


@pytest.fixture(scope="module")
def plugin(lab: Lab) -> Plugin:
    """In that engine."""
    plugin = Plugin.install(lab.engine, "net-dhcp:containerd", PLUGIN)
    create_network(plugin, NETWORK)
    return plugin


def test_identities(lab: Lab, plugin: Plugin) -> None:
    """Containers that are alike keep MAC and address over restarts, and over a stop of both: the mounted root tells
    which one is being started, also after the plugin's death. A running one that is connected meanwhile has its own."""
    docker = lab.engine.docker
    assert docker("info", "--format", "{{.Driver}}") == "overlayfs"
    alike = [Container.run(docker, name, f"--network={NETWORK}") for name in ("web", "db")]
    before = [assert_leased(container, NETWORK, lab.dhcp) for container in alike]
    await_client(plugin, before[0])
    renew(plugin, lab, before[0])
    alike[0].restart()
    for container in alike:
        container.stop()
    guest = Container.run(docker, "guest", "--network=none")
    docker("network", "disconnect", "none", "guest")
    docker("network", "connect", NETWORK, "guest")
    other = assert_leased(guest, NETWORK, lab.dhcp)

    kill_supervisor(plugin)
    await_instance(plugin)
    for container in reversed(alike):
        container.start()

    after = [assert_leased(container, NETWORK, lab.dhcp) for container in alike]
    assert [(a.mac, a.address) for a in after] == [(b.mac, b.address) for b in before]
    assert other.mac not in {attachment.mac for attachment in after}
    assert plugin.get("/healthz")[1]["problems"] == []
