"""Debian's kernels for guests: downloaded and unpacked under build/kernels, never installed.

Owns what a boot needs of each: the kernel as QEMU starts it, its modules, and an initramfs that finds the root file
system. Must not know what the guest does after that.
"""

import lzma
import shutil
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.lab.base import MIRROR, static_busybox
from tests.lab.build import BUILD
from tests.lab.command import run

KERNELS = BUILD / "kernels"
SECURITY_MIRROR = f"{MIRROR}-security"
# Where Debian has each series.
SERIES = {
    "5.10": f"{SECURITY_MIRROR} bullseye-security",
    "6.1": f"{MIRROR} bookworm",
    "6.12": f"{MIRROR} trixie",
    "sid": f"{MIRROR} sid",
}
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
META_PACKAGE = "linux-image-amd64"
MORE_PACKAGES = ("linux-base", "linux-binary", "linux-modules")  # what linux-image consists of from Debian 14 on
NEEDED_MODULES = ("virtio_pci", "virtio_console", "9pnet_virtio", "9p", "overlay")
HOST_TAG, SHARE_TAG, SHARE = "host", "share", "/guest"
# Its root is this machine's, read-only; what the guest writes goes to its memory. PID 1 itself changes its root, since
# the kernel looks for modprobe there.
INIT = f"""#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t devtmpfs dev /dev
for module in /modules/*; do insmod $module; done
options=trans=virtio,version=9p2000.L,msize=512000
mount -t 9p -o ro,cache=loose,$options {HOST_TAG} /lower || poweroff -f
mount -t tmpfs -o size=90% writable /writable
mkdir /writable/upper /writable/work
mount -t overlay -o lowerdir=/lower,upperdir=/writable/upper,workdir=/writable/work root /root
mkdir -p /root{SHARE}
mount -t 9p -o $options {SHARE_TAG} /root{SHARE} || poweroff -f
exec switch_root /root /bin/sh {SHARE}/init
"""
# The boot protocol's header (Documentation/arch/x86/boot.rst): where the compressed kernel is in the image.
SECTORS_AT, PAYLOAD_AT, SECTOR_BYTES = 0x1F1, 0x248, 512
ZSTD_MAGIC = bytes.fromhex("28b52ffd")


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel that is ready to boot."""

    directory: Path

    @property
    def image(self) -> Path:
        """The uncompressed kernel: a guest without KVM would need seconds to uncompress it."""
        return self.directory / "vmlinux"

    @property
    def initramfs(self) -> Path:
        """What the guest starts with."""
        return self.directory / "initramfs"

    @property
    def modules(self) -> Path:
        """The directory that is called like the version."""
        return next((self.directory / "lib" / "modules").iterdir())


def kernel(series: str) -> Kernel:
    """The newest one of the series when it was first asked for; `make clean` forgets it. Raises CommandFailed."""
    directory = KERNELS / series
    if not directory.exists():
        print(f"==> Debian's kernel {series} (download, half a minute)", flush=True)
        partial = KERNELS / f"{series}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        _make(partial, SERIES[series])
        partial.rename(directory)
    return Kernel(directory)


def _make(directory: Path, source: str) -> None:
    _unpack(directory, source)
    if not (directory / "lib").exists():
        (directory / "lib").symlink_to("usr/lib")
    made = Kernel(directory)
    version = made.modules.name
    run("depmod", "-b", directory, version)
    places = (directory / f"boot/vmlinuz-{version}", made.modules / "vmlinuz")
    _uncompress(next(path for path in places if path.exists()), made.image)
    write_initramfs(made, made.initramfs, NEEDED_MODULES, INIT)


def _unpack(directory: Path, source: str) -> None:
    """The packages of the kernel. apt has lists and a cache of its own there, and the machine's other settings."""
    apt = directory / "apt"
    for name in ("lists", "archives"):
        (apt / name / "partial").mkdir(parents=True)
    (apt / "sources.list").write_text(f"deb [signed-by={KEYRING}] {source} main\n")
    settings = {
        "Dir::Etc::sourcelist": apt / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::State::lists": apt / "lists",
        "Dir::Cache": apt,
        "Acquire::Languages": "none",
        "Acquire::Check-Valid-Until": "false",  # nobody signs an old suite anew
        "APT::Sandbox::User": "root",  # _apt may not write here
        "APT::Update::Post-Invoke-Success": "",
    }
    options = [f"--option={key}={value}" for key, value in settings.items()]
    run("apt-get", "--quiet=2", *options, "update", timeout=300)
    words = run("apt-cache", *options, "depends", META_PACKAGE).split()
    image = next(word for word in words if word.startswith("linux-image-") and word != META_PACKAGE)
    version = image.removeprefix("linux-image-")
    present = run("apt-cache", *options, "pkgnames", "linux-").split()
    names = [image, *(f"{name}-{version}" for name in MORE_PACKAGES if f"{name}-{version}" in present)]
    run("sh", "-ec", 'cd "$0"; exec "$@"', apt, "apt-get", "--quiet=2", *options, "download", *names, timeout=600)
    for package in apt.glob("*.deb"):
        run("dpkg", "--extract", package, directory)
    shutil.rmtree(apt)


def _uncompress(image: Path, target: Path) -> None:
    """The kernel within a bzImage; the four bytes behind it are its size."""
    content = image.read_bytes()
    offset, length = struct.unpack_from("<II", content, PAYLOAD_AT)
    begin = (content[SECTORS_AT] + 1) * SECTOR_BYTES + offset
    payload = content[begin : begin + length - 4]
    if payload.startswith(ZSTD_MAGIC):
        compressed = target.with_suffix(".zst")
        compressed.write_bytes(payload)
        run("zstd", "--quiet", "--decompress", "--rm", compressed, "-o", target)
    else:
        target.write_bytes(lzma.decompress(payload))


def write_initramfs(made: Kernel, target: Path, modules: Sequence[str], init: str, busybox: Path | None = None) -> None:
    """busybox, the modules that the root file system needs, in order, and the program that mounts it at /root."""
    root = target.with_name(f"{target.name}.d")
    for name in ("bin", "dev", "lower", "modules", "proc", "root", "writable"):
        (root / name).mkdir(parents=True)
    shutil.copy(busybox or static_busybox(BUILD), root / "bin" / "busybox")
    for number, module in enumerate(_needed_modules(made, modules)):
        content = module.read_bytes()
        uncompressed = lzma.decompress(content) if module.suffix == ".xz" else content
        (root / "modules" / f"{number:02}-{module.name.removesuffix('.xz')}").write_bytes(uncompressed)
    (root / "init").write_text(init)
    (root / "init").chmod(0o755)
    run("sh", "-ec", 'cd "$0"; find . | busybox cpio -o -H newc > "$1"', root, target)
    shutil.rmtree(root)


def _needed_modules(made: Kernel, wanted: Sequence[str]) -> Iterator[Path]:
    """Each after those that it depends on."""
    place = ("-d", made.directory, "-S", made.modules.name)
    names = run("modprobe", *place, "--show-depends", "--all", *wanted)
    lines = dict.fromkeys(names.splitlines())  # some are named twice
    return (Path(line.split()[1]) for line in lines if line.startswith("insmod "))
