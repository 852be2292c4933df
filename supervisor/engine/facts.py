"""The facts about the Docker Engine that the watcher pushes, and the questions that they answer.

Never asks the engine anything. Each fact may be missing or late: it is a help, never a condition for an answer.
"""

import logging
import os
import time
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Interface, IPv6Network
from pathlib import Path

from msgspec import Struct, field

from supervisor.engine.foreign_root import resolve

DEFAULT_DATA_ROOT = "/var/lib/docker"
DEFAULT_SANDBOXES = "/var/run/docker/netns"
SANDBOX_FIRST = 28  # the release from which an engine binds a container's sandbox before it asks for its endpoints

log = logging.getLogger(__name__)


class EngineFound(Struct, frozen=True):
    """The pid of dockerd, whose view of the file system is `/proc/<pid>/root`."""

    pid: int


class EngineConnected(Struct, frozen=True):
    """Its API answers; `data_root` is a path as dockerd sees it, `storage_driver` a word such as overlay2.

    `own_name` is the driver that this plugin is to the engine, None if the engine does not tell. `version` is such as
    29.7.1.
    """

    data_root: str
    storage_driver: str = ""
    own_name: str | None = None
    version: str = ""


class Program(Struct, frozen=True):
    """A dockerd, so that its version is known when it starts anew: `file` tells one program file from all others."""

    file: str
    version: str

    @property
    def release(self) -> int | None:
        """The major version, None if it is none."""
        major = self.version.partition(".")[0]
        return int(major) if major.isdecimal() else None


class EngineLost(Struct, frozen=True):
    """The connection to its API ended."""

    reason: str


class ContainerSeen(Struct, frozen=True):
    """A container, with the ids of its live endpoints."""

    id: str
    name: str
    hostname: str
    endpoints: tuple[str, ...]


class EndpointSeen(Struct, frozen=True):
    """An endpoint of a running container on a network of a plugin, as the engine has it. Told only in a listing.

    `mac`, the addresses and the gateway are None if the engine has none, or none that is one.
    """

    container: ContainerSeen
    network_id: str
    endpoint_id: str
    sandbox_key: str
    mac: str | None
    address: IPv4Interface | None
    address6: IPv6Interface | None
    gateway: IPv4Address | None
    options: Mapping[str, str]


class ContainerGone(Struct, frozen=True):
    """It was removed."""

    id: str


class NetworkSeen(Struct, frozen=True):
    """A network; `bridge` is the interface where the engine itself hands out addresses, `subnets` are those.

    `options` are those of CreateNetwork, if `driver` is a plugin.
    """

    id: str
    name: str
    bridge: str | None
    subnets: tuple[IPv4Network | IPv6Network, ...] = ()
    driver: str = ""
    ipam: str = ""
    options: Mapping[str, str] = field(default_factory=dict)


class NetworkGone(Struct, frozen=True):
    """It was removed."""

    id: str


class NetworksListed(Struct, frozen=True):
    """The watcher has told all networks since `EngineConnected`."""


class ContainersListed(Struct, frozen=True):
    """The watcher has told all containers and their endpoints since `NetworksListed`, of a list begun at `began`.

    That is a Unix time.
    """

    began: float = 0.0


Fact = (
    EngineFound
    | EngineConnected
    | EngineLost
    | ContainerSeen
    | EndpointSeen
    | ContainerGone
    | NetworkSeen
    | NetworkGone
    | NetworksListed
    | ContainersListed
)


