"""Whom a boot may mix up, by the engine's files: the one verdict of `doctor`, `pin`, `/healthz` and the page."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from supervisor.engine.facts import EngineConnected
from supervisor.engine.identity import MOST_LIKE, Alike, Identifier
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


def _names(docker: DockerFiles, network: str = LAN) -> list[str]:
    return [one.name for one in Identifier(docker.engine).mixed_up_at_boot(network)]


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
def test_verdict(make: Make, config: dict[str, Any], host: dict[str, Any], driver: str, names: list[str]) -> None:
    """The containers that may get fresh MAC addresses, of `db` and of `web`, which publishes a port."""
    docker = make(driver)
    docker.configure(WEB, "web", ports=("80/tcp",))
    docker.configure_host(WEB, policy="always", published=WEB_PORT)
    docker.configure(DATABASE, "db", **{"ports": ("80/tcp",), **config})
    docker.configure_host(DATABASE, **{"policy": "always", "published": WEB_PORT, **host})
    docker.start("27.5.1")
    assert _names(docker) == names


@pytest.mark.parametrize(("version", "names"), [("28.5.2", []), ("29.7.1", ["db", "web"])])
def test_by_release(make: Make, version: str, names: list[str]) -> None:
    """Exposed ports tell containers apart only for an engine that sends them."""
    docker = make("overlay2")
    for container, name, port in ((WEB, "web", "80/tcp"), (DATABASE, "db", "443/tcp")):
        docker.configure(container, name, ports=(port,))
        docker.configure_host(container, policy="always", published={})
    docker.start(version)
    assert _names(docker) == names


def test_whom_it_is_like(make: Make) -> None:
    """Each names those that its request may mean: a request for a container without name servers has the daemon's. Of
    many alike ones it names some, and says that there are more."""
    docker = make("overlay2")
    docker.configure(WEB, "web")
    docker.configure_host(WEB, policy="always")
    docker.configure(DATABASE, "db")
    docker.configure_host(DATABASE, policy="always", dns=("192.0.2.1",))
    docker.start()
    identifier = Identifier(docker.engine)
    assert identifier.mixed_up_at_boot(LAN) == [Alike(DATABASE, "db", ("web",), False)]
    for number in range(MOST_LIKE):
        container = f"{number:064x}"
        docker.configure(container, f"x{number}")
        docker.configure_host(container, policy="always")
    found = {one.name: one for one in identifier.mixed_up_at_boot(LAN)}
    names = tuple(f"x{number}" for number in range(MOST_LIKE))
    assert (found["web"].like, found["web"].more) == (names, False)
    assert (found["db"].like, found["db"].more) == (("web", *names[:-1]), True)


def test_by_network(make: Make) -> None:
    """Only containers of the same network count, and whether they run or not."""
    docker = make("overlay2")
    for container, name, network in ((WEB, "web", "lan"), (DATABASE, "db", "lan"), (MAIL, "mail", "office")):
        docker.configure(container, name, network=network, running=name == "db")
        docker.configure_host(container, policy="always", first_network=network)
    docker.start()
    assert (_names(docker), _names(docker, OFFICE)) == (["db", "web"], [])


@pytest.mark.parametrize("driver", ["", "btrfs"])
def test_another_storage_driver(make: Make, driver: str) -> None:
    """An engine does not show the containers of another storage driver, and nothing is said before it is known."""
    docker = make("overlay2")
    for container, name in ((WEB, "web"), (DATABASE, "db")):
        docker.configure(container, name)
        docker.configure_host(container, policy="always")
    docker.start()
    assert _names(docker) == ["db", "web"]
    docker.engine.learn(EngineConnected(str(docker.root), driver))
    assert _names(docker) == []
