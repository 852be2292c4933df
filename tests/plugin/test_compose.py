"""A Compose project with a network of ours, which Compose itself creates."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.compose import Compose
from tests.lab.containers import Container
from tests.lab.engine import Docker
from tests.lab.images import BUSYBOX
from tests.lab.lab import Lab
from tests.lab.network import BRIDGE
from tests.lab.plugin import Plugin
from tests.plugin.judge import assert_found, lookup

PROJECT = """
services:
  web:
    image: {image}
    hostname: web
    networks: [lan]
  worker:
    image: {image}
    networks: [lan]
networks:
  lan:
    driver: {driver}
    driver_opts:
      bridge: {bridge}
    ipam:
      driver: "null"
"""
SERVICES = {"web": "web", "worker": "project-worker-1"}  # without a host name it is the container's name
NETWORK = "project_lan"  # of the directory's name and the network's


@pytest.fixture
def compose(docker: Docker, plugin: Plugin, no_leaks: None, tmp_path: Path) -> Iterator[Compose]:
    """The project; removed after the test."""
    text = PROJECT.format(image=BUSYBOX, driver=plugin.name, bridge=BRIDGE)
    project = Compose.project(docker, tmp_path / "project", text)
    yield project
    project("down", "--timeout", "1")


def test_up_restart_recreate_down(compose: Compose, lab: Lab) -> None:
    """Each service is found on the LAN within 5 s of its start, wherever it has moved; `down` releases everything."""
    seen = len(lab.dhcp.messages(kind="RELEASE"))
    for command in (("up", "--detach"), ("restart",), ("up", "--detach", "--force-recreate")):
        compose(*command)
        for service, name in SERVICES.items():
            (container,) = compose("ps", "--quiet", service).split()
            assert_found(lab, Container(lab.engine.docker, container), NETWORK, name)

    compose("down")
    assert len(lab.dhcp.messages(kind="RELEASE")) == seen + 3 * len(SERVICES)
    assert lab.dhcp.leases() == []
    assert [lookup(lab, name) for name in SERVICES.values()] == ["", ""]
    assert NETWORK not in lab.engine.docker("network", "ls", "--format", "{{.Name}}").splitlines()
