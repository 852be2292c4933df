"""Whom a boot may mix up, by the engine's files. `net-dhcp pin` judges alike by what the engine shows of them."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.pins.places import mixed_up, places
from supervisor.engine.facts import EngineConnected
from supervisor.engine.identity import Identifier
from tests.supervisor.dockerfiles import DATABASE, LAN, MAIL, OFFICE, WEB, DockerFiles

MAC = "02:11:22:aa:bb:cc"
WEB_PORT: dict[str, tuple[str, ...]] = {"80/tcp": ("8080",)}
Make = Callable[[str], DockerFiles]


@pytest.fixture(name="make")
def _make(tmp_path: Path) -> Iterator[Make]:
    made: list[DockerFiles] = []

    def make(driver: str = "overlay2") -> DockerFiles:
        made.append(DockerFiles(tmp_path, driver))
        return made[-1]

    yield make
    for docker in made:
        docker.stop()


def _shown(docker: DockerFiles, container_id: str) -> dict[str, Any]:
    """What `docker inspect` makes of the files of a container that does not run."""
    directory = docker.root / "containers" / container_id
    config, host = (json.loads((directory / name).read_text()) for name in ("config.v2.json", "hostconfig.json"))
    attached = config["NetworkSettings"]["Networks"]
    for settings in attached.values():
        settings["MacAddress"] = settings["DesiredMacAddress"]
    return {**config, "Id": config["ID"], "HostConfig": host}


@pytest.mark.parametrize(
    ("config", "host", "driver", "names"),
    [
        ({}, {}, "overlay2", ["db", "web"]),
        ({}, {"policy": "on-failure"}, "overlayfs", ["db", "web"]),
        ({"chosen_id": "x"}, {}, "overlay2", []),
        ({"mac": MAC}, {}, "overlay2", []),
        ({"mac": MAC}, {"first_network": "office"}, "overlay2", ["db", "web"]),
        ({"mac_here": MAC}, {}, "overlay2", []),
        ({"network": "office"}, {}, "overlay2", []),
        ({"ports": ("443/tcp",)}, {}, "overlay2", []),
        ({"ports": ("443/tcp",)}, {"first_network": "office"}, "overlay2", ["db"]),
        ({}, {"first_network": LAN}, "overlay2", ["db", "web"]),
        ({}, {"published": {"80/tcp": ("81",)}}, "overlay2", []),
        ({}, {"published": {}}, "overlay2", ["db"]),
        ({}, {"publishes_all": True}, "overlay2", ["db", "web"]),
        ({}, {"dns": ("192.0.2.1",)}, "overlay2", ["db"]),
        ({}, {"policy": "no"}, "overlay2", []),
        ({}, {"policy": "no"}, "vfs", ["web"]),
        ({"mac": MAC}, {"policy": "no"}, "vfs", []),
    ],
)
def test_same_verdict(make: Make, config: dict[str, Any], host: dict[str, Any], driver: str, names: list[str]) -> None:
    """The plugin and `net-dhcp pin` name the same containers beside `web`, which publishes a port."""
    docker = make(driver)
    docker.configure(WEB, "web", ports=("80/tcp",))
    docker.configure_host(WEB, policy="always", published=WEB_PORT)
    docker.configure(DATABASE, "db", **{"ports": ("80/tcp",), **config})
    docker.configure_host(DATABASE, **{"policy": "always", "published": WEB_PORT, **host})
    docker.start("27.5.1")
    assert Identifier(docker.engine).mixed_up_at_boot(LAN) == names

    shown = [_shown(docker, container) for container in (WEB, DATABASE)]
    found = mixed_up(places(shown, [{"Id": LAN, "Name": "lan"}]), driver)
    assert sorted(place.name for place in found) == names


def test_by_network(make: Make) -> None:
    """Only containers of the same network count, and whether they run or not."""
    docker = make("overlay2")
    for container, name, network in ((WEB, "web", "lan"), (DATABASE, "db", "lan"), (MAIL, "mail", "office")):
        docker.configure(container, name, network=network, running=name == "db")
        docker.configure_host(container, policy="always", first_network=network)
    docker.start()
    identifier = Identifier(docker.engine)
    assert (identifier.mixed_up_at_boot(LAN), identifier.mixed_up_at_boot(OFFICE)) == (["db", "web"], [])


@pytest.mark.parametrize("driver", ["", "btrfs"])
def test_another_storage_driver(make: Make, driver: str) -> None:
    """An engine does not show the containers of another storage driver, and nothing is said before it is known."""
    docker = make("overlay2")
    for container, name in ((WEB, "web"), (DATABASE, "db")):
        docker.configure(container, name)
        docker.configure_host(container, policy="always")
    docker.start()
    assert Identifier(docker.engine).mixed_up_at_boot(LAN) == ["db", "web"]
    docker.engine.learn(EngineConnected(str(docker.root), driver))
    assert Identifier(docker.engine).mixed_up_at_boot(LAN) == []
