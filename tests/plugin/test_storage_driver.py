"""An engine whose storage driver mounts no containers' roots, so that nothing shows which one is being started.

It maps its containers' users to others as well (userns-remap), of which such an engine's data has another place.
"""

from collections.abc import Iterator

import pytest

from supervisor.engine.facts import SANDBOX_FIRST
from tests.lab.build import PLUGIN
from tests.lab.command import CommandFailed, wait_until
from tests.lab.containers import Container
from tests.lab.engine import FIRST_USER, REMAPPED
from tests.lab.lab import Lab
from tests.lab.plugin import Plugin
from tests.plugin.conftest import create_network
from tests.plugin.judge import assert_leased, assert_released, await_resolver, renew
from tests.plugin.sandbox import Sandbox

pytestmark = pytest.mark.plugin

DRIVER = "vfs"
NETWORK = "lan"
PIN = "use --mac-address or driver-opt=id=NAME"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """One with such an engine; containerd's image store has no such driver."""
    store = {"features": {"containerd-snapshotter": False}}
    with Lab.temporary(DRIVER, settings={"storage-driver": DRIVER, **store, **REMAPPED}) as lab:
        yield lab


@pytest.fixture(scope="module")
def plugin(lab: Lab) -> Plugin:
    """In that engine."""
    plugin = Plugin.install(lab.engine, f"net-dhcp:{DRIVER}", PLUGIN)
    create_network(plugin, NETWORK, "--opt=dns=lease")
    return plugin


def mac_of(container: Container, lab: Lab) -> str:
    """As engine, kernel and server agree."""
    return assert_leased(container, NETWORK, lab.dhcp).mac


def test_identities(lab: Lab, plugin: Plugin) -> None:
    """A container that is the only one of its network that does not run keeps its MAC and address over a restart, and
    over a stop and a start; an `id` does so always. A running container that is connected meanwhile never gets that
    identity. One that could be either of two gets a fresh one: log and `/healthz` say so, with driver and remedy. From
    Docker 28 on none could be: only one of them has its sandbox."""
    docker = lab.engine.docker
    web = Container.run(docker, "web", f"--network={NETWORK}")
    pinned = Container.run(docker, "pinned", f"--network=name={NETWORK},driver-opt=id=pinned")
    first, chosen = assert_leased(web, NETWORK, lab.dhcp), mac_of(pinned, lab)
    web.restart()
    again = assert_leased(web, NETWORK, lab.dhcp)
    assert (again.mac, again.address) == (first.mac, first.address)

    web.stop()
    guest = Container.run(docker, "guest", "--network=none")
    docker("network", "disconnect", "none", "guest")
    if docker.release < SANDBOX_FIRST:
        with pytest.raises(CommandFailed, match="made for container web, which is being started, and not for guest"):
            docker("network", "connect", NETWORK, "guest")
    docker("network", "connect", NETWORK, "guest")
    assert mac_of(guest, lab) != first.mac
    docker("rm", "--force", "guest")

    other = Container.run(docker, "other", f"--network={NETWORK}")
    others = mac_of(other, lab)
    for container in (other, pinned):
        container.stop()
    for container in (web, other, pinned):
        container.start()
    assert mac_of(pinned, lab) == chosen
    if docker.release >= SANDBOX_FIRST:
        assert (mac_of(web, lab), mac_of(other, lab)) == (first.mac, others)
        assert plugin.get("/healthz")[1]["problems"] == []
        return
    told = (f"which Docker's storage driver {DRIVER} does not show", PIN)
    wait_until(lambda: any(all(words in line for words in told) for line in plugin.log()), "the warning")
    wait_until(lambda: DRIVER in str(plugin.get("/healthz")[1]["problems"]), "the problem")
    assert PIN in str(plugin.get("/healthz")[1]["problems"])


def test_mapped_users(lab: Lab, plugin: Plugin) -> None:
    """A container whose root is another user on the host has lease, route, resolver and renewals as any other, and its
    release."""
    container = Container.run(lab.engine.docker, "mapped", f"--network={NETWORK}")
    assert container.exec("cat", "/proc/self/uid_map").split()[:2] == ["0", str(FIRST_USER)]
    attachment = assert_leased(container, NETWORK, lab.dhcp)
    await_resolver(plugin, attachment)
    sandbox = Sandbox.of(container)
    assert sandbox.addresses(attachment.mac) == [attachment.address]
    assert sandbox.gateway() == attachment.gateway
    assert "search lan" in container.exec("cat", "/etc/resolv.conf")

    renew(plugin, lab, attachment)

    container.remove()
    assert_released(lab.dhcp, attachment.mac)
