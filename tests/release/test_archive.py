"""Archives that are the same for the same content."""

import os
import tarfile
from pathlib import Path

from release import archive

TIME = 1_700_000_000


def _tree(directory: Path, names: list[str]) -> Path:
    directory.mkdir()
    for name in names:
        (directory / name).write_text(name)
        os.utime(directory / name, (0, len(list(directory.iterdir()))))
    (directory / "empty").mkdir()
    (directory / "link").symlink_to("two")
    (directory / "run").write_text("#!/bin/sh\n")
    (directory / "run").chmod(0o4755)
    return directory


def test_one_content_one_archive(tmp_path: Path) -> None:
    """Neither the order in which files were made, nor their times, nor the archive's name is in it."""
    trees = [_tree(tmp_path / "a", ["one", "two", "three"]), _tree(tmp_path / "b", ["three", "two", "one"])]
    for number, tree in enumerate(trees):
        archive.write(tmp_path / f"{number}.tar.gz", {"net-dhcp": tree}, TIME)
    assert (tmp_path / "0.tar.gz").read_bytes() == (tmp_path / "1.tar.gz").read_bytes()


def test_what_a_plugin_needs_is_kept(tmp_path: Path) -> None:
    """Modes, links and empty directories are those of the tree; owner and time are the same for all."""
    archive.write(tmp_path / "x.tar.gz", {"net-dhcp": _tree(tmp_path / "tree", ["one", "two"])}, TIME)
    with tarfile.open(tmp_path / "x.tar.gz") as tar:
        members = {member.name: member for member in tar}
    assert sorted(members) == ["net-dhcp", *(f"net-dhcp/{name}" for name in ("empty", "link", "one", "run", "two"))]
    assert members["net-dhcp/run"].mode == 0o4755
    assert members["net-dhcp/link"].linkname == "two"
    assert members["net-dhcp/empty"].isdir()
    assert {(member.mtime, member.uid, member.gid) for member in members.values()} == {(TIME, 0, 0)}
