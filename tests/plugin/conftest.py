"""One laboratory for all plugin tests, and what each needs of it. What is missing on the machine fails the tests."""

import itertools
from collections.abc import Callable, Iterator

import pytest

from tests.lab.build import PLUGIN
from tests.lab.command import CommandFailed, wait_until
from tests.lab.containers import Container
from tests.lab.dhcp import DhcpServer
from tests.lab.engine import Docker
from tests.lab.engine_roots import chosen
from tests.lab.images import BUSYBOX
from tests.lab.kea import Kea
from tests.lab.lab import Lab
from tests.lab.leaks import Belongings, assert_no_more
from tests.lab.network import BRIDGE
from tests.lab.plugin import Plugin

NETWORK = "lan"
# What the machine's own engine may be too old for.
collect_ignore = [] if chosen() else ["test_containerd_images.py"]
Run = Callable[..., Container]


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """The network, its DHCP server and an engine."""
    with Lab.temporary("test") as lab:
        yield lab


@pytest.fixture(scope="session")
def plugin(lab: Lab) -> Plugin:
    """The built plugin, enabled; warmed up by one container, so that what is loaded late is no leak."""
    plugin = Plugin.install(lab.engine, f"net-dhcp:{lab.name}", PLUGIN)
    create_network(plugin, "warm-up")
    Container.run(lab.engine.docker, "warm-up", "--network=warm-up").remove()
    lab.engine.docker("network", "rm", "warm-up")
    return plugin


@pytest.fixture
def docker(lab: Lab) -> Docker:
    """The docker command."""
    return lab.engine.docker


@pytest.fixture
def dhcp(lab: Lab) -> Iterator[DhcpServer]:
    """The LAN's server; a test may restart it with other options, the next one finds the usual ones."""
    yield lab.dhcp
    lab.dhcp.restart()


@pytest.fixture
def kea(lab: Lab, dhcp: DhcpServer) -> Iterator[Kea]:
    """Kea in place of dnsmasq; unlike that it leases for less than two minutes."""
    dhcp.stop()
    kea = Kea(lab.directory / "kea", lab.network.lan)
    kea.start()
    yield kea
    kea.stop()


@pytest.fixture
def no_leaks(lab: Lab, plugin: Plugin) -> Iterator[None]:
    """Fails the test after whose end the machine, the server or the plugin holds more than before."""
    wait_until(lambda: has_spare(plugin), "the spare worker and its turn")
    before = belongings(lab, plugin)
    yield
    assert_no_more(before, lambda: belongings(lab, plugin))


def belongings(lab: Lab, plugin: Plugin) -> Belongings:
    """The machine's links, the server's leases and what the plugin's processes hold now."""
    leases = [*(lease.address for lease in lab.dhcp.leases()), *(lease.address for lease in lab.dhcp.leases6())]
    return Belongings.of(plugin.processes(), lab.network.links(), leases)


def has_spare(plugin: Plugin) -> bool:
    """There is another one some time after the last one was needed."""
    return [process.name for process in plugin.processes()].count("nd-spare") == 2


@pytest.fixture
def network(plugin: Plugin, no_leaks: None) -> Iterator[str]:
    """The name of a network of the plugin's on the machine's bridge."""
    create_network(plugin, NETWORK)
    yield NETWORK
    _remove_network(plugin, NETWORK)


def _remove_network(plugin: Plugin, name: str) -> None:
    """Docker 20.10 may count endpoints wrongly where dozens come and go at once; it counts anew at its start."""
    try:
        plugin.docker("network", "rm", name)
    except CommandFailed as failed:
        if "has active endpoints" not in str(failed):
            raise
        assert plugin.docker("network", "inspect", "--format", "{{len .Containers}}", name) == "0"
        assert plugin.get("/v1/endpoints")[1]["endpoints"] == []
        plugin.engine.terminate()
        plugin.engine.start()
        plugin.docker("network", "rm", name)


@pytest.fixture
def run(network: str, docker: Docker) -> Iterator[Run]:
    """Starts containers on the network: `run("--cap-drop=ALL", image=SCRATCH)`; removes them after the test."""
    started: list[Container] = []
    numbers = itertools.count(1)

    def start(*options: str, name: str | None = None, image: str = BUSYBOX, command: tuple[str, ...] = ()) -> Container:
        container = Container(docker, name or f"c{next(numbers)}")
        started.append(container)  # before it is started: one that fails to start is removed as well
        return Container.run(docker, container.name, f"--network={network}", *options, image=image, command=command)

    yield start
    for container in started:
        container.remove()


def create_network(plugin: Plugin, name: str, *options: str, bridge: str | None = BRIDGE) -> None:
    """As users do it; `options` come before the name."""
    null_ipam = ("--driver", plugin.name, "--ipam-driver", "null", *((f"--opt=bridge={bridge}",) if bridge else ()))
    plugin.docker("network", "create", *null_ipam, *options, name)
