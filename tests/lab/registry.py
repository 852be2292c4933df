"""A registry of the laboratory's own, from which plugins are installed as users install them."""

from dataclasses import dataclass

from tests.lab.daemon import Daemon

ADDRESS = "127.0.0.1:5000"  # an engine asks a registry on its loopback interface without TLS
CONFIGURATION = """\
version: 0.1
storage: {{filesystem: {{rootdirectory: {storage}}}}}
http: {{addr: "{address}"}}
"""


@dataclass(frozen=True, slots=True)
class Registry(Daemon):
    """Debian's docker-registry on the loopback interface of the engine's namespace."""

    name = "registry"
    started = "listening on"

    def start(self) -> None:
        """Returns when it listens."""
        self.directory.mkdir(parents=True, exist_ok=True)
        configuration = self.directory / "registry.yml"
        configuration.write_text(CONFIGURATION.format(storage=self.directory / "storage", address=ADDRESS))
        self.launch("docker-registry", "serve", str(configuration))
