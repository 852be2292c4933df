"""A whole machine with a disk of its own, a card on the laboratory's LAN and a Docker Engine: its power can be cut, and
it can be suspended.

Owns the disk's content, the boot and the ends. QEMU emulates the processor, and the machine's clock is the real one,
as it shares the LAN with servers outside. The engine is the chosen one, in the root file system of its release.
"""

import json
import os
import shutil
import signal
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.lab.base import static_busybox
from tests.lab.build import BUILD
from tests.lab.command import run, wait_until
from tests.lab.disk import Cut, carry_out, copy_disk, make_disk
from tests.lab.engine import Docker
from tests.lab.kernels import kernel, write_initramfs
from tests.lab.lab import Lab
from tests.lab.network import BRIDGE, LAN, LAN_BRIDGE, inside
from tests.lab.process import Process, spawn

SERIES = "6.1"
ADDRESS = LAN[3]
API = f"tcp://{ADDRESS}:2375"
TAP = "tap0"
DISK_MB = 3072
MEMORY_MB = 2048
MODULES = ("virtio_pci", "virtio_console", "virtio_blk", "ext4", "crc32c_generic", "virtio_net")
BOOT_SECONDS = 60.0  # of a usual machine
INITRAMFS = """#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t devtmpfs dev /dev
for module in /modules/*; do insmod $module; done
mount -t ext4 /dev/vda /root || poweroff -f
exec switch_root /root /bin/busybox sh /init
"""
# The rest of an init system. As most administrators of a bridge do, it keeps Docker's packet filter off bridged frames.
INIT = f"""
export PATH=/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin HOME=/root
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm; mount -t devpts devpts /dev/pts; mount -t tmpfs shm /dev/shm
mount -t cgroup2 cgroup2 /sys/fs/cgroup; mount -t tmpfs -o mode=755 run /run
ln -s /proc/self/fd /dev/fd
hostname machine
ip() {{ busybox ip "$@"; }}
ip link set lo up
ip link add {BRIDGE} type bridge
ip addr add {ADDRESS}/{LAN.prefixlen} dev {BRIDGE}
ip link set eth0 master {BRIDGE}
ip link set eth0 up
ip link set {BRIDGE} up
modprobe br_netfilter
echo 0 > /proc/sys/net/bridge/bridge-nf-call-iptables
echo 0 > /proc/sys/net/bridge/bridge-nf-call-ip6tables
while :; do
  rm -f /run/docker.pid
  dockerd --host unix:///var/run/docker.sock --host {API} --tls=false > /dev/hvc0 2>&1
done
"""


