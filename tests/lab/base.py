"""What an image is built from where no registry of images is reached: Debian's base system, and busybox by itself."""

import io
import shutil
import tarfile
from pathlib import Path

from tests.lab.command import run
from tests.lab.engine import Docker

BASE_IMAGE = "net-dhcp-base:trixie"
SUITE = "trixie"
MIRROR = "http://deb.debian.org/debian"
DOCUMENTATION = ("doc", "man", "locale", "info")


def ensure_base(docker: Docker, cache: Path) -> str:
    """The name of the base image, made from Debian's packages unless the engine has it. `cache` holds its tarball."""
    if not docker("images", "--quiet", BASE_IMAGE):
        docker("import", _base_tarball(cache), BASE_IMAGE)
    return BASE_IMAGE


def _base_tarball(cache: Path) -> Path:
    """debian:trixie-slim's likeness."""
    tarball = cache / f"{SUITE}.tar"
    if not tarball.exists():
        print(f"==> Debian {SUITE}'s base system (mmdebstrap, half a minute)", flush=True)
        partial = tarball.with_suffix(".partial.tar")
        slim = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in DOCUMENTATION]
        source = f"deb {MIRROR} {SUITE} main"
        run("mmdebstrap", "--quiet", "--variant=minbase", *slim, SUITE, partial, source, timeout=600)
        partial.rename(tarball)
    return tarball


def static_busybox(cache: Path) -> Path:
    """Debian's static busybox, unpacked and not installed: as a package it conflicts with the dynamic one."""
    binary = cache / "busybox-static"
    if not binary.exists():
        directory = cache / "busybox-static.deb.d"
        directory.mkdir(parents=True, exist_ok=True)
        run("sh", "-ec", 'cd "$1"; apt-get download -q busybox-static; dpkg -x busybox-static_*.deb .', "sh", directory)
        shutil.copy2(next(directory.glob("**/bin/busybox")), binary)
        shutil.rmtree(directory)
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
    """An uncompressed tar of these; every file is executable."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
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
