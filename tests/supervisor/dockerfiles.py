"""What an identity is read from: a process that has mounted what dockerd would, and the files that dockerd keeps."""

import json
import os
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from supervisor.contract.messages import CreateEndpoint
from supervisor.engine.facts import Engine, EngineConnected, EngineFound, NetworkSeen
from supervisor.engine.mounted_roots import MOUNT_POINTS
from supervisor.engine.network_store import BUCKET, ID_IN_NAME, PREFIX
from tests.supervisor.boltfile import bolt_file

LAN, OFFICE = "1" * 64, "2" * 64  # networks
WEB, DATABASE, MAIL = "a" * 64, "b" * 64, "c" * 64  # containers
MOUNT = 'mkdir -p "$1" && mount -t tmpfs none "$1" && shift'
ENDURE = f"while [ $# -gt 0 ]; do {MOUNT} || exit; done; echo ready; read -r _"


class DockerFiles:
    """A data root below `directory`; `start` is when the mounts are made, in a mount namespace of their own."""

    def __init__(self, directory: Path, driver: str = "overlay2") -> None:
        self.driver = driver
        self.root = directory / "docker"
        self.engine = Engine()
        self._mounts: list[Path] = []
        self._process: subprocess.Popen[bytes] | None = None
        (self.root / "network" / "files").mkdir(parents=True)
        self.mounts.mkdir(parents=True)

    def mount(self, mount_id: str) -> None:
        """As the driver does it, a mount id for a name."""
        self._mounts.append(self.root / self.driver / MOUNT_POINTS[self.driver].format(mount_id))

    def mount_by_containerd(self, container_id: str, snapshotter: str = "overlayfs") -> None:
        """As the containerd image store does it."""
        self._mounts.append(self.root / "rootfs" / snapshotter / container_id)

    def leave_mounted(self, mount_id: str, ago: float = 3600) -> None:
        """Once it is mounted: as if an engine had done so that many seconds ago."""
        os.utime(self.root / "overlay2" / mount_id, (time.time() - ago,) * 2)

    def start(self, version: str = "28.5.2") -> None:
        """From now on the engine is known, of this version."""
        command = ["unshare", "--mount", "sh", "-c", ENDURE, "dockerd", *map(str, self._mounts)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout
        assert self._process.stdout.readline() == b"ready\n"
        for mount in self._mounts:  # a dockerd mounts nothing in the clock tick in which it begins
            os.utime(mount.parent, (time.time() + 1,) * 2)
        for fact in (
            EngineFound(self._process.pid),
            EngineConnected(str(self.root), self.driver, version=version),
            NetworkSeen(LAN, "lan", None),
            NetworkSeen(OFFICE, "office", None),
        ):
            self.engine.learn(fact)
        self.engine.saw_sandbox(str(self.sandboxes / "any"))

    def stop(self) -> None:
        """The namespace and its mounts end with the process."""
        if self._process is not None:
            self._process.communicate(b"\n", timeout=30)
            self._process = None

    def know(self, container_id: str, mount_id: str) -> None:
        """The classic store's note of which mount is whose."""
        directory = self.mounts / container_id
        directory.mkdir()
        (directory / "mount-id").write_text(mount_id, encoding="ascii")

    @property
    def mounts(self) -> Path:
        """Where those notes are."""
        return self.root / "image" / self.driver / "layerdb" / "mounts"

    def configure(
        self,
        container_id: str,
        name: str,
        *,
        network: str = "lan",
        network_id: str = "",
        running: bool = False,
        restarting: bool = False,
        ports: tuple[str, ...] | None = (),
        chosen_id: str | None = None,
        stopped: bool = False,
        mac: str | None = None,
        mac_here: str | None = None,
        others: dict[str, str] | None = None,
        pid: int = 0,
        ended: str = "0001-01-01T00:00:00Z",
        mounts: tuple[str, ...] | None = None,
    ) -> None:
        """The container's own file, in the engine's words; without `ports` it has null there, and without `network_id`
        it was never started.

        `restarting` is the engine's word for the time between an end and the start by the restart policy. A MAC is of
        the container or, from API 1.44 on, of its place on the network. `others` are further networks, on which it has
        these MACs.
        """
        driver_opts = None if chosen_id is None else {"id": chosen_id}
        place = {"NetworkID": network_id, "DriverOpts": driver_opts, "DesiredMacAddress": mac_here or ""}
        places = {network: place, **{n: {"DesiredMacAddress": m} for n, m in (others or {}).items()}}
        state = {"Running": running or restarting, "Restarting": restarting, "Pid": pid, "FinishedAt": ended}
        exposed: dict[str, dict[str, str]] | None = None if ports is None else {port: {} for port in ports}
        self.write_configuration(
            container_id,
            json.dumps(
                {
                    "ID": container_id,
                    "Name": f"/{name}",
                    "Config": {"Hostname": f"{name}-host", "ExposedPorts": exposed, "MacAddress": mac or ""},
                    "State": state,
                    "Driver": self.driver,
                    "NetworkSettings": {"Networks": places},
                    "HasBeenManuallyStopped": stopped,
                    "MountPoints": mounts and {mount: {} for mount in mounts},
                }
            ),
        )

    def configure_host(
        self,
        container_id: str,
        *,
        policy: str = "no",
        first_network: str = "lan",
        published: dict[str, tuple[str, ...]] | None = None,
        publishes_all: bool = False,
        dns: tuple[str, ...] | None = None,
        dns_search: tuple[str, ...] | None = None,
    ) -> None:
        """The container's other file; `published` are a port's ports on the host."""
        bindings = {k: [{"HostIp": "", "HostPort": p} for p in ports] for k, ports in (published or {}).items()}
        host = {
            "RestartPolicy": {"Name": policy, "MaximumRetryCount": 0},
            "NetworkMode": first_network,
            "PortBindings": bindings,
            "PublishAllPorts": publishes_all,
            "Dns": dns,
            "DnsSearch": dns_search,
        }
        self._write(container_id, "hostconfig.json", json.dumps(host))

    def write_configuration(self, container_id: str, text: str) -> None:
        """Whatever it may be."""
        self._write(container_id, "config.v2.json", text)

    def _write(self, container_id: str, name: str, text: str) -> None:
        """As the engine does: a new file in the place of the old one."""
        directory = self.root / "containers" / container_id
        directory.mkdir(parents=True, exist_ok=True)
        written = directory / f".tmp-{name}"
        written.write_text(text, encoding="utf-8")
        written.replace(directory / name)

    def write_store(
        self, endpoints: Mapping[str, str], sandboxes: Mapping[str, str] | None = None, network: str = LAN
    ) -> None:
        """The engine's own database: the name of each endpoint's container, and the container of each sandbox."""
        items = {
            **{f"endpoint/{network}/{one}/": {"id": one, "name": name} for one, name in endpoints.items()},
            **{f"sandbox/{one}/": {"ID": one, "Cid": owner, "Eps": []} for one, owner in (sandboxes or {}).items()},
        }
        bucket = {f"{PREFIX}/{key}".encode(): bytes(8) + json.dumps(value).encode() for key, value in items.items()}
        self.write_store_file(bolt_file({BUCKET: bucket}))

    def write_store_file(self, content: bytes) -> None:
        """Whatever it may be, in its place."""
        (self.root / "network" / "files" / "local-kv.db").write_bytes(content)

    def bind_sandbox(self, sandbox_id: str, *, bound: bool = True) -> None:
        """Before `start`: there is a file for the sandbox; where it is bound, something is mounted there."""
        self.sandboxes.mkdir(exist_ok=True)
        if bound:
            self._mounts.append(self.sandboxes / sandbox_id[:ID_IN_NAME])
        else:
            (self.sandboxes / sandbox_id[:ID_IN_NAME]).touch()

    @property
    def sandboxes(self) -> Path:
        """Where the engine binds them."""
        return self.root.parent / "netns"


def create_endpoint(*ports: tuple[int, int], network: str = LAN, chosen_id: str | None = None) -> CreateEndpoint:
    """The engine's request for some container."""
    options = {} if chosen_id is None else {"id": chosen_id}
    return CreateEndpoint(network, "e" * 64, None, None, options, frozenset(ports))
