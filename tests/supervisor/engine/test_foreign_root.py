"""Another process's paths, found without leaving its root."""

import os
from pathlib import Path

import pytest

from supervisor.engine.foreign_root import read_regular, resolve


@pytest.fixture(name="root")
def _root(tmp_path: Path) -> Path:
    """A root with the links that a Linux system has, and some that lead out of it."""
    root = tmp_path / "root"
    (root / "run" / "docker").mkdir(parents=True)
    (root / "var").mkdir()
    (root / "var" / "run").symlink_to("/run")
    (root / "var" / "relative").symlink_to("../run")
    (root / "var" / "out").symlink_to("../../../../run")
    (root / "var" / "chain").symlink_to("/var/run/docker")
    (root / "var" / "loop").symlink_to("/var/loop")
    return root


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/run/docker/netns/1", "run/docker/netns/1"),
        ("/var/run/docker", "run/docker"),
        ("/var/relative/docker", "run/docker"),
        ("/var/out/docker", "run/docker"),
        ("/var/chain/netns", "run/docker/netns"),
        ("/../../run", "run"),
        ("/run/../var/run/docker", "run/docker"),
        ("/not/there/../here", "not/here"),
        ("run/docker", "run/docker"),
        ("/", "."),
    ],
)
def test_resolve(root: Path, path: str, expected: str) -> None:
    """Links, absolute and relative, are followed inside of the root; nothing leads out of it."""
    assert resolve(root, path) == root / expected


def test_loop(root: Path) -> None:
    """A link to itself is an error, as it is to the kernel."""
    with pytest.raises(OSError, match="/var/loop"):
        resolve(root, "/var/loop/x")


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    """A FIFO, of which a reader would wait for ever, a link and a device are errors."""
    regular, fifo, link = (tmp_path / name for name in ("regular", "fifo", "link"))
    regular.write_bytes(b"content")
    os.mkfifo(fifo)
    link.symlink_to(regular)
    assert read_regular(regular) == b"content"
    for path in (fifo, link, Path("/dev/null")):
        with pytest.raises(OSError, match=r"no regular file|symbolic links"):
            read_regular(path)
