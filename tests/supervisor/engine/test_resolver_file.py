"""Where a container's resolv.conf is, and whether it may be changed, as the engine's files say."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.engine.facts import Engine
from supervisor.engine.mounted_roots import MountedRoots
from tests.supervisor.dockerfiles import WEB, DockerFiles
from workers.contract.messages import UseResolver


@pytest.fixture(name="docker")
def _docker(tmp_path: Path) -> Iterator[DockerFiles]:
    """A container."""
    docker = DockerFiles(tmp_path)
    docker.configure(WEB, "web")
    docker.configure_host(WEB)
    docker.start()
    yield docker
    docker.stop()


def found(docker: DockerFiles) -> UseResolver | None:
    """As the worker is told."""
    return MountedRoots(docker.engine).resolver_of(WEB)


def test_file(docker: DockerFiles) -> None:
    """The one in the container's directory, as this process can open it."""
    seen = found(docker)

    assert seen is not None
    assert seen.search
    assert Path(seen.path).name == "resolv.conf"
    assert Path(seen.path).parent.samefile(docker.root / "containers" / WEB)


def test_users_choice(docker: DockerFiles) -> None:
    """Servers or a file of the user's own are left alone; with a search list of the user's own only that is."""
    docker.configure_host(WEB, dns_search=("office.example",))
    seen = found(docker)
    assert seen is not None
    assert not seen.search
    docker.configure_host(WEB, dns=("192.0.2.7",))
    assert found(docker) is None
    docker.configure_host(WEB)
    docker.configure(WEB, "web", mounts=("/data", "/etc/resolv.conf"))
    assert found(docker) is None


def test_unknown(docker: DockerFiles) -> None:
    """Without a way to the engine's files, or without the container's, nothing can be done."""
    assert MountedRoots(Engine()).resolver_of(WEB) is None
    assert MountedRoots(docker.engine).resolver_of("f" * 64) is None
