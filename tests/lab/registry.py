"""A registry of the laboratory's own, from which plugins are installed as users install them."""

from dataclasses import dataclass
from pathlib import Path

from tests.lab.command import wait_until
from tests.lab.network import inside
from tests.lab.process import Process, spawn

ADDRESS = "127.0.0.1:5000"  # an engine asks a registry on its loopback interface without TLS
CONFIGURATION = """\
version: 0.1
storage: {{filesystem: {{rootdirectory: {storage}}}}}
http: {{addr: "{address}"}}
"""


@dataclass(frozen=True, slots=True)
class Registry:
    """Debian's docker-registry on the loopback interface of the engine's namespace."""

    directory: Path
    netns: str

    def start(self) -> None:
        """Returns when it listens."""
        self.directory.mkdir(parents=True, exist_ok=True)
        configuration = self.directory / "registry.yml"
        configuration.write_text(CONFIGURATION.format(storage=self.directory / "storage", address=ADDRESS))
        log = self.directory / "registry.log"
        process = spawn(inside(self.netns, "docker-registry", "serve", str(configuration)), log)
        process.record(self._record)
        wait_until(lambda: "listening on" in log.read_text(), "the registry's socket", 20)

    def stop(self) -> None:
        """What was pushed stays until the directory goes."""
        if process := Process.recorded(self._record):
            process.stop()
        self._record.unlink(missing_ok=True)

    @property
    def _record(self) -> Path:
        return self.directory / "registry.pid"
