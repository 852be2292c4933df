"""A whole machine of arm64, which QEMU emulates: its kernel does what QEMU's user mode does not, such as to fork a
sibling, or to say when a packet has left.

Its root file system is Debian's packages, which are only unpacked, so nothing of it runs until it boots. It sees this
checkout; what it writes goes to its memory.
"""

import shlex
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from release.emulation import unpacked
from tests.lab.base import MIRROR, SUITE
from tests.lab.build import BUILD, ROOT
from tests.lab.command import CommandFailed, run
from tests.lab.guest import MEMORY_MB, SLOWNESS
from tests.lab.kernels import HOST_TAG, INIT, NEEDED_MODULES, SHARE, SHARE_TAG, Kernel, write_initramfs
from tests.lab.lab import LABS

LIMIT_SECONDS = 3600
CONSOLE_CHARACTERS = 4000
PACKAGES = (
    *("linux-image-arm64", "kmod", "busybox-static", "dpkg", "coreutils", "util-linux", "mount", "procps", "python3"),
    *("iproute2", "iptables", "dnsmasq-base", "docker.io", "docker-cli"),
)
# What the packages' own scripts would do.
FINISH = """
for name in bin sbin lib; do ln -s usr/$name $name; done
mkdir -p proc sys run root etc var/lib; ln -s /run var/run; ln -s busybox usr/bin/sh
for name in iptables ip6tables iptables-save iptables-restore ip6tables-save ip6tables-restore; do
  ln -s xtables-nft-multi usr/sbin/$name
done
echo root:x:0:0:root:/root:/bin/sh > etc/passwd; echo root:x:0: > etc/group; echo 127.0.0.1 localhost > etc/hosts
depmod -b . "$(ls lib/modules)"
"""
SOURCES_TAG = "sources"
BEGIN = f"""
export PATH=/usr/sbin:/usr/bin HOME=/root SLOWNESS={SLOWNESS} PYTHONDONTWRITEBYTECODE=1
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm; mount -t devpts devpts /dev/pts; mount -t tmpfs shm /dev/shm
mount -t cgroup2 cgroup2 /sys/fs/cgroup; mount -t tmpfs -o mode=755 run /run
ln -s /proc/self/fd /dev/fd
busybox --install -s
hostname machine; ip link set lo up
mkdir -p {ROOT} /run/sources/lower /run/sources/upper /run/sources/work
mount -t 9p -o ro,cache=loose,trans=virtio,version=9p2000.L,msize=512000 {SOURCES_TAG} /run/sources/lower
mount -t overlay -o lowerdir=/run/sources/lower,upperdir=/run/sources/upper,workdir=/run/sources/work sources {ROOT}
cp /usr/bin/busybox {BUILD}/busybox-static
mkdir -p {LABS}; mount -t tmpfs labs {LABS}
exec 9<>/dev/hvc0; stty -F /dev/hvc0 -opost -echo
cd {ROOT}
"""


def run_in_machine(*argv: str) -> int:
    """The exit status of a command that runs as its root in this checkout; its output is ours. Raises CommandFailed."""
    root = _root()
    with TemporaryDirectory(prefix="machine.", dir=BUILD) as directory:
        share = Path(directory)
        end = f"{shlex.join(argv)} < /dev/null > /dev/hvc0 2>&1 9>&-; echo $? > {SHARE}/status; sync; poweroff -f\n"
        (share / "init").write_text(BEGIN + end)
        try:
            subprocess.run(_qemu(root, share), stdin=subprocess.DEVNULL, timeout=LIMIT_SECONDS, check=False)
            return int((share / "status").read_text())
        except (subprocess.TimeoutExpired, FileNotFoundError, ValueError) as error:
            console = (share / "console.log").read_text(errors="replace")[-CONSOLE_CHARACTERS:]
            raise CommandFailed(f"the machine ended before its command: {error}\n{console}") from error


def _root() -> Path:
    """Made once; `make clean` forgets it."""
    root = BUILD / "machine-arm64"
    if not root.exists():
        print("==> a machine of arm64 (mmdebstrap, two minutes)", flush=True)
        partial = root.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        options = ("--architectures=arm64", "--skip=check/qemu", f"--include={','.join(PACKAGES)}")
        source = f"deb {MIRROR} {SUITE} main"
        run("mmdebstrap", "--quiet", "--variant=extract", *options, SUITE, partial, source, timeout=1800)
        run("sh", "-ec", f'cd "$0"; {FINISH}', partial)
        busybox = partial / "usr" / "bin" / "busybox"
        write_initramfs(Kernel(partial), partial / "initramfs", NEEDED_MODULES, INIT, busybox)
        partial.rename(root)
    return root


def _qemu(root: Path, share: Path) -> list[str | Path]:
    """It ends with this process, and when the machine does. Its clock is that of tests.lab.guest."""
    (image,) = (root / "boot").glob("vmlinuz-*")
    shared = "security_model=none,multidevs=remap"
    emulator = unpacked("qemu-system-arm", "usr/bin/qemu-system-aarch64", BUILD)
    return [
        *("setpriv", "--pdeathsig", "KILL", emulator, "-nodefaults", "-no-user-config", "-display", "none"),
        *("-no-reboot", "-machine", "virt", "-accel", "tcg", "-icount", "shift=0,sleep=on", "-cpu", "cortex-a72"),
        *("-m", str(MEMORY_MB), "-kernel", image, "-initrd", root / "initramfs"),
        *("-append", "console=ttyAMA0 quiet panic=-1 mitigations=off", "-serial", f"file:{share / 'console.log'}"),
        *("-device", "virtio-serial-pci", "-chardev", "stdio,id=output,signal=off"),
        *("-device", "virtconsole,chardev=output"),
        *("-virtfs", f"local,path={root},mount_tag={HOST_TAG},readonly=on,{shared}"),
        *("-virtfs", f"local,path={share},mount_tag={SHARE_TAG},{shared}"),
        *("-virtfs", f"local,path={ROOT},mount_tag={SOURCES_TAG},readonly=on,{shared}"),
    ]
