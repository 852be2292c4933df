"""The containers that are mounted: with what their files say now, read as seldom as that allows."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import supervisor.engine.mounted_roots
from supervisor.engine.container_files import Configuration, read_configuration
from supervisor.engine.facts import Engine
from supervisor.engine.mounted_roots import MountedRoots
from tests.supervisor.dockerfiles import DATABASE, MAIL, WEB, DockerFiles


@pytest.fixture(name="docker")
def _docker(tmp_path: Path) -> Iterator[DockerFiles]:
    """Two that are mounted, one by each store, and one that is not."""
    docker = DockerFiles(tmp_path)
    docker.mount("m1")
    docker.know(WEB, "m1")
    docker.mount_by_containerd(DATABASE)
    docker.know(MAIL, "m2")
    for container, name in ((WEB, "web"), (DATABASE, "db"), (MAIL, "mail")):
        docker.configure(container, name)
    docker.start()
    yield docker
    docker.stop()


@pytest.fixture(name="read")
def _read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of all whose configuration was read."""
    read: list[str] = []

    def reader(directory: Path) -> Configuration | None:
        read.append(directory.name)
        return read_configuration(directory)

    monkeypatch.setattr(supervisor.engine.mounted_roots, "read_configuration", reader)
    return read


def names(mounted: MountedRoots, but: frozenset[str] = frozenset()) -> set[str]:
    """Of the containers that are found."""
    return {found.identity.name for found in mounted.configurations(but=but)}


def test_both_stores(docker: DockerFiles) -> None:
    """A container is found whichever store has mounted it, and not where neither has."""
    assert names(MountedRoots(docker.engine)) == {"web", "db"}


def test_read_once(docker: DockerFiles, read: list[str]) -> None:
    """What has not changed is not read again, and of those that are left out nothing is."""
    mounted = MountedRoots(docker.engine)
    assert [names(mounted, frozenset({WEB})) for _ in range(3)] == [{"db"}] * 3
    assert read == [DATABASE]


def test_what_has_changed(docker: DockerFiles) -> None:
    """Another file of the same size, put there at once, is noticed, and so is the end of it."""
    mounted = MountedRoots(docker.engine)
    for number in range(100):
        docker.configure(WEB, f"w{number:02}")
        assert names(mounted) == {f"w{number:02}", "db"}
    (docker.root / "containers" / WEB / "config.v2.json").unlink()
    assert names(mounted) == {"db"}


def test_what_could_not_be_read(docker: DockerFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """A configuration that is there, but could not be read, is tried again: to miss one is to take another for it."""
    mounted = MountedRoots(docker.engine)
    with monkeypatch.context() as patched:
        patched.setattr(supervisor.engine.mounted_roots, "read_configuration", lambda _: None)
        assert names(mounted) == set()
    assert names(mounted) == {"web", "db"}


def test_host_configuration(docker: DockerFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read as seldom."""
    mounted = MountedRoots(docker.engine)
    assert mounted.host_configuration(WEB) is None
    docker.configure_host(WEB, policy="no")
    first = mounted.host_configuration(WEB)
    docker.configure_host(WEB, policy="always")
    second = mounted.host_configuration(WEB)
    assert first
    assert second
    assert (first.restart_policy, second.restart_policy) == ("no", "always")
    monkeypatch.setattr(supervisor.engine.mounted_roots, "read_host_configuration", lambda _: None)
    assert mounted.host_configuration(WEB) == second


def test_a_name_that_was_read(docker: DockerFiles, read: list[str]) -> None:
    """To find it again nothing else is looked at."""
    mounted = MountedRoots(docker.engine)
    assert len(names(mounted)) == 2
    docker.configure(WEB, "shop")
    docker.configure(DATABASE, "database")
    read.clear()
    found = mounted.named("web")
    assert found is None
    assert sorted(read) == [WEB, DATABASE]
    docker.configure(WEB, "web")
    read.clear()
    found = mounted.named("database")
    assert found
    assert found.identity.id == DATABASE
    assert read == []


def test_without_an_engine() -> None:
    """Nothing is found before dockerd is."""
    mounted = MountedRoots(Engine())
    assert (mounted.configuration(WEB), mounted.host_configuration(WEB), names(mounted)) == (None, None, set())


def test_mount_id_is_kept(docker: DockerFiles) -> None:
    """Which mount is whose never changes: it is read once."""
    mounted = MountedRoots(docker.engine)
    names(mounted)
    shutil.rmtree(docker.mounts)
    assert names(mounted) == {"web", "db"}
    assert names(MountedRoots(docker.engine)) == {"db"}


def test_removed(docker: DockerFiles) -> None:
    """Nothing is kept of a container that is gone."""
    mounted = MountedRoots(docker.engine)
    names(mounted)
    shutil.rmtree(docker.root / "containers" / WEB)
    shutil.rmtree(docker.mounts / WEB)
    assert names(mounted) == {"db"}
    assert mounted.since(WEB) is None


@pytest.mark.parametrize("driver", ["fuse-overlayfs", "zfs"])
def test_other_drivers(tmp_path: Path, driver: str) -> None:
    """Each of them mounts at a place of its own, and at another one for containerd's image store. Both are known also
    while the engine has not named its driver."""
    docker = DockerFiles(tmp_path, driver)
    docker.configure(DATABASE, "db")
    docker.mount_by_containerd(DATABASE, driver)
    for number, container in enumerate((WEB, MAIL)):
        docker.know(container, f"{number}" * 64)
        docker.configure(container, f"c{number}")
    docker.mount("0" * 64)
    docker.start()
    assert names(MountedRoots(docker.engine)) == {"c0", "db"}
    docker.engine.storage_driver = ""
    assert names(MountedRoots(docker.engine)) == {"c0", "db"}
    docker.stop()
