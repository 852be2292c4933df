"""Finds the containers whose root file system the engine has mounted, without reading its whole table of mounts.

For each reader the kernel writes that table anew, with all mounts of the host, some 2 us each. To ask whether something
is mounted on one directory takes about as long, and we ask only for the containers that matter. Reads through
/proc/PID-OF-DOCKERD/root, which takes CAP_SYS_PTRACE. Must not know which container is looked for.
"""

import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Generic, TypeVar

from supervisor.engine.container_files import (
    CONFIGURATION,
    HOST_CONFIGURATION,
    Configuration,
    HostConfiguration,
    Version,
    file_version,
    read_configuration,
    read_host_configuration,
)
from supervisor.engine.facts import Engine
from supervisor.engine.foreign_root import read_regular
from workers.contract.messages import UseResolver

CONTAINERS = "containers"
# The containerd image store mounts by the container's id, below the directory of its storage driver (snapshotter). That
# may have the name of one of the others.
CONTAINERD, SNAPSHOTTER = "rootfs", "overlayfs"
# The others mount by a mount id, which the engine notes for each container: below the driver's directory, and so.
MOUNT_POINTS = {"overlay2": "{}/merged", "fuse-overlayfs": "{}/merged", "zfs": "graph/{:.12}"}
TELLING = (*MOUNT_POINTS, SNAPSHOTTER)  # the drivers whose mounts tell which container is being started

T = TypeVar("T")


@dataclass(slots=True)
class _File(Generic[T]):
    """The content of a file, and the version that it was read from."""

    version: Version | None = None
    content: T | None = None

    def now(self, directory: str | None, name: str, read: Callable[[Path], T | None]) -> T | None:
        """The content now. Reads the file again if it was replaced, or could not be read before."""
        if directory is None:
            return None
        version = file_version(f"{directory}/{name}")
        if self.content is None or version != self.version:
            self.content, self.version = read(Path(directory)), version
        return self.content


@dataclass(slots=True)
class _Known:
    """The files of one container. Its storage driver and its mount id never change."""

    mount: tuple[str, str] | None = None
    configuration: _File[Configuration] = field(default_factory=_File)
    host_configuration: _File[HostConfiguration] = field(default_factory=_File)