class Engine:
    """All facts together. `listed`: the `time.monotonic()` before all networks were listed; None if they were not.

    `program` is the last one whose API has answered, `sandboxes` the directory of the sandboxes as dockerd sees it.
    """

    def __init__(self) -> None:
        self.pid: int | None = None
        self.connected = False
        self.lost: str | None = None  # why
        self.data_root = DEFAULT_DATA_ROOT
        self.storage_driver = ""  # not known
        self.own_name: str | None = None
        self.program: Program | None = None
        self.sandboxes = DEFAULT_SANDBOXES
        self._running_file: str | None = None
        self.containers: dict[str, ContainerSeen] = {}
        self.networks: dict[str, NetworkSeen] = {}
        self.listed: float | None = None
        self._listing_from = 0.0
        self._has_listed = False
        self._owners: dict[str, ContainerSeen] = {}
        self._places: dict[str, Path] = {}

    def learn(self, fact: Fact) -> None:  # noqa: C901  one case a fact
        """Adds one fact."""
        match fact:
            case EngineFound(pid):
                self.pid = pid
                self._running_file = _program_file(pid)
                self._places.clear()
            case EngineConnected(data_root, storage_driver, own_name, version):
                self.connected, self.data_root, self.storage_driver = True, data_root, storage_driver
                self.own_name = own_name
                self.program = Program(self._running_file, version) if self._running_file else None
                self.listed, self._listing_from, self._has_listed = None, time.monotonic(), False
                self.containers.clear()
                self._owners.clear()
                self.networks.clear()
            case EngineLost(reason):
                self.connected, self.listed, self.lost = False, None, reason
            case NetworksListed():
                self.listed = self._listing_from
            case ContainersListed():
                self._has_listed = True
            case ContainerSeen(id=key):
                self._disown(key)
                self.containers[key] = fact
                self._owners.update(dict.fromkeys(fact.endpoints, fact))
            case ContainerGone(id=key):
                self._disown(key)
            case NetworkSeen(id=key):
                self.networks[key] = fact
            case NetworkGone(id=key):
                self.networks.pop(key, None)

    @property
    def is_listing(self) -> bool:
        """Whether it is just telling its containers: one of which nothing is known yet may be there."""
        return self.connected and not self._has_listed

    @property
    def version(self) -> str | None:
        """That of the dockerd that runs, also before its API answers if it has run before; else None."""
        return self.program.version or None if self.program and self.program.file == self._running_file else None

    @property
    def release(self) -> int | None:
        """The major version of that dockerd."""
        return self.program.release if self.program and self.version is not None else None

    @property
    def binds_first(self) -> bool:
        """Whether it is known to bind a container's sandbox before it asks for the container's endpoints."""
        return self.release is not None and self.release >= SANDBOX_FIRST

    def _disown(self, container_id: str) -> None:
        known = self.containers.pop(container_id, None)
        for endpoint_id in known.endpoints if known else ():
            if self._owners.get(endpoint_id) is known:
                del self._owners[endpoint_id]

    def saw_sandbox(self, key: str) -> None:
        """An endpoint's sandbox is at this path, as dockerd sees it: the others are in the same directory."""
        self.sandboxes = str(Path(key).parent)

    @property
    def is_there(self) -> bool:
        """Whether the last dockerd still runs, through which the way to a sandbox leads."""
        return self.pid is not None and Path(f"/proc/{self.pid}/root").exists()

    @property
    def tells_containers(self) -> bool:
        """Whether the files of its containers can be found, and it is known what they mean."""
        return self.is_there and bool(self.storage_driver)

    def path(self, seen_by_dockerd: str) -> Path | None:
        """Our path for one that dockerd sees; None while dockerd's pid is not known, or without the right to look."""
        if self.pid is None:
            return None
        try:
            return resolve(Path(f"/proc/{self.pid}/root"), seen_by_dockerd)
        except OSError as error:
            log.warning("dockerd's view of the file system cannot be read (is CAP_SYS_PTRACE missing?): %s", error)
            return None

    def place(self, name: str) -> Path | None:
        """Our path for a directory in the engine's data root; None as for `path`.

        It is resolved once: it does not move below a running dockerd, and each container's start asks several times.
        """
        seen_by_dockerd = f"{self.data_root}/{name}"
        found = self._places.get(seen_by_dockerd) if self.pid else None
        if found is None and (found := self.path(seen_by_dockerd)):
            self._places[seen_by_dockerd] = found
        return found

    def network_name(self, network_id: str) -> str | None:
        """Its name, once known."""
        network = self.networks.get(network_id)
        return network.name if network else None

    def owner_of_bridge(self, bridge: str) -> str | None:
        """The name of the network on which the engine hands out addresses over `bridge`."""
        return next((n.name for n in self.networks.values() if n.bridge == bridge), None)

    def container_of(self, endpoint_id: str) -> ContainerSeen | None:
        """The container that has this endpoint."""
        return self._owners.get(endpoint_id)


def _program_file(pid: int) -> str | None:
    """What tells the file that a process runs from others, also from one that has taken its place since."""
    try:
        found = os.stat(f"/proc/{pid}/exe")  # noqa: PTH116  see daemon.py
    except OSError:
        return None
    return f"{found.st_ino} {found.st_mtime_ns} {found.st_size}"
