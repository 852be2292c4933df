"""Directories as a .tar.gz that depends on their content alone: sorted, of one time and owner."""

import gzip
import tarfile
from collections.abc import Mapping
from pathlib import Path


def write(target: Path, trees: Mapping[str, Path], time: int) -> None:
    """Pack each tree under its name. All times are `time`, and all owners are root."""

    def plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.mtime = time
        member.uid = member.gid = 0
        member.uname = member.gname = "root"
        return member

    with (
        target.open("wb") as file,
        gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=file, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for name, tree in sorted(trees.items()):
            for path in sorted((tree, *tree.rglob("*"))):
                member = tar.gettarinfo(path, f"{name}/{path.relative_to(tree)}".removesuffix("/."))
                if member.isfile():
                    with path.open("rb") as content:
                        tar.addfile(plain(member), content)
                else:
                    tar.addfile(plain(member))
