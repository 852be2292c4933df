"""An engine that starts sixteen containers at once, as at a boot: who differs from all others comes back as itself, and
who does not is itself or somebody new, but never another one.

A laboratory of its own, as its engine is killed. ROUNDS is how often; from ten on the median of the alike ones counts,
too (docs/identity.md).
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

import pytest

from tests.lab.build import PLUGIN
from tests.lab.command import wait_until
from tests.lab.containers import Container
from tests.lab.dhcp import Ipv6Options, ServerOptions
from tests.lab.lab import Lab
from tests.lab.plugin import Plugin
from tests.plugin.conftest import create_network
from tests.plugin.judge import assert_leased, assert_leased6

pytestmark = pytest.mark.plugin

NETWORK = "lan"
ROUNDS = int(os.environ.get("ROUNDS", "1"))
SECONDS_EACH = 60  # of a round on a busy machine
EACH = 8
TELLS_MOST = 28  # the release from which the engine's own store tells most of those apart that nothing else does
MOST = 6
ENOUGH = 10  # rounds for a median


@dataclass(frozen=True, slots=True)
class Place:
    """What a container is on the LAN."""

    mac: str
    addresses: tuple[object, ...]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A LAN of both families, and an engine that is killed."""
    with Lab.temporary("many") as lab:
        lab.network.serve_ipv6()
        lab.dhcp.restart(ServerOptions(ipv6=Ipv6Options()))
        yield lab


@pytest.fixture(scope="module")
def containers(lab: Lab) -> dict[str, Container]:
    """Eight that publish a port of their own, and eight that nothing tells apart."""
    plugin = Plugin.install(lab.engine, "net-dhcp:many", PLUGIN)
    create_network(plugin, NETWORK, "--opt=ipv6=true")
    options = (f"--network={NETWORK}", "--restart=always")
    different = {f"different-{n}": (*options, f"--publish={9000 + n}:80") for n in range(EACH)}
    alike = {f"alike-{n}": options for n in range(EACH)}
    return {name: Container.run(lab.engine.docker, name, *chosen) for name, chosen in {**different, **alike}.items()}


@pytest.mark.timeout(180 + SECONDS_EACH * ROUNDS)
def test_engine_is_killed(lab: Lab, containers: dict[str, Container], capsys: pytest.CaptureFixture[str]) -> None:
    """It starts all of them anew: each that differs keeps its MAC and both addresses, and no MAC is ever another's."""
    first = _places(lab, containers)
    owners = {place.mac: name for name, place in first.items()}
    kept = []
    for _ in range(ROUNDS):
        lab.engine.kill()
        lab.engine.start()
        wait_until(lambda: _all_run(lab, containers), "all containers")
        places = _places(lab, containers)
        for name, place in places.items():
            assert owners.setdefault(place.mac, name) == name, f"{name} has the MAC of {owners[place.mac]}"
        same = {name for name in containers if places[name] == first[name]}
        assert {name for name in containers if name.startswith("different")} <= same
        kept.append(sum(name.startswith("alike") for name in same))
    with capsys.disabled():
        print(f" {ROUNDS} rounds, of {EACH} alike ones came back as themselves: {kept} ", end="")
    if ROUNDS >= ENOUGH and lab.engine.docker.release >= TELLS_MOST:
        assert median(kept) >= MOST


def _all_run(lab: Lab, containers: dict[str, Container]) -> bool:
    return containers.keys() <= set(lab.engine.docker("ps", "--format", "{{.Names}}").split())


def _places(lab: Lab, containers: dict[str, Container]) -> dict[str, Place]:
    """Engine, kernel and server agree on each."""
    found = {}
    for name, container in containers.items():
        attachment = assert_leased(container, NETWORK, lab.dhcp)
        address6 = assert_leased6(container, NETWORK, lab.dhcp)
        found[name] = Place(attachment.mac, (attachment.address, address6))
    return found
