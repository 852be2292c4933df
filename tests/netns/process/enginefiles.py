"""The files by which the plugin knows whom a request is for: the engine's data root, written as the engine would."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from supervisor.state import tables
from supervisor.state.store import Store
from supervisor.state.tables import Snapshot
from tests.lab.command import run
from tests.netns.process.instances import Instances
from tests.supervisor.dockerfiles import DockerFiles
from tests.supervisor.samples import never


@dataclass
class EngineFiles:
    """Containers of the engine of a rig; a container that is mounted and not running is one that is being started."""

    files: DockerFiles

    def mount(self, container_id: str, name: str, network_id: str, *ports: str, policy: str = "no") -> None:
        """A container that is being started; its root file system is visible in the engine's mount table."""
        self.files.know(container_id, _mount_id(container_id))
        self.configure(container_id, name, network_id, *ports, running=False)
        path = self.files.root / "containers" / container_id / "hostconfig.json"
        path.write_text(json.dumps({"RestartPolicy": {"Name": policy}}))
        self._point(container_id).mkdir(parents=True)
        run("mount", "-t", "tmpfs", "none", self._point(container_id))

    def configure(self, container_id: str, name: str, network_id: str, *ports: str, running: bool) -> None:
        """Its configuration as it is now."""
        self.files.configure(container_id, name, network=network_id, running=running, ports=ports)

    def unmount(self, container_id: str) -> None:
        """The container has ended."""
        run("umount", self._point(container_id))

    def unmount_all(self) -> None:
        """Nothing is left in the mount table."""
        for point in sorted(self.files.root.glob("overlay2/*/merged")):
            if point.is_mount():
                run("umount", point)

    def _point(self, container_id: str) -> Path:
        return self.files.root / "overlay2" / _mount_id(container_id) / "merged"


def _mount_id(container_id: str) -> str:
    return f"mount-{container_id[:8]}"


@contextmanager
def engine_files(instances: Instances, directory: Path) -> Iterator[EngineFiles]:
    """The plugin's next instance takes its engine's data root from its own state, as while the engine is silent."""
    files = EngineFiles(DockerFiles(directory))
    instances.end()
    store = Store(instances.state, Snapshot, never)
    store.load()
    store.do(tables.put_data_root(str(files.files.root)))
    assert store.problem is None
    instances.start()
    try:
        yield files
    finally:
        files.unmount_all()
