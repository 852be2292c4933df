"""The containers whose root file system the engine has mounted, found without reading its whole table of mounts.

The kernel writes that table anew for each reader, everybody's mounts, some 2 us each. To ask of one directory whether
something is mounted on it takes about as long, and it is asked only for those containers that matter. Reads through
/proc/<pid of dockerd>/root, which takes CAP_SYS_PTRACE. Must not know which container is looked for.
"""

import os
from collections.abc import Iterator, Set
from dataclasses import dataclass
from pathlib import Path

from supervisor.containerfiles import Configuration, Version, configuration_version, read_configuration
from supervisor.engine import Engine

# overlay2 mounts by a mount id of its own, which it notes for each container, the containerd image store by the
# container's id.
CONTAINERS, OVERLAY2, CONTAINERD, NOTES = "containers", "overlay2", "rootfs/overlayfs", "image/overlay2/layerdb/mounts"


@dataclass(slots=True)
class _Known:
    """What was read of a container: its mount id, which never changes, and one version of its configuration."""

    mount_id: str | None = None
    version: Version | None = None
    configuration: Configuration | None = None


class _Store:
    """A directory in which roots are mounted; it need not be there."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._device = None if path is None else _device(str(path))

    def has_mounted(self, name: str) -> bool:
        """What is mounted is another device. Where there is no such store, nothing is asked for."""
        return self._device is not None and _device(f"{self._path}/{name}") not in (None, self._device)


class Mounted:
    """Remembers what it has read of those containers that there still are."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._known: dict[str, _Known] = {}

    def configurations(self, *, but: Set[str] = frozenset()) -> Iterator[Configuration]:
        """Those of the mounted containers, without the ones in `but`, of which nothing is read: there may be hundreds.

        What cannot be read is left out.
        """
        containers = self._place(CONTAINERS)
        stores = _Store(self._place(CONTAINERD)), _Store(self._place(OVERLAY2))
        for container_id in self._listed(containers):
            if container_id not in but and self._is_mounted(container_id, *stores):
                configuration = _up_to_date(self._known[container_id], f"{containers}/{container_id}")
                if configuration is not None:
                    yield configuration

    def around(self, container_id: str) -> Path | None:
        """The directory around the mount of a container that was found here; None with another store than overlay2."""
        known = self._known.get(container_id)
        return None if known is None or known.mount_id is None else self._place(f"{OVERLAY2}/{known.mount_id}")

    def _place(self, name: str) -> Path | None:
        return self._engine.path(f"{self._engine.data_root}/{name}")

    def _listed(self, containers: Path | None) -> list[str]:
        """All that there are, running or not."""
        if containers is None:
            return []
        try:
            with os.scandir(containers) as entries:
                listed = [entry.name for entry in entries]
        except OSError:
            return []  # dockerd has ended, or is another form of engine
        if len(self._known) > len(listed):
            self._known = {name: self._known[name] for name in listed if name in self._known}
        return listed

    def _is_mounted(self, container_id: str, containerd: _Store, overlay2: _Store) -> bool:
        known = self._known.setdefault(container_id, _Known())
        if containerd.has_mounted(container_id):
            return True
        if known.mount_id is None:
            known.mount_id = self._note(container_id)
        return known.mount_id is not None and overlay2.has_mounted(f"{known.mount_id}/merged")

    def _note(self, container_id: str) -> str | None:
        note = self._place(f"{NOTES}/{container_id}/mount-id")
        try:
            return note.read_text(encoding="ascii").strip() or None if note else None
        except OSError:
            return None  # another store is in use, or this is the remnant of a container


def _up_to_date(known: _Known, directory: str) -> Configuration | None:
    """The container's configuration, which is read again when it is another one, or could not be read."""
    version = configuration_version(directory)
    if known.configuration is None or version != known.version:
        known.configuration, known.version = read_configuration(Path(directory)), version
    return known.configuration


def _device(path: str) -> int | None:
    """None where there is nothing. `Path.is_mount` follows each part of the path, which takes several times as long."""
    try:
        return os.lstat(path).st_dev
    except OSError:
        return None
