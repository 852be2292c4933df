"""A virtual machine with another kernel on this machine's root file system, for what this machine's kernel lacks.

Owns its boot, its time limit and its end. The guest sees all of this machine's files; what it writes goes to its
memory, except for the logs of failed tests. QEMU emulates the processor, so nothing is needed of this machine's: all
takes ten to thirty times as long. The guest does not notice: its clock goes by what it has executed, a nanosecond an
instruction, and by the real time only while it is idle. So a busy machine makes its tests slow, but not late.
"""

import os
import shlex
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.lab.build import BUILD, ROOT
from tests.lab.kernels import HOST_TAG, SHARE, SHARE_TAG, Kernel, kernel
from tests.lab.lab import FAILED_LOGS, LABS

MEMORY_MB = 3072
SLOWNESS = 7  # how much longer all that tests wait for may take; it must not hide the plugin's own limit of 120 s
TEST_SECONDS = 600  # of the guest's own
LIMIT_SECONDS = 3600  # of the machine's, which may be busy
NICENESS = 5  # it lets other tests go first, which may measure time, as nothing in the guest does
ENVIRONMENT = ("CI", "COLUMNS", "PATH", "PYTHONDONTWRITEBYTECODE")
PYTEST = (
    "-m",
    "pytest",
    "-p",
    "no:cacheprovider",
    *("-p", "no:xdist", "-p", "no:hypothesispytest"),  # their import would take seconds
    "--basetemp=/run/pytest",
    f"--timeout={TEST_SECONDS}",
    "--durations=5",
)
CONSOLE_LINES = 60
# What an init system would do. The console is held open: each time it is opened anew it would turn \n into \r\n again.
INIT = """
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm; mount -t devpts devpts /dev/pts; mount -t tmpfs shm /dev/shm
mount -t cgroup2 cgroup2 /sys/fs/cgroup; mount -t tmpfs -o mode=755 run /run; mkdir -p /run/lock
ln -s /proc/self/fd /dev/fd
rm -rf /usr/lib/modules; mkdir -p /usr/lib/modules; ln -s {modules} /usr/lib/modules/
mkdir -p {labs} {logs}; mount -t tmpfs labs {labs}; mount --bind {share}/logs {logs}
hostname guest; ip link set lo up
exec 9<>/dev/hvc0; stty -F /dev/hvc0 -opost -echo
cd {root}; env -i {command} < /dev/null > /dev/hvc0 2>&1 9>&-
echo $? > {share}/status; sync; busybox poweroff -f
"""


class GuestFailed(Exception):
    """The guest ended, or had to be ended, before its command did; the text holds the end of its console."""


def run_kernel_tests(series: str, *, short: bool = False) -> int:
    """pytest's exit status for the tests that are marked `kernel`; the short form leaves `long` ones out.

    Raises GuestFailed.
    """
    marked = "kernel and not long" if short else "kernel"
    python = str(BUILD / "venv" / "bin" / "python")
    return run_in_guest(kernel(series), python, *PYTEST, "-m", marked, "tests/kernel", seconds=LIMIT_SECONDS)


def run_in_guest(booted: Kernel, *argv: str, seconds: int) -> int:
    """The exit status of a command that runs as root in the repository's directory; its output is ours."""
    with TemporaryDirectory(prefix="guest.", dir=BUILD) as directory:
        share = Path(directory)
        (share / "logs").mkdir()
        (share / "init").write_text(_init(booted, argv))
        try:
            subprocess.run(_qemu(booted, share), stdin=subprocess.DEVNULL, timeout=seconds, check=False)
            return int((share / "status").read_text())
        except subprocess.TimeoutExpired:
            raise GuestFailed(f"the guest was ended after {seconds} s\n{_console(share)}") from None
        except (FileNotFoundError, ValueError):
            raise GuestFailed(f"the guest ended before its command\n{_console(share)}") from None
        finally:
            for kept in (share / "logs").iterdir():
                shutil.copytree(kept, FAILED_LOGS / kept.name, dirs_exist_ok=True)


def _init(booted: Kernel, argv: tuple[str, ...]) -> str:
    variables = {"HOME": "/root", "TERM": "dumb", "SLOWNESS": str(SLOWNESS)}
    variables |= {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
    command = shlex.join([*(f"{name}={value}" for name, value in variables.items()), *argv])
    return INIT.format(modules=booted.modules, labs=LABS, logs=FAILED_LOGS, share=SHARE, root=ROOT, command=command)


def _qemu(booted: Kernel, share: Path) -> list[str]:
    """It ends with this process, when the guest does, and when the guest's kernel panics."""
    nothing_else = ("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot")
    shared = "security_model=none,multidevs=remap"
    return [
        *("nice", f"-n{NICENESS}", "setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64", *nothing_else),
        *("-machine", "q35", "-accel", "tcg", "-icount", "shift=0,sleep=on", "-cpu", "max", "-m", str(MEMORY_MB)),
        *("-kernel", str(booted.image), "-initrd", str(booted.initramfs)),
        *("-append", "console=ttyS0 quiet panic=-1 tsc=reliable mitigations=off"),
        *("-serial", f"file:{share / 'console.log'}"),
        *("-device", "virtio-serial-pci", "-chardev", "stdio,id=output,signal=off"),
        *("-device", "virtconsole,chardev=output"),
        *("-virtfs", f"local,path=/,mount_tag={HOST_TAG},readonly=on,{shared}"),
        *("-virtfs", f"local,path={share},mount_tag={SHARE_TAG},{shared}"),
    ]


def _console(share: Path) -> str:
    console = share / "console.log"
    lines = console.read_text(errors="replace").splitlines() if console.exists() else []
    return "\n".join(lines[-CONSOLE_LINES:])
