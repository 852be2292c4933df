"""The archive's `__main__`: the first lines that run, also on a Python that is too old for all others.

Python does not keep what it compiles out of an archive, which would cost each call a second. So root, for whom the
command is, has the archive unpacked once, in a directory of root's own.
"""

import os
import shutil
import stat
import sys
import tempfile
import time
import zipfile
from pathlib import Path

BUILD = ""  # stands for the archive's contents; set when it is made
CACHE = Path("/var/cache/net-dhcp")
METADATA = "docker-cli-plugin-metadata"
UNUSED_SECONDS = 86_400  # of another version, until it goes


def main() -> None:
    """Docker asks every plugin who it is, so that answer is made before anything else is loaded."""
    if sys.version_info < (3, 11):  # noqa: UP036  (this file is what tells it)
        sys.exit("net-dhcp needs Python 3.11 or newer; this is " + sys.version.split()[0])
    if sys.argv[1:] == [METADATA]:
        from cli.about import metadata

        print(metadata())
        return
    sys.path[0] = _unpacked(sys.path[0], CACHE / BUILD)
    from cli.main import main as run

    run()


def _unpacked(archive: str, target: Path) -> str:
    """Where to import from: that directory, or the archive if it cannot be had."""
    try:
        if os.geteuid() != 0 or not BUILD:
            return archive
        CACHE.mkdir(mode=0o755, exist_ok=True)
        if not _is_roots(CACHE):
            return archive
        if not target.is_dir():
            _unpack(archive, target)
        os.utime(target)
        return str(target) if _is_roots(target) else archive
    except OSError:
        return archive  # a full or read-only disk


def _is_roots(directory: Path) -> bool:
    """No other user may put code there."""
    status = directory.lstat()
    return stat.S_ISDIR(status.st_mode) and status.st_uid == 0 and not status.st_mode & 0o022


def _unpack(archive: str, target: Path) -> None:
    """All at once, so that a half-unpacked one is never used. Those of other versions go, but not while a call runs."""
    others = [other for other in CACHE.iterdir() if other.stat().st_mtime < time.time() - UNUSED_SECONDS]
    fresh = Path(tempfile.mkdtemp(dir=CACHE))
    try:
        with zipfile.ZipFile(archive) as content:
            content.extractall(fresh)
        fresh.rename(target)
    except OSError:
        shutil.rmtree(fresh, ignore_errors=True)
        if not target.is_dir():  # else another call was faster
            raise
        return
    for other in others:
        shutil.rmtree(other, ignore_errors=True)


if __name__ == "__main__":
    main()
