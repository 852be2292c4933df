"""A Docker Engine of our own: dockerd with its own data root, /run and, in the laboratory, network namespace.

dockerd runs in a private mount namespace whose /run is the directory `run` beside its data, so each path inside is the
default one (/var/run/docker.sock, /var/run/docker/netns) and the socket is reachable from outside. All its mounts
vanish with the namespace.
"""

import dataclasses
import json
import os
import shutil
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path
from typing import Any

from tests.lab.command import CommandFailed, run, wait_until
from tests.lab.process import Process, processes, spawn
from tests.lab.unix_http import ask

START_TIMEOUT = 60.0  # seconds; the first start makes the data root, and others may be busy
CONTAINERD_PID_FILE = "docker/containerd/containerd.pid"
PID_FILES = ("docker.pid", CONTAINERD_PID_FILE)
SHIM = "containerd-shim"
TASKS = "docker/containerd/daemon/io.containerd.runtime.v2.task"
# sysfs shows the network namespace of whoever mounted it, and a fresh one lacks the cgroup mounts below.
FRESH_SYSFS = """
mount --rbind /sys/fs/cgroup "$0/cgroup"
mount -t sysfs sysfs /sys
mount --rbind "$0/cgroup" /sys/fs/cgroup
"""
OWN_RUN = """
mount --bind "$0/run" /run
if [ -d "$0/etc" ]; then
  mkdir -p /run/data
  mount --bind "$0/data" /run/data
  mount --bind "$0/etc" /etc
fi
exec "$@"
"""
# The engine's own directory lies at the same place in the root file system of another release.
OWN_ROOT = """
cd "$1"; mount --bind . .; cd "$1"; shift
for directory in proc sys dev; do mount --rbind "/$directory" "$directory"; done
mount -t tmpfs tmpfs tmp
mkdir -p ".$0" old
mount --bind "$0" ".$0"
mount --bind "$0/run" run
if [ -d "$0/etc" ]; then
  mkdir -p run/data
  mount --bind "$0/data" run/data
  mount --bind "$0/etc" etc
fi
touch etc/resolv.conf
mount --bind "$(readlink -f /etc/resolv.conf)" etc/resolv.conf
pivot_root . old
cd /
umount -l /old
exec "$@"
"""


# Settings of daemon.json: root in a container is another user, whom the directories around the data need not let in.
REMAPPED = {"userns-remap": "nobody:nogroup", "data-root": "/run/data"}
FIRST_USER = 100_000
SUBORDINATE = "".join(f"{name}:{FIRST_USER}:65536\n" for name in ("nobody", "nogroup"))

# Where images are, if IMAGE_STORE says so: in containerd's store, the default of new engines from 29 on, or Docker's.
CONTAINERD = {"containerd": True, "docker": False}
CHOSEN = os.environ.get("IMAGE_STORE")
IMAGE_STORE = {"features": {"containerd-snapshotter": CONTAINERD[CHOSEN]}} if CHOSEN else {}

# The one beside Debian's dockerd, where it is there: a newer one refuses what this engine can do (--mac-address).
DOCKER = shutil.which("docker", path="/usr/bin") or "docker"


class EngineFailed(Exception):
    """dockerd ended or did not answer; the text holds the end of its log."""


@dataclass(frozen=True, slots=True)
class Docker:
    """The docker command, speaking to one engine; None is the one that DOCKER_HOST or the default names.

    With `netns` it speaks on the network of that namespace.
    """

    host: str | None = None
    netns: str | None = None

    def argv(self, *args: str | Path) -> list[str]:
        """The command line, for those who start it themselves."""
        enter = ["nsenter", f"--net=/run/netns/{self.netns}"] if self.netns else []
        return [*enter, DOCKER, *(["--host", self.host] if self.host else []), *map(str, args)]

    def __call__(self, *args: str | Path, stdin: bytes | None = None, timeout: float = 120) -> str:
        """Standard output; raises CommandFailed. BuildKit is off: it needs a component that Debian 12 lacks."""
        return run(*self.argv(*args), stdin=stdin, env=os.environ | {"DOCKER_BUILDKIT": "0"}, timeout=timeout)

    def inspect(self, container: str) -> Any:  # noqa: ANN401  (JSON)
        """`docker inspect`; an engine of this machine is asked itself, which takes a tenth of the command's time."""
        scheme, _, path = (self.host or "").partition("://")
        if scheme != "unix":
            return json.loads(self("inspect", container))[0]
        try:
            status, answer = ask(Path(path), "GET", f"/containers/{container}/json")
        except (OSError, HTTPException) as error:
            raise CommandFailed(f"looking at container {container}: {error}") from error
        if status != HTTPStatus.OK:
            raise CommandFailed(f"looking at container {container}: {answer['message']}")
        return answer

    @property
    def release(self) -> int:
        """The engine's major version: docs/engines.md has what differs."""
        return int(self("version", "--format", "{{.Server.Version}}").partition(".")[0])

    def answers(self) -> bool:
        """Is there an engine?"""
        try:
            return bool(self("version", "--format", "{{.Server.Version}}"))
        except CommandFailed:
            return False


