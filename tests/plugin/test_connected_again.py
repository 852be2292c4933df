"""Alike containers that an engine starts all at once, on a network with `alike=reconnect`: in the end each is itself.

A laboratory of its own, as its engine is killed. From Docker 28 on many of such containers are told apart anyway, so
the engine is killed until one was not. Each container pings the LAN's server, and so measures its own break.
"""

import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest

from tests.lab.build import PLUGIN
from tests.lab.command import wait_until
from tests.lab.containers import Container
from tests.lab.lab import Lab
from tests.lab.network import SERVER
from tests.lab.plugin import Plugin
from tests.plugin.conftest import create_network
from tests.plugin.crash import await_plugin
from tests.plugin.judge import assert_leased

NETWORK = "lan"
NAMES = [f"alike-{number}" for number in range(8)]
ROUNDS = int(os.environ.get("ROUNDS", "6"))  # at most
BEGAN = "began"
PING = (
    f"echo {BEGAN}; while :; do ping -c1 -W1 {SERVER} >/dev/null 2>&1 && cut -d' ' -f1 /proc/uptime; usleep 20000; done"
)
AGAIN = re.compile(r"connected again as itself; it was without this network for (\d+\.\d+) s")
LOST = "it has another MAC address than before"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """The network, its DHCP server and an engine."""
    with Lab.temporary("again") as lab:
        yield lab


@pytest.fixture(scope="module")
def plugin(lab: Lab) -> Plugin:
    """In that engine, with a network whose containers are to be themselves."""
    plugin = Plugin.install(lab.engine, "net-dhcp:again", PLUGIN)
    create_network(plugin, NETWORK, "--opt=alike=reconnect")
    return plugin


@pytest.fixture
def fleet(lab: Lab, plugin: Plugin) -> Iterator[dict[str, Container]]:
    """Containers of one image that nothing tells apart; each has an alias, and was alone when it first started."""
    options = (f"--network={NETWORK}", "--restart=always")
    command = ("sh", "-c", PING)
    docker = lab.engine.docker
    yield {
        name: Container.run(docker, name, *options, f"--network-alias=www-{name}", command=command) for name in NAMES
    }
    docker("rm", "--force", *NAMES)
    wait_until(lambda: lab.dhcp.leases() == [], "the end of the containers' leases")


@pytest.mark.timeout(300 + 60 * ROUNDS)
def test_all_are_themselves_in_the_end(
    lab: Lab, plugin: Plugin, fleet: dict[str, Container], capsys: pytest.CaptureFixture[str]
) -> None:
    """Engine killed and started: all have their own MAC addresses and leases, none was connected twice, and all that
    the user had chosen is still there. They are told apart from then on, so nobody is lost once more."""
    before = {name: assert_leased(container, NETWORK, lab.dhcp) for name, container in fleet.items()}
    lost: set[str] = set()
    for _ in range(ROUNDS):
        lab.engine.kill()
        lab.engine.start()
        lost |= _all_are_themselves(lab, plugin, fleet, {name: place.mac for name, place in before.items()})
        if lost:
            break
    assert lost, f"{ROUNDS} kills of the engine mixed up nobody"
    after = {name: assert_leased(container, NETWORK, lab.dhcp) for name, container in fleet.items()}
    assert {name: (p.mac, p.address) for name, p in after.items()} == {n: (p.mac, p.address) for n, p in before.items()}
    for name in lost:
        place = fleet[name].inspect()["NetworkSettings"]["Networks"][NETWORK]
        assert place["DriverOpts"] == {"id": fleet[name].inspect()["Id"]}
        assert f"www-{name}" in place["Aliases"]

    breaks = [max(_gaps(fleet[name])) for name in lost]
    told = [float(found[1]) for line in plugin.log() if (found := AGAIN.search(line))]
    with capsys.disabled():
        print(f" {len(lost)} of {len(NAMES)} were connected again: without network for {_range(breaks)} s by their own")
        print(f" pings, and for {_range(told)} s by the plugin's log", end="")

    lines = len(plugin.log())
    with ThreadPoolExecutor(len(lost)) as pool:
        list(pool.map(Container.restart, [fleet[name] for name in lost]))
    assert {name: assert_leased(fleet[name], NETWORK, lab.dhcp).mac for name in lost} == {
        n: before[n].mac for n in lost
    }
    assert not [line for line in plugin.log()[lines:] if LOST in line or "connected again" in line]


def _all_are_themselves(lab: Lab, plugin: Plugin, fleet: dict[str, Container], macs: dict[str, str]) -> set[str]:
    """Waits for that; the names of those that were not at first."""

    def ready() -> bool:
        rows = plugin.get("/v1/endpoints")[1]["endpoints"]
        return {row["container"]: row["mac"] for row in rows if row["phase"] == "joined"} == macs

    await_plugin(plugin, ready, "all containers with their own MAC addresses")
    lost = {found[1] for line in plugin.log() if LOST in line and (found := re.search(r"container=(\S+)", line))}
    assert {name: container.attachment(NETWORK).mac for name, container in fleet.items()} == macs
    again = [line for line in plugin.log() if AGAIN.search(line)]
    assert len(again) == len(lost), again
    return lost


def _gaps(container: Container) -> list[float]:
    """The seconds between two answers to its pings, since its last start."""
    lines = container.docker("logs", container.name).rpartition(BEGAN)[2].split()
    return [after - before for before, after in pairwise(map(float, lines))]


def _range(seconds: list[float]) -> str:
    return f"{min(seconds):.2f} to {max(seconds):.2f}"