class MountDirectory:
    """A directory in which something is mounted by its name, such as roots; it need not exist."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._device = None if path is None else _device(str(path))

    @property
    def exists(self) -> bool:
        """Whether there is such a directory."""
        return self._device is not None

    def has_mounted(self, name: str) -> bool:
        """Whether something is mounted there: that is another device. If the store does not exist, nothing is."""
        return self._device is not None and _device(f"{self._path}/{name}") not in (None, self._device)


class MountedRoots:
    """Keeps the files that it has read, as long as their containers exist."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._known: defaultdict[str, _Known] = defaultdict(_Known)

    def configurations(self, *, but: Set[str] = frozenset()) -> Iterator[Configuration]:
        """The configurations of the mounted containers except those in `but`, which may be hundreds and are not read.

        Leaves out a container whose configuration cannot be read.
        """
        places = (self._engine.place(f"{CONTAINERD}/{driver}") for driver in (SNAPSHOTTER, *self._drivers))
        containerd = [store for store in map(MountDirectory, places) if store.exists]
        stores = {driver: MountDirectory(self._engine.place(driver)) for driver in self._drivers}
        for container_id in self._listed():
            if container_id not in but and (
                any(store.has_mounted(container_id) for store in containerd) or self._is_mounted(container_id, stores)
            ):
                configuration = self.configuration(container_id)
                if configuration is not None:
                    yield configuration

    def untold(self, *, but: Set[str]) -> Iterator[Configuration]:
        """The configurations of the containers, except those in `but`, whose storage driver mounts nothing."""
        for container_id in self._listed() if self._engine.storage_driver not in TELLING else ():
            configuration = self.configuration(container_id) if container_id not in but else None
            if configuration is not None and configuration.storage_driver not in ("", *TELLING):
                yield configuration

    def everyone(self) -> Iterator[Configuration]:
        """The configurations of all containers, mounted or not, that this engine shows.

        It leaves out those that were made with another storage driver.
        """
        for container_id in self._listed():
            configuration = self.configuration(container_id)
            if configuration is not None and configuration.storage_driver in ("", self._engine.storage_driver):
                yield configuration

    @property
    def _drivers(self) -> tuple[str, ...]:
        """The storage drivers with mount ids that the engine may have; before its API answers any of them."""
        driver = self._engine.storage_driver
        return tuple(name for name in MOUNT_POINTS if driver in ("", name))

    def named(self, name: str) -> Configuration | None:
        """The container of this name. Looks first at those that had it when they were last read."""
        read = [(key, known.configuration.content) for key, known in self._known.items()]
        likely = (self.configuration(key) for key, content in read if content and content.identity.name == name)
        everyone = chain(likely, self.configurations(), self.untold(but=frozenset()))
        return next((c for c in everyone if c and c.identity.name == name), None)

    def configuration(self, container_id: str) -> Configuration | None:
        """The configuration of a container, mounted or not; None if it cannot be read."""
        known = self._known[container_id]
        return known.configuration.now(self._directory(container_id), CONFIGURATION, read_configuration)

    def host_configuration(self, container_id: str) -> HostConfiguration | None:
        """As `configuration`."""
        known = self._known[container_id]
        return known.host_configuration.now(self._directory(container_id), HOST_CONFIGURATION, read_host_configuration)

    def resolver_of(self, container_id: str) -> UseResolver | None:
        """How a container's names may be resolved by its leases; None where the user has chosen, or a file is missing.

        Only the file that the engine has made is ever named: one that the user mounts is somewhere else.
        """
        directory, configuration = self._directory(container_id), self.configuration(container_id)
        host = self.host_configuration(container_id)
        if directory is None or configuration is None or host is None or configuration.mounts_resolver or host.dns:
            return None
        return UseResolver(f"{directory}/resolv.conf", search=not host.dns_search)

    def since(self, container_id: str) -> float | None:
        """When the root of a container that was found here was mounted, in Unix seconds.

        overlay2 makes a directory for the mount, which is the last change of the directory around it. None with another
        driver, except fuse-overlayfs, and if the container has just gone.
        """
        known = self._known.get(container_id)
        driver, mount_id = (known and known.mount) or ("", "")
        directory = self._engine.place(driver) if MOUNT_POINTS.get(driver) == MOUNT_POINTS["overlay2"] else None
        try:
            return None if directory is None else os.lstat(f"{directory}/{mount_id}").st_mtime
        except OSError:
            return None

    def _directory(self, container_id: str) -> str | None:
        containers = self._engine.place(CONTAINERS)
        return None if containers is None else f"{containers}/{container_id}"

    def _listed(self) -> list[str]:
        """The ids of all containers, running or not."""
        containers = self._engine.place(CONTAINERS)
        if containers is None:
            return []
        try:
            with os.scandir(containers) as entries:
                listed = [entry.name for entry in entries]
        except OSError:
            return []  # dockerd has ended, or is another kind of engine
        if len(self._known) > len(listed):
            self._known = defaultdict(_Known, {name: self._known[name] for name in listed if name in self._known})
        return listed

    def _is_mounted(self, container_id: str, stores: Mapping[str, MountDirectory]) -> bool:
        known = self._known[container_id]
        if known.mount is None:
            known.mount = next(
                ((driver, note) for driver in stores if (note := self._note(driver, container_id))), None
            )
        if known.mount is None or known.mount[0] not in stores:
            return False
        driver, mount_id = known.mount
        return stores[driver].has_mounted(MOUNT_POINTS[driver].format(mount_id))

    def _note(self, driver: str, container_id: str) -> str:
        """The container's mount id; "" with another driver, and for the remnant of a container."""
        notes = self._engine.place(f"image/{driver}/layerdb/mounts")
        try:
            note = read_regular(f"{notes}/{container_id}/mount-id") if notes else b""
        except OSError:
            return ""
        return note.decode("ascii", "replace").strip()


def _device(path: str) -> int | None:
    """The device of a path; None if there is nothing. `Path.is_mount` would take several times as long."""
    try:
        return os.lstat(path).st_dev
    except OSError:
        return None
