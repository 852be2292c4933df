"""What cannot work is refused when it is asked for, with the remedy in the text that the user sees."""

from collections.abc import Iterator

import pytest

from tests.lab.command import CommandFailed, wait_until
from tests.lab.engine import Docker
from tests.lab.lab import Lab
from tests.lab.network import BRIDGE
from tests.lab.plugin import Plugin
from tests.plugin.conftest import Run, create_network
from tests.plugin.judge import assert_leased

pytestmark = [pytest.mark.plugin, pytest.mark.usefixtures("no_leaks")]


def refusal(plugin: Plugin, *options: str) -> str:
    """What `docker network create` says; the network must not exist afterwards."""
    with pytest.raises(CommandFailed) as caught:
        plugin.docker("network", "create", "--driver", plugin.name, *options, "refused")
    assert not plugin.docker("network", "ls", "--quiet", "--filter", "name=^refused$")
    return str(caught.value)


@pytest.mark.parametrize("ipam", [(), ("--subnet=192.168.77.0/24",), ("--subnet=10.99.0.0/24", "--gateway=10.99.0.1")])
def test_addresses_of_dockers_own(plugin: Plugin, ipam: tuple[str, ...]) -> None:
    """Without the null IPAM driver the containers would have addresses that the LAN knows nothing of. The right command
    has the plugin's name in this engine."""
    text = refusal(plugin, *ipam, f"--opt=bridge={BRIDGE}")

    assert "DHCP server" in text
    assert f"docker network create -d {plugin.name} --ipam-driver null -o bridge=BRIDGE NAME" in text


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "option bridge or parent is missing: which bridge is the LAN on?"),
        ((f"bridge={BRIDGE}", "parent=uplink"), "options bridge and parent exclude each other"),
        (
            ("parent=uplink",),
            f"uplink cannot be the parent: it is a port of the bridge {BRIDGE}; use -o bridge={BRIDGE}",
        ),
        (("parent=uplink", "mode=ipvtap"), "option mode: 'ipvtap' is none of bridge, macvlan, ipvlan; did you mean"),
        (("bridge=br-none",), "br-none: there is none of that name"),
        (("bridge=uplink",), "uplink is a veth"),
        (("bridge=lo",), "lo is a hardware link"),
        (("bridge=../../etc",), "cannot be the name of an interface"),
        (("bridge=docker0",), "Docker itself hands out the addresses on docker0"),
        ((f"bridge={BRIDGE}", "speed=7"), "unknown option 'speed'; a network takes alike, bridge, client, client_id"),
        ((f"bridge={BRIDGE}", "lease_timeout=soon"), "'soon' is no duration such as 10s"),
        ((f"bridge={BRIDGE}", "lease_timeout=0"), "too short for DHCP"),
        ((f"bridge={BRIDGE}", "skip_routes=maybe"), "'maybe' is neither true nor false"),
    ],
)
def test_network_options(plugin: Plugin, options: tuple[str, ...], words: str) -> None:
    """Each refusal names the option, or the interface, and what is wrong with it."""
    assert words in refusal(plugin, "--ipam-driver=null", *(f"--opt={option}" for option in options))


@pytest.fixture
def engine_bridge(docker: Docker) -> Iterator[str]:
    """The interface of a user-defined bridge network."""
    network_id = docker("network", "create", "engines-own")
    yield f"br-{network_id[:12]}"
    docker("network", "rm", "engines-own")


def test_bridge_of_a_bridge_network(plugin: Plugin, engine_bridge: str) -> None:
    """Docker hands out addresses there, and would not know of ours."""
    text = refusal(plugin, "--ipam-driver=null", f"--opt=bridge={engine_bridge}")

    assert f"Docker itself hands out the addresses on {engine_bridge} (network engines-own)" in text


def test_bridge_of_another_network_of_ours(plugin: Plugin, network: str) -> None:
    """Two networks on one LAN are mostly a mistake. The refusal names the other one once Docker has told its name."""

    def text() -> str:
        return refusal(plugin, "--ipam-driver=null", f"--opt=bridge={BRIDGE}")

    assert "ignore_conflicts=true" in text()
    wait_until(lambda: f"{BRIDGE} is already used by network {network}" in text(), "the network's name")


@pytest.fixture
def second(plugin: Plugin, network: str) -> Iterator[str]:
    """Another network on the same bridge, by one who means it."""
    create_network(plugin, "second", "--opt=ignore_conflicts=true")
    yield "second"
    plugin.docker("network", "rm", "second")


def test_conflicts_can_be_ignored(second: str, run: Run, docker: Docker, lab: Lab, network: str) -> None:
    """Both networks on the one bridge lead to the LAN."""
    container = run()
    assert_leased(container, network, lab.dhcp)
    docker("network", "disconnect", network, container.name)
    docker("network", "connect", second, container.name)

    assert_leased(container, second, lab.dhcp)


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("ip=192.168.77.900", "'192.168.77.900' is no IPv4 address"),
        ("ip=127.0.0.1", "127.0.0.1 cannot be the address of a container"),
        ("address=192.168.77.60", "unknown option 'address'; a container takes client_id, gateway"),
    ],
)
def test_endpoint_options(run: Run, docker: Docker, network: str, option: str, words: str) -> None:
    """A container with an option that cannot be honoured does not start."""
    container = run()
    docker("network", "disconnect", network, container.name)

    with pytest.raises(CommandFailed, match=words):
        docker("network", "connect", f"--driver-opt={option}", network, container.name)
