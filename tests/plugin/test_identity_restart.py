"""A container is the same machine on the LAN after each restart, and never another one: by its MAC and address."""

import os
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from ipaddress import IPv4Interface
from pathlib import Path

import pytest

from tests.lab.command import CommandFailed, wait_until
from tests.lab.compose import Compose
from tests.lab.containers import Container
from tests.lab.dhcp import Message
from tests.lab.engine import Docker
from tests.lab.images import BUSYBOX
from tests.lab.lab import Lab
from tests.lab.plugin import Plugin
from tests.plugin.conftest import Run
from tests.plugin.crash import kill_supervisor
from tests.plugin.judge import assert_leased

RESTARTS = int(os.environ.get("RESTARTS", "5"))
ROUNDS = int(os.environ.get("ROUNDS", "3"))
SECONDS_EACH = 10  # of a restart on a busy machine
KILL_EVERY = 4
FORGETS_NETWORKS = 29  # the release from which a start that breaks off costs a container its network (docs/engines.md)
SERVICES = 8
MARKS = ("nothing", "id", "port", "id")  # of every fourth service
Place = tuple[str, IPv4Interface | None]
PROJECT = """
services:
  one: {{image: {image}, networks: [lan]}}
  two: {{image: {image}, networks: [lan]}}
  three: {{image: {image}, networks: [lan]}}
networks:
  lan: {{external: true, name: {network}}}
"""


@pytest.mark.timeout(300 + SECONDS_EACH * RESTARTS)
def test_restart_by_restart(run: Run, plugin: Plugin, lab: Lab, network: str) -> None:
    """`docker restart` again and again, a plugin that dies in between, `docker stop` and `start`: one MAC, one address,
    and one RELEASE for each stop."""
    container = run()
    place = _place(container, network, lab)
    for number in range(1, RESTARTS + 1):
        container.restart()
        assert _place(container, network, lab) == place
        if number % KILL_EVERY == 0:
            kill_supervisor(plugin)
    container.stop()
    container.start()
    assert _place(container, network, lab) == place
    assert len(lab.dhcp.messages(place[0], "RELEASE")) == RESTARTS + 1


def _await_message(lab: Lab, place: Place, heard: list[Message]) -> None:
    wait_until(lambda: lab.dhcp.messages(place[0]) != heard, "the container's next message")


def test_connected_during_a_start(docker: Docker, plugin: Plugin, lab: Lab, network: str) -> None:
    """While a container starts, a running one is connected with the same `id`: it is told whose that is, and the start
    goes on."""
    guest = Container.run(docker, "guest", "--network=none")
    docker("network", "disconnect", "none", guest.name)
    web = Container.run(docker, "web", f"--network=name={network},driver-opt=id=web")
    place = _place(web, network, lab)
    try:
        for _ in range(ROUNDS):
            web.stop()
            heard = lab.dhcp.messages(place[0])
            with ThreadPoolExecutor(1) as pool:
                start = pool.submit(web.start)
                _await_message(lab, place, heard)
                with pytest.raises(CommandFailed, match="'web' is in use on this network, by container web"):
                    docker("network", "connect", "--driver-opt=id=web", network, guest.name)
                start.result()
            assert _place(web, network, lab) == place
    finally:
        for container in (web, guest):
            container.remove()


@pytest.fixture
def compose(docker: Docker, network: str, tmp_path: Path) -> Iterator[Compose]:
    """A project of three services of one image; removed after the test."""
    project = Compose.project(docker, tmp_path / "alike", PROJECT.format(image=BUSYBOX, network=network))
    yield project
    project("down", "--timeout", "1")


def test_compose_restart_one_by_one(compose: Compose, plugin: Plugin, lab: Lab, network: str) -> None:
    """Services of one image that are restarted one after another keep MAC and address, also by a plugin that died."""
    compose("up", "--detach")
    containers = {
        name: Container(lab.engine.docker, compose("ps", "--quiet", name)) for name in ("one", "two", "three")
    }
    places = {name: _place(container, network, lab) for name, container in containers.items()}
    for name in containers:
        compose("restart", "--timeout", "1", name)
        kill_supervisor(plugin)
    assert {name: _place(container, network, lab) for name, container in containers.items()} == places