@dataclass(frozen=True, slots=True)
class Engine:
    """`directory` holds all that the engine leaves on disk; `netns` names its network namespace, None the host's.

    `root` is a root file system whose dockerd runs in it (tests.lab.engine_roots), None the machine's.
    """

    directory: Path
    netns: str | None = None
    root: Path | None = None

    @property
    def run_directory(self) -> Path:
        """What the engine and its plugins see as /run."""
        return self.directory / "run"

    @property
    def socket(self) -> Path:
        """The API's socket as seen from outside."""
        return self.run_directory / "docker.sock"

    @property
    def log(self) -> Path:
        """dockerd's log, its plugins' output included."""
        return self.directory / "dockerd.log"

    @property
    def docker(self) -> Docker:
        """The docker command for this engine."""
        return Docker(f"unix://{self.socket}")

    @property
    def process(self) -> Process | None:
        """dockerd, if it runs."""
        return Process.recorded(self._record)

    def start(self, options: Mapping[str, object] | None = None) -> None:
        """Start dockerd with these settings of daemon.json; returns when its API answers. Raises EngineFailed."""
        for name in ("run", "cgroup", "data"):
            (self.directory / name).mkdir(parents=True, exist_ok=True)
        self._carry_resolver()
        if "userns-remap" in (options or {}):
            self._provide_users()
        self._configure(options or {})
        self._remove_stale_pid_files()
        process = spawn(self._serving("dockerd", "--config-file", str(self._config)), self.log)
        process.record(self._record)
        wait_until(lambda: self._ready(process), "the engine's API", START_TIMEOUT)

    def reload(self, options: Mapping[str, object]) -> None:
        """Give a running dockerd other settings, of those that it takes while it runs; returns when it has."""
        seen = self._reloads()
        self._configure(options)
        if process := self.process:
            process.kill(signal.SIGHUP)
            wait_until(lambda: self._reloads() > seen, "dockerd's new configuration")

    def stop(self) -> None:
        """Stop dockerd, its containers and plugins, also after it has crashed. The data root stays."""
        self.terminate()
        self.crash()

    def terminate(self) -> None:
        """SIGTERM for dockerd alone, as an init system stops it; what it leaves running goes on."""
        if process := self.process:
            process.stop()

    def kill(self) -> None:
        """SIGKILL for dockerd alone, and so for its containerd: a crash.

        The next dockerd waits in vain for a containerd that is still ending; the init of a machine starts it later.
        """
        if process := self.process:
            pid = self.run_directory / CONTAINERD_PID_FILE
            ending = [Path("/proc", pid.read_text())] if pid.exists() else []
            process.kill(signal.SIGKILL)
            wait_until(lambda: not process.alive, "dockerd's end")
            wait_until(lambda: not any(path.exists() for path in ending), "containerd's end")

    def crash(self) -> None:
        """SIGKILL for dockerd, its containers and plugins, as when the power fails. The data root stays."""
        for leftover in self.orphans():
            leftover.kill(signal.SIGKILL)
        wait_until(lambda: not self.orphans(), "the end of the engine's processes")
        self._record.unlink(missing_ok=True)
        shutil.rmtree(self.run_directory, ignore_errors=True)  # sockets and tasks of the dead

    def orphans(self) -> list[Process]:
        """Every process of the engine, its containers and its plugins."""
        return [*self._of_mount_namespace(), *self._of_tasks()]

    def inside(self, *argv: str) -> list[str]:
        """The command line that runs `argv` in the engine's network namespace and a mount namespace like its own.

        Where containers have outlived dockerd it is that same one: the sandboxes and roots are mounted there. Not so
        where dockerd has a root file system of its own, in which the machine's commands and files are not.
        """
        enter = ["nsenter", f"--net=/run/netns/{self.netns}"] if self.netns else []
        survivor = None if self.root else self._survivor
        if survivor:
            return [*enter, "nsenter", f"--mount=/proc/{survivor.pid}/ns/mnt", *argv]
        script = FRESH_SYSFS + OWN_RUN if self.netns else OWN_RUN
        unshare = ["unshare", "--mount", "--propagation", "private"]
        return [*enter, *unshare, "sh", "-ec", script, str(self.directory), *argv]

    def _serving(self, *argv: str) -> list[str]:
        """As `inside`, but in the engine's root file system."""
        if self.root is None:
            return self.inside(*argv)
        if self._survivor:
            return dataclasses.replace(self, root=None).inside(*argv)
        enter = ["nsenter", f"--net=/run/netns/{self.netns}"] if self.netns else []
        script = (FRESH_SYSFS if self.netns else "") + OWN_ROOT
        unshare = ["unshare", "--mount", "--propagation", "private"]
        return [*enter, *unshare, "sh", "-ec", script, str(self.directory), str(self.root), *argv]

    @property
    def _survivor(self) -> Process | None:
        """A process of a container that may have outlived dockerd."""
        return next((process for process in self._of_mount_namespace() if process.name == SHIM), None)

    @property
    def _record(self) -> Path:
        return self.directory / "dockerd.pid"

    @property
    def _config(self) -> Path:
        return self.directory / "daemon.json"

    def _configure(self, options: Mapping[str, object]) -> None:
        defaults = {"data-root": str(self.directory / "data"), "exec-opts": ["native.cgroupdriver=cgroupfs"]}
        self._config.write_text(json.dumps({**defaults, **IMAGE_STORE, **options}))

    def _remove_stale_pid_files(self) -> None:
        """dockerd takes a zombie for running; an init system reaps at once, whoever is the parent here may not."""
        for path in (self.run_directory / name for name in PID_FILES):
            if path.exists() and not Process.of(int(path.read_text())):
                path.unlink()

    def _reloads(self) -> int:
        return self.log.read_text(errors="replace").count('msg="Reloaded configuration')

    def _ready(self, process: Process) -> bool:
        if not process.alive:
            lines = self.log.read_text(errors="replace").splitlines()[-15:]
            raise EngineFailed("dockerd ended:\n" + "\n".join(lines))
        return self.socket.exists() and self.docker.answers()

    def _carry_resolver(self) -> None:
        """A resolv.conf that is a link into /run (systemd-resolved's) would vanish under our own /run."""
        real = Path("/etc/resolv.conf").resolve()
        if real.is_relative_to("/run") and real.exists():
            copy = self.run_directory / real.relative_to("/run")
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(real, copy)

    def _provide_users(self) -> None:
        """An /etc of the engine's own, where it finds the ids of its containers' users."""
        etc = self.directory / "etc"
        if not etc.exists():
            run("cp", "--archive", (self.root or Path("/")) / "etc", etc)
            for name in ("subuid", "subgid"):
                (etc / name).write_text(SUBORDINATE)

    def _of_mount_namespace(self) -> Iterator[Process]:
        """Processes whose /run is ours: dockerd, containerd and the shims."""
        for process in processes():
            try:
                if os.path.samefile(f"/proc/{process.pid}/root/run", self.run_directory):  # noqa: PTH121  (magic link)
                    yield process
            except OSError:
                continue  # it has gone, is a kernel thread, or has no /run: not ours

    def _of_tasks(self) -> Iterator[Process]:
        """Processes in the cgroup of one of our containers or plugins."""
        ids = {task.name for task in (self.run_directory / TASKS).glob("*/*")}
        for process in processes() if ids else ():
            try:
                groups = Path(f"/proc/{process.pid}/cgroup").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if any(task in groups for task in ids):
                yield process
