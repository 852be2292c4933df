"""Whatever is killed, stopped, upgraded or booted anew: no container loses its leases, its addresses or its MAC.

A laboratory of its own, as its engine is killed; the plugin comes from a registry, so that it can be upgraded. The
first containers start on a version of before, which knows IPv4 alone and whose state this version takes over; the
others have both families.
Containers that the engine itself stops for good, as they have no restart policy, give their leases back, and get the
same ones when they are started again: the verdict is the server's log.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from enum import Enum, auto
from pathlib import Path
from signal import SIGKILL

import pytest

from tests.lab.build import BEFORE, PLUGIN
from tests.lab.command import CommandFailed, wait_until
from tests.lab.containers import Container
from tests.lab.dhcp import Ipv6Options, ServerOptions
from tests.lab.lab import Lab
from tests.lab.network import BRIDGE
from tests.lab.plugin import Plugin, create
from tests.lab.process import spawn
from tests.lab.registry import ADDRESS
from tests.netns.process.fakeengine import callers
from tests.netns.process.plugin import REPOSITORY
from tests.plugin.crash import await_instance, kill_supervisor
from tests.plugin.fleet import NETWORK, Fleet, Seen

ROUNDS = int(os.environ.get("ROUNDS", "1"))
NAME = "net-dhcp:recovery"
SERVER = ServerOptions(ipv6=Ipv6Options())
OLD = f"{ADDRESS}/net-dhcp:before"
PUBLISHED = [f"{ADDRESS}/net-dhcp:{tag}" for tag in ("one", "other")]
THE_MACHINES_OWN = {"lo", BRIDGE, "uplink"}
LIVE_RESTORE = {"live-restore": True}
NO_LIVE_RESTORE = {"live-restore": False}
LOSING = {"RELEASE", "NAK", "DECLINE"}
SILENT = "/run/silent"  # where a plugin that is told so looks for the engine's socket
API_LIMIT = 30.0  # seconds, with a server that does not answer


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """The network, its DHCP server for both families, an engine and a registry."""
    with Lab.temporary("recovery") as lab:
        lab.network.serve_ipv6()
        lab.dhcp.restart(SERVER)
        lab.registry.start()
        yield lab


@pytest.fixture(scope="module")
def plugin(lab: Lab) -> Plugin:
    """The old version, installed from the registry, where this one is twice: equal but for the digests."""
    docker = lab.engine.docker
    for reference in (OLD, *PUBLISHED):
        create(docker, reference, BEFORE if reference == OLD else PLUGIN)
        docker("plugin", "push", reference)
        docker("plugin", "rm", reference)
    docker("plugin", "install", "--grant-all-permissions", "--alias", NAME, OLD)
    return Plugin.installed(lab.engine, NAME)


@pytest.fixture
def old_fleet(lab: Lab, plugin: Plugin) -> Iterator[Fleet]:
    """Ten running containers on the version of before."""
    yield from _launched(lab, plugin, dual=False)


@pytest.fixture(scope="module")
def fleet(lab: Lab, plugin: Plugin) -> Iterator[Fleet]:
    """Ten running containers with both families, on this version."""
    if _version(plugin) == OLD:
        _upgrade(plugin)
    yield from _launched(lab, plugin, dual=True)


def _launched(lab: Lab, plugin: Plugin, *, dual: bool) -> Iterator[Fleet]:
    """When they have gone, nothing of them is left on the machine or at the server."""
    before = lab.network.links()
    fleet = Fleet.launch(lab, plugin, dual=dual)
    yield fleet
    fleet.sink()
    wait_until(lambda: [*lab.dhcp.leases(), *lab.dhcp.leases6()] == [], "the end of the containers' leases")
    wait_until(lambda: lab.network.links() <= before, "the end of the containers' links")


def _version(plugin: Plugin) -> str:
    return plugin.docker("plugin", "inspect", "--format", "{{.PluginReference}}", plugin.name)


def _supervisor_killed(fleet: Fleet) -> None:
    kill_supervisor(fleet.plugin)


def _all_processes_killed(fleet: Fleet) -> None:
    killed = fleet.plugin.processes()
    for process in killed:
        process.kill(SIGKILL)
    wait_until(lambda: not set(killed) & set(fleet.plugin.processes()), "the end of all processes")


def _plugin_disabled_and_enabled(fleet: Fleet) -> None:
    fleet.docker("plugin", "disable", "--force", fleet.plugin.name)
    fleet.docker("plugin", "enable", fleet.plugin.name)


def _plugin_upgraded(fleet: Fleet) -> None:
    _upgrade(fleet.plugin)


def _upgrade(plugin: Plugin) -> None:
    """To this version, and to the same under another digest the next time."""
    other = PUBLISHED[_version(plugin) == PUBLISHED[0]]
    plugin.docker("plugin", "disable", "--force", plugin.name)
    plugin.docker("plugin", "upgrade", "--grant-all-permissions", "--skip-remote-check", plugin.name, other)
    plugin.docker("plugin", "enable", plugin.name)


def _dockerd_stopped(fleet: Fleet) -> None:
    fleet.lab.engine.terminate()
    fleet.lab.engine.start()


def _dockerd_killed(fleet: Fleet) -> None:
    fleet.lab.engine.kill()
    fleet.lab.engine.start()


def _dockerd_stopped_live(fleet: Fleet) -> None:
    """Renewals go on while it is away."""
    fleet.lab.engine.reload(LIVE_RESTORE)
    fleet.lab.engine.terminate()
    fleet.renew()
    fleet.lab.engine.start(LIVE_RESTORE)
    fleet.lab.engine.reload(NO_LIVE_RESTORE)


def _dockerd_killed_live(fleet: Fleet) -> None:
    """Renewals go on while it is away."""
    fleet.lab.engine.reload(LIVE_RESTORE)
    fleet.lab.engine.kill()
    fleet.renew()
    fleet.lab.engine.start(LIVE_RESTORE)
    fleet.lab.engine.reload(NO_LIVE_RESTORE)


def _reboot(fleet: Fleet) -> None:
    _power_failure(fleet.lab)
    fleet.lab.engine.start()


def _power_failure(lab: Lab) -> None:
    """As near as a process comes to it: everything killed, /run empty, no link but the machine's own."""
    lab.engine.crash()
    for link in lab.network.links() - THE_MACHINES_OWN:
        with suppress(CommandFailed):  # its other end was in a sandbox that was just going
            lab.network.on_host("ip", "link", "delete", link)
    assert lab.network.links() == THE_MACHINES_OWN


