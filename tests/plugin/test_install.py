"""How the plugin comes into an engine: `make install`, and from a registry, as users get it."""

import os
from collections.abc import Iterator

import pytest

from tests.lab.build import ROOT
from tests.lab.command import CommandFailed, run, wait_until
from tests.lab.containers import Container
from tests.lab.engine import Docker
from tests.lab.lab import Lab
from tests.lab.plugin import Plugin
from tests.lab.registry import ADDRESS, Registry
from tests.plugin.conftest import create_network
from tests.plugin.crash import await_instance
from tests.plugin.judge import assert_leased, assert_released, await_client

pytestmark = pytest.mark.usefixtures("no_leaks")

MADE = "net-dhcp:made"
PUBLISHED = f"{ADDRESS}/net-dhcp:published"
NETWORK = "installed"
DEBUG = "level=debug"


@pytest.fixture
def registry(lab: Lab) -> Iterator[Registry]:
    """Running, empty."""
    lab.registry.start()
    yield lab.registry
    lab.registry.stop()


@pytest.fixture
def installed(docker: Docker) -> Iterator[None]:
    """Removes, after the test, what it has made."""
    yield
    present = docker("plugin", "ls", "--format", "{{.Name}}").splitlines()
    for name in {MADE, PUBLISHED}.intersection(present):
        docker("plugin", "rm", "--force", name)


def _make(docker: Docker, target: str, name: str) -> None:
    """`make` for the laboratory's engine."""
    assert docker.host is not None
    run("make", "-C", ROOT, target, f"NAME={name}", env=os.environ | {"DOCKER_HOST": docker.host})


def _assert_works(lab: Lab, plugin: Plugin) -> None:
    """A network of it, a container on that, its lease, its client in the sandbox, the lease's end."""
    create_network(plugin, NETWORK)
    container = Container.run(lab.engine.docker, "on-installed", f"--network={NETWORK}")
    try:
        attachment = assert_leased(container, NETWORK, lab.dhcp)
        await_client(plugin, attachment)
    finally:
        container.remove()
        lab.engine.docker("network", "rm", NETWORK)
    assert_released(lab.dhcp, attachment.mac)


def _assert_outlives_its_plugin(lab: Lab, plugin: Plugin) -> None:
    """A container keeps its lease when the plugin is removed by force and installed again, which learns of it and its
    network from the engine; another one starts there; a restart gives the first one the same place."""
    docker = lab.engine.docker
    create_network(plugin, NETWORK)
    containers = [Container.run(docker, "kept", f"--network={NETWORK}")]
    try:
        before = assert_leased(containers[0], NETWORK, lab.dhcp)
        await_client(plugin, before)
        seen = len(lab.dhcp.messages(before.mac))

        plugin.remove()
        docker("plugin", "install", "--grant-all-permissions", PUBLISHED)
        plugin = Plugin.installed(lab.engine, PUBLISHED)
        await_instance(plugin)

        healed = [
            f"network {NETWORK} was lost and learnt from the engine",
            f"container kept on network {NETWORK} was lost and taken over from the engine",
        ]
        wait_until(lambda: plugin.get("/healthz")[1]["healed"] == healed, "the word of what was healed")
        wait_until(lambda: "ACK" in lab.dhcp.kinds(before.mac)[seen:], "a renewal")
        assert set(lab.dhcp.kinds(before.mac)[seen:]) == {"REQUEST", "ACK"}
        assert assert_leased(containers[0], NETWORK, lab.dhcp) == before
        containers.append(Container.run(docker, "new", f"--network={NETWORK}"))
        assert_leased(containers[1], NETWORK, lab.dhcp)
        docker("restart", "--time=0", "kept")
        again = assert_leased(containers[0], NETWORK, lab.dhcp)
        assert (again.mac, again.address) == (before.mac, before.address)
    finally:
        for container in containers:
            container.remove()
        docker("network", "rm", NETWORK)
    assert_released(lab.dhcp, before.mac, 2)


@pytest.mark.usefixtures("installed")
def test_make_install(docker: Docker, lab: Lab) -> None:
    """It works; again, it takes its own place; while a network needs it the engine keeps it, and it says why."""
    _make(docker, "install", MADE)
    first = Plugin.installed(lab.engine, MADE)
    _assert_works(lab, first)

    _make(docker, "install", MADE)
    plugin = Plugin.installed(lab.engine, MADE)
    assert plugin.id != first.id

    create_network(plugin, NETWORK)
    try:
        with pytest.raises(CommandFailed, match="in use"):
            _make(docker, "install", MADE)
    finally:
        docker("network", "rm", NETWORK)
    assert plugin.get("/healthz")[0] == 200


@pytest.mark.usefixtures("installed", "registry")
def test_from_a_registry(docker: Docker, lab: Lab) -> None:
    """Pushed by make, removed here, installed from there; its log level is set as users set it; removed once more below
    a running container and installed again, it goes on with that."""
    _make(docker, "push", PUBLISHED)
    docker("plugin", "rm", PUBLISHED)
    docker("plugin", "install", "--grant-all-permissions", PUBLISHED)
    plugin = Plugin.installed(lab.engine, PUBLISHED)
    _assert_works(lab, plugin)
    assert not any(DEBUG in line for line in plugin.log())

    docker("plugin", "disable", PUBLISHED)
    docker("plugin", "set", PUBLISHED, "LOG_LEVEL=DEBUG")
    docker("plugin", "enable", PUBLISHED)
    _assert_works(lab, plugin)
    wait_until(lambda: any(DEBUG in line for line in plugin.log()), "a line of that level")

    _assert_outlives_its_plugin(lab, plugin)
