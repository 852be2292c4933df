"""Docker Engines of other Debian releases: each in a root file system of that release, kept under build/engines.

ENGINE in the environment chooses one by its major version; without it the machine's own engine runs.
"""

import fcntl
import os
import shutil
from pathlib import Path

from tests.lab.command import run

BUILD = Path(__file__).resolve().parents[2] / "build"
ROOTS = BUILD / "engines"
SUITES = {"26": "trixie", "28": "sid"}  # Debian's releases by the major version of their engine
OWN = "20"  # Debian 12's, where the machine is one
PACKAGES = "docker.io,docker-cli,docker-compose,iptables,ca-certificates,mount"
COMPOSE = "usr/libexec/docker/cli-plugins/docker-compose"
# An archive whose signature is out of date is good enough for a test.
APT_OPTIONS = ('APT::Install-Recommends "false"', 'Acquire::Check-Valid-Until "false"')
MAKE_SECONDS = 600


class UnknownEngine(Exception):
    """ENGINE names a version that no Debian release has; the text says which there are."""


def chosen() -> str | None:
    """The major version that ENGINE names; None for the machine's own engine, which may be 20. Raises UnknownEngine."""
    version = os.environ.get("ENGINE") or None
    if version is None or version in SUITES:
        return version
    machines = run("dockerd", "--version").strip()
    if version == OWN and f" {OWN}." in machines:
        return None
    raise UnknownEngine(
        f"ENGINE={version}: there are {', '.join(SUITES)}, and without ENGINE= the machine's {machines}"
    )


def root_of(version: str) -> Path:
    """The root file system with that engine, made by mmdebstrap if it is not there, or not whole, yet."""
    root = ROOTS / SUITES[version]
    ROOTS.mkdir(parents=True, exist_ok=True)
    with (ROOTS / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (root / COMPOSE).exists():
            _make(SUITES[version], root)
    return root


def make_chosen() -> None:
    """Makes that of ENGINE, if it is another one than the machine's. Raises UnknownEngine."""
    if version := chosen():
        root_of(version)


def compose() -> list[str | Path]:
    """The command that is Compose: of the chosen engine's release, whose images the machine's own may not understand.

    It runs on the machine, where the project's file is, with its release's C library.
    """
    version = chosen()
    if version is None:
        return ["docker-compose"]
    root = root_of(version)
    (loader,) = root.glob("lib64/ld-linux-*")
    (libraries,) = root.glob("usr/lib/*-linux-gnu")
    return [loader, "--library-path", libraries, root / COMPOSE]


def _make(suite: str, root: Path) -> None:
    print(f"==> Docker Engine of Debian {suite} (mmdebstrap, two minutes)", flush=True)
    partial = root.with_suffix(".partial")
    for directory in (root, partial):
        shutil.rmtree(directory, ignore_errors=True)
    options = [f"--aptopt={option}" for option in APT_OPTIONS]
    packages = f"--include={PACKAGES}"
    run("mmdebstrap", "--quiet", "--variant=apt", packages, *options, suite, partial, timeout=MAKE_SECONDS)
    partial.rename(root)
