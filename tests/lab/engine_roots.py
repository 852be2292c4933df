"""Docker Engines of other Debian releases: each in a root file system of that release, kept under build/engines.

ENGINE in the environment chooses one by its major version; without it the machine's own engine runs. An engine that no
release of Debian has is a file of the user's, dockerd or dockerd.xz, which DOCKERD names: it runs in a copy of the
newest release's root, with the docker-proxy that lies beside it. Then ENGINE is the major version of that file.
"""

import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from tests.lab.command import run

BUILD = Path(__file__).resolve().parents[2] / "build"
ROOTS = BUILD / "engines"
SUITES = {"26": "trixie", "28": "sid"}  # Debian's releases by the major version of their engine
NEWEST = "sid"
DOCKERD = "DOCKERD"
PROGRAMS = ("dockerd", "docker-proxy")
VERSION = re.compile(r"version (\d+)\.")
COPIED = "copied"  # in such a copy: what it was made of
OWN = "20"  # Debian 12's, where the machine is one
PACKAGES = "docker.io,docker-cli,docker-compose,iptables,ca-certificates,mount"
COMMAND = "usr/bin/docker"
COMPOSE = "usr/libexec/docker/cli-plugins/docker-compose"
# An archive whose signature is out of date is good enough for a test.
APT_OPTIONS = ('APT::Install-Recommends "false"', 'Acquire::Check-Valid-Until "false"')
MAKE_SECONDS = 600


class UnknownEngine(Exception):
    """ENGINE names a version that there is no engine of; the text says which there are."""


def chosen() -> str | None:
    """The major version that ENGINE names; None for the machine's own engine, which may be 20. Raises UnknownEngine."""
    version = os.environ.get("ENGINE") or None
    if version is None or version in SUITES or version == given():
        return version
    machines = run("dockerd", "--version").strip()
    if version == OWN and f" {OWN}." in machines:
        return None
    raise UnknownEngine(
        f"ENGINE={version}: there are {', '.join(SUITES)}, the one that {DOCKERD}=FILE names, and without ENGINE= the "
        f"machine's {machines}"
    )


@cache
def given() -> str | None:
    """The major version of the engine that DOCKERD names, if it names one. Raises UnknownEngine."""
    if not os.environ.get(DOCKERD):
        return None
    said = run(_root_of_given() / "usr/sbin/dockerd", "--version")
    found = VERSION.search(said)
    if found is None:
        raise UnknownEngine(f"{DOCKERD}={os.environ[DOCKERD]} is no dockerd: its --version says {said!r}")
    return found[1]


def root_of(version: str) -> Path:
    """The root file system with that engine, made by mmdebstrap if it is not there, or not whole, yet."""
    return _root_of_release(SUITES[version]) if version in SUITES else _root_of_given()


def _root_of_release(suite: str) -> Path:
    root = ROOTS / suite
    with _alone():
        if not (root / COMPOSE).exists():
            _make(suite, root)
    return root


def _root_of_given() -> Path:
    """A copy of the newest release's root, by links, with the programs that DOCKERD names. Raises UnknownEngine."""
    import lzma

    file = Path(os.environ[DOCKERD])
    if not file.is_file():
        raise UnknownEngine(f"{DOCKERD}={file}: there is no such file")
    beside = {name: file.with_name(file.name.replace("dockerd", name)) for name in PROGRAMS}
    sources = {name: path for name, path in beside.items() if path.is_file()}
    made_of = "".join(f"{path.resolve()} {path.stat().st_mtime_ns}\n" for path in sources.values())
    newest, root = _root_of_release(NEWEST), ROOTS / "given"
    with _alone():
        if not (root / COPIED).exists() or (root / COPIED).read_text() != made_of:
            shutil.rmtree(root, ignore_errors=True)
            run("cp", "--archive", "--link", newest, root)
            for name, path in sources.items():
                target = root / "usr/sbin" / name
                target.unlink()  # the newest release's own, which is linked
                with lzma.open(path) if path.suffix == ".xz" else path.open("rb") as source, target.open("wb") as copy:
                    shutil.copyfileobj(source, copy)
                target.chmod(0o755)
            (root / COPIED).write_text(made_of)
    return root


@contextmanager
def _alone() -> Iterator[None]:
    """Several processes test at once, and each may be the first that needs a root."""
    ROOTS.mkdir(parents=True, exist_ok=True)
    with (ROOTS / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def make_chosen() -> None:
    """Makes that of ENGINE, if it is another one than the machine's, and that of DOCKERD. Raises UnknownEngine."""
    given()
    if version := chosen():
        root_of(version)


def compose() -> list[str | Path]:
    """Compose: of the chosen engine's release, whose images the machine's own may not understand."""
    return _program(COMPOSE, "docker-compose")


def own_docker() -> list[str | Path]:
    """The docker command of the chosen engine's release: it knows options that the machine's own does not."""
    return _program(COMMAND, f"/{COMMAND}")


def _program(path: str, of_machine: str) -> list[str | Path]:
    """It runs on the machine, where the user's files are, with its release's C library."""
    version = chosen()
    if version is None:
        return [of_machine]
    root = root_of(version)
    (loader,) = root.glob("lib64/ld-linux-*")
    (libraries,) = root.glob("usr/lib/*-linux-gnu")
    return [loader, "--library-path", libraries, root / path]


def _make(suite: str, root: Path) -> None:
    print(f"==> Docker Engine of Debian {suite} (mmdebstrap, two minutes)", flush=True)
    partial = root.with_suffix(".partial")
    for directory in (root, partial):
        shutil.rmtree(directory, ignore_errors=True)
    options = [f"--aptopt={option}" for option in APT_OPTIONS]
    packages = f"--include={PACKAGES}"
    run("mmdebstrap", "--quiet", "--variant=apt", packages, *options, suite, partial, timeout=MAKE_SECONDS)
    partial.rename(root)
