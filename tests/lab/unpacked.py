"""Programs of Debian packages that are unpacked and not installed, since nothing of them may run on the machine itself.

Their libraries are those of the machine, where the packages that are unpacked with them do not bring any.
"""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.lab.build import BUILD
from tests.lab.command import run

ROOTS = BUILD / "unpacked"
UNPACK = 'cd "$1"; shift; apt-get download -q "$@"; for one in *.deb; do dpkg -x "$one" root; done'
DOWNLOAD_SECONDS = 300


def unpacked(*packages: str) -> Path:
    """The root file system that these packages make, downloaded if it is not there yet."""
    root = ROOTS / packages[0]
    if not root.exists():
        ROOTS.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=ROOTS) as directory:
            run("sh", "-ec", UNPACK, "sh", directory, *packages, timeout=DOWNLOAD_SECONDS)
            (Path(directory) / "root").replace(root)
    return root


def environment(root: Path) -> dict[str, str]:
    """In which its programs find its libraries and Python's packages, also if they start one another."""
    libraries = [*root.glob("usr/lib/*-linux-gnu"), *root.glob("lib/*-linux-gnu")]
    return {
        **os.environ,
        "LD_LIBRARY_PATH": ":".join(map(str, libraries)),
        "PYTHONPATH": str(root / "usr/lib/python3/dist-packages"),
    }
