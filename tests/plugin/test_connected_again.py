"""Alike containers that an engine starts all at once, on a network with `alike=reconnect`: in the end each is itself.

A laboratory of its own, as its engine is killed. From Docker 28 on many of such containers are told apart anyway, so
the engine is killed until one was not. Each container pings the LAN's server, and so measures its own break.
"""

import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.client import HTTPException
from itertools import pairwise
from select import select
from signal import SIGKILL
from subprocess import PIPE, Popen

import pytest

from tests.lab.build import PLUGIN
from tests.lab.command import wait_until
from tests.lab.containers import Attachment, Container
from tests.lab.lab import Lab
from tests.lab.network import SERVER
from tests.lab.plugin import Plugin
from tests.plugin.conftest import create_network
from tests.plugin.crash import ANOTHER_MAC, await_plugin
from tests.plugin.judge import assert_leased

NETWORK = "lan"
NAMES = [f"alike-{number}" for number in range(8)]
ROUNDS = int(os.environ.get("ROUNDS", "6"))  # at most
BEGAN = "began"
PING = (
    f"echo {BEGAN}; while :; do ping -c1 -W1 {SERVER} >/dev/null 2>&1 && cut -d' ' -f1 /proc/uptime; usleep 20000; done"
)
AGAIN = re.compile(r"connected again as itself; it was without this network for (\d+\.\d+) s")


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


@pytest.mark.timeout(300 + 60 * ROUNDS)
def test_all_are_themselves_in_the_end(
    lab: Lab, plugin: Plugin, fleet: dict[str, Container], capsys: pytest.CaptureFixture[str]
) -> None:
    """Engine killed and started, then all restarted at once: all have their own MAC addresses and leases, and all that
    the user had chosen is still there. Who was connected again is told apart from then on, so nobody is twice."""
    before, lines, lost = _places(lab, fleet), len(plugin.log()), set[str]()
    for _ in range(ROUNDS):
        lab.engine.kill()
        lab.engine.start()
        await_plugin(plugin, lambda: _are_themselves(plugin, before), "all containers with their own MAC addresses")
        if lost := _lost(plugin, lines):
            break
    assert lost, f"{ROUNDS} kills of the engine mixed up nobody"
    _assert_kept(lab, fleet, before, lost)
    breaks, told = [max(_gaps(fleet[name])) for name in lost], _told(plugin, lines)
    assert len(told) == len(lost)
    with capsys.disabled():
        print(f" {len(lost)} of {len(NAMES)} were connected again: without network for {_range(breaks)} s by their own")
        print(f" pings, and for {_range(told)} s by the plugin's log", end="")

    with ThreadPoolExecutor(len(fleet)) as pool:
        list(pool.map(Container.restart, fleet.values()))
    await_plugin(plugin, lambda: _are_themselves(plugin, before), "all containers with their own MAC addresses")
    _assert_kept(lab, fleet, before, _lost(plugin, lines))
    assert len(_told(plugin, lines)) == len(_lost(plugin, lines))


@pytest.mark.timeout(300 + 60 * ROUNDS)
def test_plugin_that_dies_in_the_middle(lab: Lab, plugin: Plugin, fleet: dict[str, Container]) -> None:
    """Killed as soon as a container was taken off the network: the next instance connects it, with all that the user
    had chosen, and then the others."""
    before = _places(lab, fleet)
    events = lab.engine.docker.argv("events", "--filter=event=disconnect", "--format={{.Type}}")
    was_killed = False
    for _ in range(ROUNDS):
        lab.engine.kill()
        lab.engine.start()
        supervisor = _supervisor(plugin)
        with Popen(events, stdout=PIPE) as told:
            wait_until(partial(_has_happened, told, plugin, before), "containers that run as themselves")
            if was_killed := _has_told(told):
                os.kill(supervisor, SIGKILL)
            told.kill()
        if was_killed:
            break
    assert was_killed, f"{ROUNDS} kills of the engine mixed up nobody"
    await_plugin(plugin, lambda: _are_themselves(plugin, before), "all containers with their own MAC addresses")
    _assert_kept(lab, fleet, before, set())
    await_plugin(plugin, lambda: plugin.get("/healthz")[1]["healthy"], "a plugin that is well")


def _has_happened(told: Popen[bytes], plugin: Plugin, before: dict[str, Attachment]) -> bool:
    return _has_told(told) or _are_themselves(plugin, before)


def _has_told(process: Popen[bytes]) -> bool:
    assert process.stdout is not None
    return bool(select([process.stdout], [], [], 0.1)[0])


def _supervisor(plugin: Plugin) -> int:
    workers = await_plugin(plugin, lambda: plugin.get("/v1/workers")[1].get("workers"), "the plugin's processes")
    (pid,) = (worker["pid"] for worker in workers if worker["role"] == "supervisor")
    return int(pid)


def _places(lab: Lab, fleet: dict[str, Container]) -> dict[str, Attachment]:
    return {name: assert_leased(container, NETWORK, lab.dhcp) for name, container in fleet.items()}


def _are_themselves(plugin: Plugin, places: dict[str, Attachment]) -> bool:
    try:
        rows = plugin.get("/v1/endpoints")[1].get("endpoints", ())
    except (OSError, HTTPException):
        return False  # it is being started
    macs = {row["container"]: row["mac"] for row in rows if row["phase"] == "joined"}
    return macs == {name: place.mac for name, place in places.items()}


def _lost(plugin: Plugin, lines: int) -> set[str]:
    """The names of those that had another MAC address for a while, by the plugin's log from that line on."""
    found = (re.search(r"container=(\S+)", line) for line in plugin.log()[lines:] if ANOTHER_MAC in line)
    return {name[1] for name in found if name}


def _told(plugin: Plugin, lines: int) -> list[float]:
    """How long each was without its network, by the plugin's log."""
    return [float(found[1]) for line in plugin.log()[lines:] if (found := AGAIN.search(line))]


def _assert_kept(lab: Lab, fleet: dict[str, Container], before: dict[str, Attachment], lost: set[str]) -> None:
    """MAC address and lease as engine, kernel and server agree, and the user's choices."""
    after = _places(lab, fleet)
    assert {name: (p.mac, p.address) for name, p in after.items()} == {n: (p.mac, p.address) for n, p in before.items()}
    for name, container in fleet.items():
        inspected = container.inspect()
        place = inspected["NetworkSettings"]["Networks"][NETWORK]
        assert f"www-{name}" in place["Aliases"]
        assert name not in lost or place["DriverOpts"] == {"id": inspected["Id"]}


def _gaps(container: Container) -> list[float]:
    """The seconds between two answers to its pings, since its last start."""
    lines = container.docker("logs", container.name).rpartition(BEGAN)[2].split()
    return [after - before for before, after in pairwise(map(float, lines))]


def _range(seconds: list[float]) -> str:
    return f"{min(seconds):.2f} to {max(seconds):.2f}"
