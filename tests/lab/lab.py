"""One laboratory: its network, DHCP server and engine, brought up and removed as a whole."""

import os
import re
import shutil
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.lab.build import BUILD
from tests.lab.dhcp import DhcpServer, ServerOptions
from tests.lab.engine import Engine
from tests.lab.engine_roots import chosen, root_of
from tests.lab.images import import_images
from tests.lab.network import Network
from tests.lab.registry import Registry

LABS = BUILD / "labs"
FAILED_LOGS = BUILD / "failed-logs"
CHECKOUT = f"{zlib.crc32(bytes(BUILD)):08x}"  # laboratories of different checkouts do not touch each other


@dataclass(frozen=True, slots=True)
class Lab:
    """Everything on disk lies in build/labs/NAME; `down` needs no more than that, whoever called `up`."""

    name: str

    @classmethod
    @contextmanager
    def temporary(
        cls, kind: str, options: ServerOptions | None = None, settings: Mapping[str, object] | None = None
    ) -> Iterator["Lab"]:
        """One that lasts as long as the block; those that killed processes have left are removed as well."""
        for directory in LABS.glob(f"{kind}-*"):
            if not Path(f"/proc/{directory.name.removeprefix(f'{kind}-')}").exists():
                cls(directory.name).down()
        lab = cls(f"{kind}-{os.getpid()}")
        try:
            lab.up(options, settings)
            yield lab
        except BaseException:
            keep_logs(lab.directory, lab.name)
            raise
        finally:
            lab.down()

    @property
    def directory(self) -> Path:
        """Logs, leases and the engine's data."""
        return LABS / self.name

    @property
    def network(self) -> Network:
        """The two namespaces."""
        return Network(f"{self.name}-{CHECKOUT}")

    @property
    def dhcp(self) -> DhcpServer:
        """The LAN's server."""
        return DhcpServer(self.directory / "dhcp", self.network.lan)

    @property
    def engine(self) -> Engine:
        """The machine's engine."""
        version = chosen()
        return Engine(self.directory / "engine", self.network.host, root_of(version) if version else None)

    @property
    def registry(self) -> Registry:
        """A registry on the machine; not started by `up`."""
        return Registry(self.directory / "registry", self.network.host)

    def up(self, options: ServerOptions | None = None, settings: Mapping[str, object] | None = None) -> None:
        """Bring it up with both images in its engine, which has these settings of daemon.json.

        What was left of an earlier one is removed first.
        """
        self.down()
        self.directory.mkdir(parents=True)
        self.network.up()
        self.dhcp.start(options)
        self.engine.start(settings)
        self.network.pass_bridged()
        import_images(self.engine.docker, BUILD)

    def down(self) -> None:
        """Remove it: containers, plugins, processes, mounts, namespaces, files."""
        self.engine.stop()
        self.registry.stop()
        self.dhcp.stop()
        self.network.down()
        if self.directory.exists():
            shutil.rmtree(self.directory)


def keep_logs(directory: Path, name: str) -> Path:
    """Copies the logs of what has failed to build/failed-logs, before its directory goes."""
    kept = FAILED_LOGS / re.sub(r"[^\w.-]+", "_", name)[-120:]
    for log in (*directory.glob("*.log"), *directory.glob("*/*.log")):
        target = kept / log.relative_to(directory)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(log, target)
    return kept