@dataclass(frozen=True, slots=True)
class Machine:
    """In the place of the laboratory's own machine: its network and server stay, its engine's data is on the disk."""

    lab: Lab

    @classmethod
    @contextmanager
    def in_lab(cls, lab: Lab) -> Iterator["Machine"]:
        """One whose disk is made; it is off, and at the end, too."""
        machine = cls(lab)
        machine.directory.mkdir()
        machine._make()
        try:
            yield machine
        finally:
            machine.kill()

    @property
    def directory(self) -> Path:
        """The first disk, the one as it was before the present run, the run's, and the console."""
        return self.lab.directory / "machine"

    @property
    def docker(self) -> Docker:
        """The docker command, on the LAN, for the machine's engine."""
        return Docker(API, self.lab.network.lan)

    @property
    def console(self) -> str:
        """What the engine has printed, and with it the plugin, since the machine was switched on."""
        return (self.directory / "console.log").read_text(errors="replace")

    def _make(self) -> None:
        """A system that starts the engine, with all that the laboratory's has now."""
        root, content = self.lab.engine.root, self.directory / "content"
        assert root is not None, (
            "an engine in a root file system of its own is needed: ENGINE=26, 28, or that of DOCKERD"
        )
        run("cp", "--archive", "--link", root, content)
        shutil.copy(static_busybox(BUILD), content / "bin" / "busybox")
        for name in ("modprobe", "insmod"):
            link = content / "sbin" / name
            link.unlink(missing_ok=True)
            link.symlink_to("/bin/busybox")
        (content / "init").write_text(INIT)
        modules = kernel(SERIES).modules
        (content / "lib" / "modules").mkdir(exist_ok=True)
        run("cp", "--archive", "--link", modules, content / "lib" / "modules" / modules.name)
        self.lab.engine.stop()
        shutil.rmtree(content / "var" / "lib" / "docker", ignore_errors=True)
        run("cp", "--archive", self.lab.engine.directory / "data", content / "var" / "lib" / "docker", timeout=300)
        make_disk(self._first_disk, content, DISK_MB)
        shutil.rmtree(content)
        write_initramfs(kernel(SERIES), self.directory / "initramfs", MODULES, INITRAMFS)
        self.lab.network.unplug("uplink")

    def start_over(self) -> None:
        """The next run begins with the disk that was made at first."""
        copy_disk(self._first_disk, self._disk)

    def switch_on(self) -> None:
        """Returns at once; `wait` waits for the engine."""
        copy_disk(self._disk, self._running_disk)
        for name in ("writes", "console.log", "kernel.log"):
            (self.directory / name).write_bytes(b"")
        argv = inside(self.lab.network.lan, "setpriv", "--pdeathsig", "KILL", *self._qemu())
        spawn(argv, self.directory / "qemu.log").record(self._record)
        wait_until(self._plugged_in, "the machine's cable")
        run("ip", "-n", self.lab.network.lan, "link", "set", TAP, "master", LAN_BRIDGE, "up")

    def wait(self) -> None:
        """Until the engine answers."""
        wait_until(self._answers, "the machine's engine", BOOT_SECONDS, interval=1)

    def cut(self) -> Cut:
        """The power fails: what the machine has not flushed is lost."""
        self.kill()
        return carry_out(self.directory / "writes", self._disk)

    def kill(self) -> None:
        """QEMU ends; the disk is as it was before this run. Nothing if it does not run."""
        if process := self.process:
            process.kill(signal.SIGKILL)
            wait_until(lambda: not process.alive, "QEMU's end")
        self._record.unlink(missing_ok=True)

    @property
    def process(self) -> Process | None:
        """QEMU, if it runs."""
        return Process.recorded(self._record)

    @contextmanager
    def suspended(self, image: str) -> Iterator[None]:
        """The machine sleeps (S3) as long as the block lasts."""
        with Qmp.of(self.directory / "qmp") as qmp:
            sleep = "sleep 1; echo mem > /sys/power/state"
            self.docker("run", "--detach", "--rm", "--privileged", "--network=none", image, "sh", "-c", sleep)
            qmp.wait_for("SUSPEND")
            yield
            qmp.execute("system_wakeup")
            qmp.wait_for("WAKEUP")

    def _plugged_in(self) -> bool:
        self._assert_running()
        return TAP in run("ip", "-n", self.lab.network.lan, "link", "show")

    def _answers(self) -> bool:
        self._assert_running()
        return self.docker.answers()

    def _assert_running(self) -> None:
        assert self.process, f"QEMU has ended: {(self.directory / 'qemu.log').read_text()}"

    @property
    def _first_disk(self) -> Path:
        return self.directory / "first"

    @property
    def _disk(self) -> Path:
        return self.directory / "disk"

    @property
    def _running_disk(self) -> Path:
        return self.directory / "running"

    @property
    def _record(self) -> Path:
        return self.directory / "qemu.pid"

    def _qemu(self) -> list[str]:
        """It starts with the compressed kernel: the other one does not survive a suspend."""
        (image,) = (kernel(SERIES).directory / "boot").glob("vmlinuz-*")
        disk = f"driver=file,filename={self._running_disk},node-name=file"
        log = f"driver=file,filename={self.directory / 'writes'},node-name=log"
        return [
            *("qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
            *("-machine", "q35", "-global", "ICH9-LPC.disable_s3=0", "-accel", "tcg,thread=multi", "-cpu", "max"),
            *("-smp", "2", "-m", str(MEMORY_MB), "-rtc", "base=utc,clock=host"),
            *("-kernel", str(image), "-initrd", str(self.directory / "initramfs")),
            *("-append", "console=ttyS0 quiet panic=-1 mitigations=off no_console_suspend"),
            *("-serial", f"file:{self.directory / 'kernel.log'}"),
            *("-device", "virtio-serial-pci", "-chardev", f"file,id=console,path={self.directory / 'console.log'}"),
            *("-device", "virtconsole,chardev=console"),
            *("-blockdev", disk, "-blockdev", log),
            *("-blockdev", "driver=blklogwrites,node-name=disk,file=file,log=log,log-super-update-interval=1"),
            *("-device", "virtio-blk-pci,drive=disk,write-cache=on"),
            *("-netdev", f"tap,id=lan,ifname={TAP},script=no,downscript=no", "-device", "virtio-net-pci,netdev=lan"),
            *("-qmp", f"unix:{self.directory / 'qmp'},server=on,wait=off"),
        ]


class Qmp:
    """A conversation with QEMU."""

    def __init__(self, connection: socket.socket) -> None:
        self._stream = connection.makefile("rw")
        self._events: list[str] = []
        self._receive()  # its greeting
        self.execute("qmp_capabilities")

    @classmethod
    @contextmanager
    def of(cls, path: Path) -> Iterator["Qmp"]:
        """At the socket with this path."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(300)
            directory = os.open(path.parent, os.O_PATH)
            try:
                connection.connect(f"/proc/self/fd/{directory}/{path.name}")
            finally:
                os.close(directory)
            yield cls(connection)

    def execute(self, command: str) -> None:
        """Returns when it is done."""
        self._stream.write(json.dumps({"execute": command}) + "\n")
        self._stream.flush()
        while "return" not in (message := self._receive()):
            assert "error" not in message, message

    def wait_for(self, event: str) -> None:
        """Also if it has come already."""
        while event not in self._events:
            self._receive()
        self._events.clear()

    def _receive(self) -> Mapping[str, object]:
        message: dict[str, object] = json.loads(self._stream.readline())
        if "event" in message:
            self._events.append(str(message["event"]))
        return message
