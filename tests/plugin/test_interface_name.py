"""The name of a container's interface, and what else an engine takes as an option of an endpoint's."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.command import CommandFailed, wait_until
from tests.lab.compose import Compose
from tests.lab.containers import Container
from tests.lab.engine import Docker
from tests.lab.images import BUSYBOX
from tests.lab.lab import Lab
from tests.lab.plugin import Plugin
from tests.plugin.conftest import NETWORK
from tests.plugin.crash import kill_supervisor
from tests.plugin.judge import assert_leased, assert_released, confirmations, endpoint, renew, said
from tests.plugin.sandbox import Sandbox

pytestmark = pytest.mark.plugin

OWN = "com.docker.network.endpoint"
TAKES_NAMES = (29, 8)  # the engine from this version on
TAKES_SYSCTLS = 28  # the engine from this version on
HAS_INTERFACE_NAME = 28  # the engine with whose release comes a Compose that knows the word
PROJECT = """
services:
  web:
    image: {image}
    networks:
      lan:
        interface_name: lan0
networks:
  lan:
    external: true
"""


@pytest.fixture(name="container")
def _container(docker: Docker, network: str) -> Iterator[Container]:
    """One that a test starts on the network, which is removed after it."""
    container = Container(docker, "named")
    yield container
    container.remove()


def start(container: Container, *options: str) -> None:
    """`docker run` with these options of the endpoint."""
    chosen = ",".join([f"name={NETWORK}", *(f"driver-opt={OWN}.{option}" for option in options)])
    Container.run(container.docker, container.name, f"--network={chosen}")


def interface(container: Container) -> str | None:
    """The name of its link, whose MAC address the engine knows."""
    return Sandbox.of(container).interface(container.attachment(NETWORK).mac)


def test_first_of_its_kind(container: Container, plugin: Plugin, lab: Lab) -> None:
    """Every engine calls the first one lan0: there the lease is renewed, over a restart and by a killed plugin's
    successor, too, and released at the end."""
    start(container, "ifname=lan0")
    first = assert_leased(container, NETWORK, lab.dhcp)
    renew(plugin, lab, first)
    container.restart()
    second = assert_leased(container, NETWORK, lab.dhcp)
    assert (interface(container), endpoint(plugin, second)["interface"]) == ("lan0", "lan0")
    assert second.address == first.address
    renew(plugin, lab, second)

    before = confirmations(plugin, second)
    kill_supervisor(plugin)
    wait_until(lambda: confirmations(plugin, second) > before, "the renewal of the next plugin")
    (seen,) = plugin.get("/v1/endpoints")[1]["endpoints"]
    assert (seen["interface"], assert_leased(container, NETWORK, lab.dhcp)) == ("lan0", second)
    assert plugin.get("/healthz")[0] == 200

    container.remove()
    assert_released(lab.dhcp, second.mac, times=2)
    assert not any(said(plugin, attachment, "its interface is called") for attachment in (first, second))


def test_beside_docker_networks(container: Container, docker: Docker, lab: Lab) -> None:
    """The container's other interface keeps Docker's name."""
    start(container, "ifname=lan0")
    docker("network", "connect", "bridge", container.name)
    assert_leased(container, NETWORK, lab.dhcp)
    assert interface(container) == "lan0"
    other = container.attachment("bridge").mac
    assert Sandbox.of(container).interface(other) == "eth0"


def test_any_name(container: Container, plugin: Plugin, lab: Lab) -> None:
    """An engine that does not take it starts the container under its own; the log says so once, with its version."""
    version = container.docker("version", "--format", "{{.Server.Version}}")
    takes = tuple(map(int, version.split(".")[:2])) >= TAKES_NAMES
    given, warnings = ("uplink", 0) if takes else ("eth0", 1)
    start(container, "ifname=uplink")
    attachment = assert_leased(container, NETWORK, lab.dhcp)
    assert (interface(container), endpoint(plugin, attachment)["interface"]) == (given, given)
    renew(plugin, lab, attachment)
    expected = f"its interface is called eth0, and not uplink: Docker {version} has chosen the name. "
    assert said(plugin, attachment, expected) == warnings


def test_name_that_no_interface_can_have(container: Container, lab: Lab) -> None:
    """It is refused before anything is leased."""
    leases = lab.dhcp.leases()
    with pytest.raises(CommandFailed, match=rf"{OWN}.ifname must be the name of an interface"):
        start(container, "ifname=longer-than-fifteen")
    assert lab.dhcp.leases() == leases


def test_sysctls(container: Container, docker: Docker, lab: Lab) -> None:
    """The engine sets them, if it knows the option; an option that no engine knows does nothing."""
    start(container, "sysctls=net.ipv4.conf.IFNAME.log_martians=1", "unheard-of=1")
    assert_leased(container, NETWORK, lab.dhcp)
    expected = "1" if docker.release >= TAKES_SYSCTLS else "0"
    assert container.exec("cat", "/proc/sys/net/ipv4/conf/eth0/log_martians") == expected


def test_compose(docker: Docker, network: str, lab: Lab, tmp_path: Path) -> None:
    """Compose's interface_name is that option, if Compose knows it."""
    project = Compose.project(docker, tmp_path / "project", PROJECT.format(image=BUSYBOX))
    if docker.release < HAS_INTERFACE_NAME:
        with pytest.raises(CommandFailed, match="interface_name"):
            project("config")
        return
    project("up", "--detach")
    try:
        (container,) = (Container(docker, found) for found in project.containers())
        assert_leased(container, NETWORK, lab.dhcp)
        assert interface(container) == "lan0"
    finally:
        project("down", "--timeout", "1")