class Ending(Enum):
    """What ends over it: with the plugin's processes each lease is asked for anew."""

    NOTHING = auto()
    PLUGIN = auto()
    CONTAINERS = auto()


# Whoever takes a lease over renews it without udhcpc, which is what the first two ask for a renewal.
EVENTS: dict[str, tuple[Callable[[Fleet], None], Ending]] = {
    "dockerd stopped, live-restore": (_dockerd_stopped_live, Ending.NOTHING),
    "dockerd killed, live-restore": (_dockerd_killed_live, Ending.NOTHING),
    "supervisor killed": (_supervisor_killed, Ending.PLUGIN),
    "all processes of the plugin killed": (_all_processes_killed, Ending.PLUGIN),
    "plugin disabled and enabled": (_plugin_disabled_and_enabled, Ending.PLUGIN),
    "plugin upgraded": (_plugin_upgraded, Ending.PLUGIN),
    "dockerd stopped": (_dockerd_stopped, Ending.CONTAINERS),
    "dockerd killed": (_dockerd_killed, Ending.CONTAINERS),
    "reboot": (_reboot, Ending.CONTAINERS),
}


@pytest.mark.timeout(400)
def test_upgrade_from_a_version_of_before(old_fleet: Fleet) -> None:
    """Ten containers keep MAC, address and lease over it, and stay the same machines when restarted."""
    assert _version(old_fleet.plugin) == OLD
    before, seen = old_fleet.places(), old_fleet.seen()
    _plugin_upgraded(old_fleet)
    old_fleet.settle(seen)
    old_fleet.assert_nothing_lost(before, seen, stopped=set(), renewed=set())
    assert old_fleet.plugin.get("/healthz")[1]["problems"] == []

    old_fleet.docker("restart", "--time=0", *old_fleet.containers)
    old_fleet.assert_places(before)


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.timeout(400 + 60 * ROUNDS)
def test_nothing_is_lost(event: str, fleet: Fleet) -> None:
    """Ten containers keep MAC and both addresses, their leases are renewed at the server, and none is released but by
    those that the engine stops for good."""
    happen, ending = EVENTS[event]
    returning = _with_restart_policy(fleet)
    for _ in range(ROUNDS):
        before, seen = fleet.places(), fleet.seen()
        happen(fleet)
        fleet.settle(seen, asked6=ending is not Ending.NOTHING)
        restarted = returning if ending is Ending.CONTAINERS else set()
        stopped = fleet.containers.keys() - returning if ending is Ending.CONTAINERS else set()
        fleet.assert_nothing_lost(before, seen, stopped, restarted)


