"""Docker Compose, as users run it: a file in a directory, whose name is the project's."""

import os
from dataclasses import dataclass
from pathlib import Path

from tests.lab.command import run
from tests.lab.engine import Docker
from tests.lab.engine_roots import compose

TIMEOUT = 180.0  # seconds; for as many containers as a project has


@dataclass(frozen=True, slots=True)
class Compose:
    """One project."""

    docker: Docker
    directory: Path

    @classmethod
    def project(cls, docker: Docker, directory: Path, text: str) -> "Compose":
        """Writes its file."""
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "docker-compose.yml").write_text(text)
        return cls(docker, directory)

    def __call__(self, *args: str) -> str:
        """Compose with these arguments; raises CommandFailed."""
        environment = {**os.environ, **({"DOCKER_HOST": self.docker.host} if self.docker.host else {})}
        where = ("--project-directory", self.directory, "--file", self.directory / "docker-compose.yml")
        return run(*compose(), *where, *args, env=environment, timeout=TIMEOUT)

    def containers(self) -> list[str]:
        """The ids of its containers, those that do not run included."""
        return self.docker("ps", "--all", "--quiet", "--filter", f"label={self._label}").split()

    @property
    def _label(self) -> str:
        return f"com.docker.compose.project={self.directory.name}"
