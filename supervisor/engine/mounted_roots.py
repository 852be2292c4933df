"""Finds the containers whose root file system the engine has mounted, without reading its whole table of mounts.

For each reader the kernel writes that table anew, with all mounts of the host, some 2 us each. To ask whether something
is mounted on one directory takes about as long, and we ask only for the containers that matter. Reads through
/proc/PID-OF-DOCKERD/root, which takes CAP_SYS_PTRACE. Must not know which container is looked for.
"""

import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Set
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

# overlay2 mounts by a mount id of its own, which it notes for each container, the containerd image store by the
# container's id.
CONTAINERS, OVERLAY2, CONTAINERD, NOTES = "containers", "overlay2", "rootfs/overlayfs", "image/overlay2/layerdb/mounts"

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
    """The files of one container. Its mount id never changes."""

    mount_id: str | None = None
    configuration: _File[Configuration] = field(default_factory=_File)
    host_configuration: _File[HostConfiguration] = field(default_factory=_File)


class _Store:
    """A directory in which roots are mounted; it need not exist."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._device = None if path is None else _device(str(path))

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
        stores = _Store(self._engine.place(CONTAINERD)), _Store(self._engine.place(OVERLAY2))
        for container_id in self._listed():
            if container_id not in but and self._is_mounted(container_id, *stores):
                configuration = self.configuration(container_id)
                if configuration is not None:
                    yield configuration

    def named(self, name: str) -> Configuration | None:
        """The container of this name. Looks first at those that had it when they were last read."""
        read = [(key, known.configuration.content) for key, known in self._known.items()]
        likely = (self.configuration(key) for key, content in read if content and content.identity.name == name)
        return next((c for c in chain(likely, self.configurations()) if c and c.identity.name == name), None)

    def configuration(self, container_id: str) -> Configuration | None:
        """The configuration of a container, mounted or not; None if it cannot be read."""
        known = self._known[container_id]
        return known.configuration.now(self._directory(container_id), CONFIGURATION, read_configuration)

    def host_configuration(self, container_id: str) -> HostConfiguration | None:
        """As `configuration`."""
        known = self._known[container_id]
        return known.host_configuration.now(self._directory(container_id), HOST_CONFIGURATION, read_host_configuration)

    def since(self, container_id: str) -> float | None:
        """When the root of a container that was found here was mounted, in Unix seconds.

        overlay2 makes a directory for the mount, which is the last change of the directory around it. None with another
        store, and if the container has just gone.
        """
        known, overlay2 = self._known.get(container_id), self._engine.place(OVERLAY2)
        if overlay2 is None or known is None or known.mount_id is None:
            return None
        try:
            return os.lstat(f"{overlay2}/{known.mount_id}").st_mtime
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

    def _is_mounted(self, container_id: str, containerd: _Store, overlay2: _Store) -> bool:
        known = self._known[container_id]
        if containerd.has_mounted(container_id):
            return True
        if known.mount_id is None:
            known.mount_id = self._note(container_id)
        return known.mount_id is not None and overlay2.has_mounted(f"{known.mount_id}/merged")

    def _note(self, container_id: str) -> str | None:
        notes = self._engine.place(NOTES)
        try:
            return (notes / container_id / "mount-id").read_text(encoding="ascii").strip() or None if notes else None
        except OSError:
            return None  # another store is in use, or this is the remnant of a container


def _device(path: str) -> int | None:
    """The device of a path; None if there is nothing. `Path.is_mount` would take several times as long."""
    try:
        return os.lstat(path).st_dev
    except OSError:
        return None
