"""Programs of another architecture on this machine: QEMU's user mode, known to the kernel while a `with` block lasts.

binfmt_misc forgets what it was told as soon as nobody has it mounted, so nothing of this stays on the machine.
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.lab.command import CommandFailed, run

PACKAGE = "qemu-user-static"
BINFMT = Path("/proc/sys/fs/binfmt_misc")
# ELF for 64 bits, little-endian, of these machines, executable or position-independent (binfmt.d(5)).
MACHINES = {"arm64": ("aarch64", rb"\xb7\x00"), "amd64": ("x86_64", rb"\x3e\x00")}
HEAD = rb"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00"
MASK = rb"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"
CLONE_NEWNS = 0x20000


def native() -> str:
    """Debian's name of this machine's architecture."""
    return run("dpkg", "--print-architecture")


@contextmanager
def able_to_run(architecture: str, cache: Path) -> Iterator[None]:
    """This process and its children can start such programs. Raises CommandFailed, OSError."""
    if architecture == native():
        yield
        return
    qemu = unpacked(PACKAGE, f"usr/bin/qemu-{MACHINES[architecture][0]}-static", cache)
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS):
        raise OSError(ctypes.get_errno(), "unshare")
    run("mount", "--make-rprivate", "/")
    run("mount", "-t", "binfmt_misc", "binfmt_misc", BINFMT)
    try:
        name, magic = MACHINES[architecture]
        # F opens the emulator now, so that it is there in every root file system.
        (BINFMT / "register").write_bytes(
            b":net-dhcp-%b:M::%b%b:%b:%b:F" % (name.encode(), HEAD, magic, MASK, bytes(qemu))
        )
        yield
    finally:
        run("umount", BINFMT)


def unpacked(package: str, name: str, cache: Path) -> Path:
    """This file of a package that is not installed: one of these would register every architecture for good."""
    target = (cache / Path(name).name).resolve()
    if not target.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix="qemu.", dir=cache) as directory:
            fetch = 'cd "$1"; apt-get update -q; apt-get download -q "$2"; dpkg -x "$2"_*.deb .'
            run("sh", "-ec", fetch, "sh", directory, package, timeout=600)
            found = Path(directory, name)
            if not found.exists():
                raise CommandFailed(f"the package {package} has no {name}")
            found.replace(target)
    return target
