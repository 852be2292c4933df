"""What an image is built from where no registry of images is reached: Debian's base system, and busybox by itself."""

import io
import subprocess
import tarfile
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from tests.lab.command import CommandFailed, run
from tests.lab.engine import Docker

BASE_IMAGE = "debian:trixie-slim"  # the Dockerfile's default
PULL_SECONDS = 120
SUITE = "trixie"
MIRROR = "http://deb.debian.org/debian"
DOCUMENTATION = ("doc", "man", "locale", "info")


def ensure_base(docker: Docker, cache: Path, foreign: str | None = None) -> str:
    """The name of the base image: the engine's own, or pulled, or else its likeness made of Debian's packages.

    `cache` holds the likeness's tarball; where there is one, pulling has failed before and is not tried again. The base
    of a `foreign` architecture is never pulled: an engine's images have one name for all architectures.
    """
    if foreign:
        name, tarball = f"debian-{foreign}:{SUITE}", cache / f"{SUITE}-{foreign}.tar"
        if not tarball.exists():
            _make_tarball(tarball, f"--architectures={foreign}", "--skip=check/qemu")
        if not docker("images", "--quiet", name):
            docker("import", tarball, name)
        return name
    if not docker("images", "--quiet", BASE_IMAGE) and not (_tarball(cache).exists() or _pulled(docker)):
        _make_tarball(_tarball(cache))
    if not docker("images", "--quiet", BASE_IMAGE):
        docker("import", _tarball(cache), BASE_IMAGE)
    return BASE_IMAGE


def _pulled(docker: Docker) -> bool:
    try:
        docker("pull", "--quiet", BASE_IMAGE, timeout=PULL_SECONDS)
    except (CommandFailed, subprocess.TimeoutExpired) as error:
        print(f"==> {BASE_IMAGE} cannot be pulled ({str(error).splitlines()[-1]})", flush=True)
        return False
    return True


def _tarball(cache: Path) -> Path:
    return cache / f"{SUITE}.tar"


def _make_tarball(tarball: Path, *options: str) -> None:
    print(f"==> Debian {SUITE}'s base system (mmdebstrap, half a minute; minutes in emulation)", flush=True)
    partial = tarball.with_suffix(".partial.tar")
    slim = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in DOCUMENTATION]
    source = f"deb {MIRROR} {SUITE} main"
    run("mmdebstrap", "--quiet", "--variant=minbase", *slim, *options, SUITE, partial, source, timeout=1800)
    partial.rename(tarball)


def static_busybox(cache: Path) -> Path:
    """Debian's static busybox, unpacked and not installed: as a package it conflicts with the dynamic one."""
    binary = cache / "busybox-static"
    if not binary.exists():
        cache.mkdir(parents=True, exist_ok=True)
        # Two laboratories may want it at the same time: each has a directory of its own, and the last one wins.
        with TemporaryDirectory(prefix="busybox-static.", dir=cache) as directory:
            fetch = 'cd "$1"; apt-get download -q busybox-static; dpkg -x busybox-static_*.deb .'
            run("sh", "-ec", fetch, "sh", directory)
            next(Path(directory).glob("**/bin/busybox")).replace(binary)
    return binary


def busybox_archive(binary: Path) -> bytes:
    """A root file system with busybox under all its names, the users root and nobody, and /tmp."""
    files = {
        "etc/passwd": b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n",
        "etc/group": b"root:x:0:\nnobody:x:65534:\n",
    }
    names = [name for name in run(binary, "--list-full").splitlines() if not name.endswith("/busybox")]
    links = dict.fromkeys(names, "/bin/busybox")
    return archive({"bin/busybox": binary.read_bytes(), **files}, links, directories=["tmp", "root"])


def archive(files: dict[str, bytes], links: dict[str, str], directories: list[str]) -> bytes:
    """An uncompressed tar of these; every file is executable. Each directory is in it: who maps users makes none up."""
    buffer = io.BytesIO()
    parents = {str(parent) for name in (*files, *links) for parent in PurePosixPath(name).parents} - {"."}
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in sorted(parents):
            tar.addfile(_member(name, tarfile.DIRTYPE, 0o755))
        for name in directories:
            tar.addfile(_member(name, tarfile.DIRTYPE, 0o1777))
        for name, content in files.items():
            member = _member(name, tarfile.REGTYPE, 0o755)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        for name, target in links.items():
            member = _member(name, tarfile.SYMTYPE, 0o777)
            member.linkname = target
            tar.addfile(member)
    return buffer.getvalue()


def _member(name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type = kind
    member.mode = mode
    return member