@pytest.mark.timeout(400)
def test_boot_without_a_server(fleet: Fleet) -> None:
    """Ten containers with `restart: always` start on the leases that they still hold, and the engine answers soon;
    when the server is back it confirms each."""
    fleet.docker("update", "--restart=always", *fleet.containers)
    before = fleet.places()
    fleet.lab.dhcp.stop()
    _power_failure(fleet.lab)
    began = time.monotonic()
    fleet.lab.engine.start()
    assert fleet.running() == fleet.containers.keys()
    assert time.monotonic() - began < API_LIMIT

    seen = fleet.seen()
    fleet.lab.dhcp.start(SERVER)
    fleet.settle(seen, asked6=True)
    fleet.assert_places(before)
    assert not _kinds_since(fleet, seen) & LOSING


@pytest.mark.timeout(400)
def test_boot_before_an_api_that_never_answers(fleet: Fleet) -> None:
    """Twenty containers with `restart: always` come up as themselves where the plugin's calls to the engine are
    accepted and never answered; nobody but the watcher makes any, nor when one is restarted, stopped and started."""
    docker = fleet.docker
    networks = {f"more-{n}": f"--network=name={NETWORK},driver-opt=id=more-{n}" for n in range(10)}
    more = {name: Container.run(docker, name, network) for name, network in networks.items()}
    both = replace(fleet, containers=fleet.containers | more)
    docker("update", "--restart=always", *both.containers)
    before = both.places()
    _look_for_the_engine_in(fleet, SILENT)
    _power_failure(fleet.lab)

    seen, began = fleet.seen(), time.monotonic()
    log = _boot_with_a_silent_api(fleet.lab)
    assert both.running() == both.containers.keys()
    seconds = time.monotonic() - began
    print(f"docker ps shows {len(both.containers)} containers {seconds:.1f} s after dockerd's start")
    assert seconds < API_LIMIT
    both.assert_places(before)
    name = min(fleet.containers)
    docker("restart", "--time=0", name)
    docker("stop", "--time=0", name)
    docker("start", name)
    both.assert_places(before)
    assert not _kinds_since(fleet, seen) & (LOSING - {"RELEASE"})
    assert callers(log) == {"nd-watcher"}

    _look_for_the_engine_in(fleet, "/var/run")
    await_instance(fleet.plugin)
    docker("rm", "--force", *more)


def _kinds_since(fleet: Fleet, seen: Seen) -> set[str]:
    """Of the messages of both families."""
    server = fleet.lab.dhcp
    return {m.kind for m in server.messages()[seen.ipv4 :]} | {m.kind for m in server.messages6()[seen.ipv6 :]}


def _look_for_the_engine_in(fleet: Fleet, directory: str) -> None:
    docker, name = fleet.docker, fleet.plugin.name
    docker("plugin", "disable", "--force", name)
    docker("plugin", "set", name, f"engine.source={directory}")
    _silent_directory(fleet.lab).mkdir(exist_ok=True)
    docker("plugin", "enable", name)


def _silent_directory(lab: Lab) -> Path:
    return lab.engine.run_directory / Path(SILENT).relative_to("/run")


def _boot_with_a_silent_api(lab: Lab) -> Path:
    """In dockerd's mount namespace and under its name, so that the plugin takes it for dockerd; gives its log."""
    log = lab.directory / "silent.log"
    _silent_directory(lab).mkdir(parents=True)
    with ThreadPoolExecutor(1) as pool:
        booting = pool.submit(lab.engine.start)
        wait_until(lambda: lab.engine.process and lab.engine.process.name == "dockerd", "dockerd")
        assert lab.engine.process is not None
        program = ["env", f"--chdir={REPOSITORY}", sys.executable, "-m", "tests.netns.process.fakeengine"]
        spawn([*program, f"{SILENT}/docker.sock", f"/proc/{lab.engine.process.pid}/ns/mnt"], log)
        booting.result()
    return log


def _with_restart_policy(fleet: Fleet) -> set[str]:
    """The containers that the engine starts again by itself."""
    return {
        name
        for name, container in fleet.containers.items()
        if container.inspect()["HostConfig"]["RestartPolicy"]["Name"] == "always"
    }