@dataclass(slots=True)
class Owners:
    """Who has had which MAC; `kept` counts, of each kind, who had the same MAC, and MAC and address, as before."""

    first: dict[str, str] = field(default_factory=dict)
    kept: dict[str, list[tuple[bool, bool]]] = field(default_factory=lambda: {mark: [] for mark in MARKS})

    def see(self, name: str, mac: str) -> None:
        """Fails where the MAC was another one's."""
        assert self.first.setdefault(mac, name) == name, f"{name} has the MAC of {self.first[mac]}"

    def summary(self) -> str:
        """One line."""
        return "; ".join(
            f"{kind}: {sum(mac for mac, _ in kept)} of {len(kept)} kept their MAC, "
            f"{sum(both for _, both in kept)} the address as well"
            for kind, kept in self.kept.items()
        )


@pytest.fixture
def services(docker: Docker, network: str) -> Iterator[dict[str, Container]]:
    """Eight containers of one image; every second one has an id, every fourth one publishes a port of its own."""
    started: dict[str, Container] = {}
    for number in range(SERVICES):
        name = f"service-{number}"
        option = f"name={network},driver-opt=id={name}" if _mark(name) == "id" else network
        ports = [f"--publish={9000 + number}:80"] if _mark(name) == "port" else []
        started[name] = Container.run(docker, name, f"--network={option}", *ports)
    yield started
    docker("rm", "--force", *started)


@pytest.mark.timeout(300 + 6 * SECONDS_EACH * ROUNDS)
def test_restarted_all_at_once(
    services: dict[str, Container],
    plugin: Plugin,
    lab: Lab,
    network: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Eight like containers restarted at the same moment, every second time with a plugin that dies over it: nobody
    gets another's MAC, and whoever has an id or a published port of its own keeps its own for ever."""
    owners = Owners()
    before = {name: _place(container, network, lab) for name, container in services.items()}
    for number in range(ROUNDS):
        with ThreadPoolExecutor(SERVICES + 1) as pool:
            restarts = {pool.submit(container.restart): container for container in services.values()}
            if number % 2:
                wait(restarts, return_when=FIRST_COMPLETED)
                kill_supervisor(plugin)
            failed = [container for restart, container in restarts.items() if restart.exception()]
            assert not failed or number % 2, [restart.exception() for restart in restarts]
        for container in failed:  # the plugin died over its start, and is back: once more, and it must succeed
            _give_back(container, network)
            container.start()
        after = {name: _place(container, network, lab) for name, container in services.items()}
        for name, (mac, _) in {**before, **after}.items():
            owners.see(name, mac)
        _count(owners, before, after)
        before = after
    with capsys.disabled():
        print(f" {ROUNDS} rounds of {SERVICES}: {owners.summary()} ", end="")
    assert all(mac for mac, _ in owners.kept["id"] + owners.kept["port"])


def _give_back(container: Container, network: str) -> None:
    """To a container whose start broke off the network that the engine has forgotten."""
    if (
        container.docker.release >= FORGETS_NETWORKS
        and network not in container.inspect()["NetworkSettings"]["Networks"]
    ):
        option = ("--driver-opt", f"id={container.name}") if _mark(container.name) == "id" else ()
        container.docker("network", "connect", *option, network, container.name)


def _mark(name: str) -> str:
    """What tells this service from the others."""
    return MARKS[int(name.rpartition("-")[2]) % len(MARKS)]


def _count(owners: Owners, before: dict[str, Place], after: dict[str, Place]) -> None:
    for name, place in after.items():
        owners.kept[_mark(name)].append((place[0] == before[name][0], place == before[name]))


def _place(container: Container, network: str, lab: Lab) -> Place:
    attachment = assert_leased(container, network, lab.dhcp)
    return attachment.mac, attachment.address
