"""Builds the plugin: the Dockerfile's image, exported beside config.json as `docker plugin create` takes it.

Root builds with an engine of our own, in the machine's network namespace but without any network settings of its own,
whose data root is kept as the build's cache: the engine that DOCKER_HOST names may be the laboratory's, which reaches
no package registry, and nobody's engine is filled with our images. Others build with the engine that they may use.
"""

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.lab.base import ensure_base
from tests.lab.command import CommandFailed, run
from tests.lab.engine import Docker, Engine
from tests.lab.settings import write_settings

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"
PLUGIN = BUILD / "plugin"
BEFORE = BUILD / "plugin-before"
COMMAND = ("cli", "requirements-cli.lock", ".dockerignore")
BEFORE_COMMIT = "94ec67d6ba50c3c780e0f695f6a92e8195ed4f04"  # the last one whose state file is of schema 1
IMAGE = "net-dhcp-rootfs"
SIZE_LIMIT = 120  # MB
NETWORKLESS = {"bridge": "none", "iptables": False, "ip-forward": False}
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")


def build_plugin() -> None:
    """Make build/plugin/{config.json,rootfs}; prints the size of the root file system."""
    _build(ROOT, PLUGIN, IMAGE)


def build_before() -> None:
    """Make build/plugin-before: the commit that upgrades are tested from, its code and its packages on today's Python.

    So it differs in the last layers only, and is built in seconds.
    """
    BUILD.mkdir(exist_ok=True)
    with TemporaryDirectory(dir=BUILD) as directory:
        archive = Path(directory) / "sources.tar"
        try:
            umask = "tar.umask=0022"  # as a checkout has it: another mode is another layer
            run("git", "-C", ROOT, "-c", umask, "archive", f"--output={archive}", BEFORE_COMMIT)
        except CommandFailed as error:
            raise CommandFailed(
                f"{error}\nUpgrades are tested from commit {BEFORE_COMMIT[:7]}, which this clone does not have: "
                "a shallow clone gets it by `git fetch --unshallow`"
            ) from None
        sources = Path(directory) / "sources"
        sources.mkdir()
        run("tar", "-xf", archive, "-C", sources)
        for name in COMMAND:  # it did not exist yet, and today's Dockerfile wants it
            run("cp", "-a", ROOT / name, sources)
        _build(sources, BEFORE, f"{IMAGE}-before")


def _build(sources: Path, target: Path, image: str) -> None:
    BUILD.mkdir(exist_ok=True)
    with (BUILD / "plugin.lock").open("w") as lock, build_engine() as docker:
        fcntl.flock(lock, fcntl.LOCK_EX)
        base = os.environ.get("BASE_IMAGE") or ensure_base(docker, BUILD)
        build_image(docker, sources, image, base)
        export(docker, sources, target, image)
    size = sum(path.lstat().st_size for path in (target / "rootfs").rglob("*") if path.is_file()) / 1e6
    print(f"==> {target.relative_to(ROOT)}: root file system of {size:.1f} MB", flush=True)
    if size > SIZE_LIMIT:
        raise CommandFailed(f"the root file system has {size:.1f} MB, more than {SIZE_LIMIT}")


@contextmanager
def build_engine() -> Iterator[Docker]:
    """An engine to build with."""
    if os.geteuid():
        yield Docker()
        return
    engine = Engine(BUILD / "engine")
    with _exclusive(engine):
        yield engine.docker


@contextmanager
def _exclusive(engine: Engine) -> Iterator[None]:
    """Our build engine, started, for one build at a time: a data root has one dockerd."""
    engine.directory.mkdir(parents=True, exist_ok=True)
    with (engine.directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        engine.stop()  # what a killed build may have left
        engine.start(NETWORKLESS)
        try:
            yield
        finally:
            engine.stop()


def build_image(docker: Docker, sources: Path, image: str, base: str, *options: str) -> None:
    """docker build, its output shown as it comes."""
    write_settings(sources / "build" / "host")
    proxies = [f"--build-arg={name}" for name in PROXIES if name in os.environ]
    print(f"==> the image {image} (docker build)", flush=True)
    file = ("--file", ROOT / "Dockerfile")
    argv = docker.argv(
        "build", "--network=host", f"--build-arg=BASE_IMAGE={base}", *proxies, *options, *file, "--tag", image, sources
    )
    previous = docker("images", "--quiet", image)
    done = subprocess.run(argv, env=os.environ | {"DOCKER_BUILDKIT": "0"}, stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise CommandFailed(f"docker build: exit status {done.returncode}")
    if previous not in ("", docker("images", "--quiet", image)):
        docker("rmi", previous)  # it has lost its name; the build stage's layers, the cache, stay


def export(docker: Docker, sources: Path, target: Path, image: str) -> None:
    """Replace the target as a whole, so that a half-made one is never taken for good."""
    fresh = target.with_name(f"{target.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    (fresh / "rootfs").mkdir(parents=True)
    container = docker("create", image)
    try:
        run("sh", "-ec", '"$@" | tar -xC "$0"', fresh / "rootfs", *docker.argv("export", container))
    finally:
        docker("rm", container)
    (fresh / "rootfs" / ".dockerenv").unlink(missing_ok=True)
    shutil.copyfile(sources / "config.json", fresh / "config.json")
    shutil.rmtree(target, ignore_errors=True)
    fresh.rename(target)
