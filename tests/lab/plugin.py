"""The plugin as an engine runs it: installed, its log, its processes, its socket."""

import json
import re
import socket
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.lab.command import run
from tests.lab.engine import Docker, Engine
from tests.lab.process import Process, processes
from tests.lab.unix_http import UnixConnection, ask

SOCKET = "net-dhcp.sock"


@dataclass(frozen=True, slots=True)
class Plugin:
    """An installed plugin; `name` includes the tag, and is the driver's name. `id` names its directories and cgroup."""

    engine: Engine
    name: str
    id: str

    @classmethod
    def install(cls, engine: Engine, name: str, definition: Path, *settings: str) -> "Plugin":
        """Create it from build/plugin and enable it, with these settings such as LOG_LEVEL=DEBUG."""
        create(engine.docker, name, definition)
        if settings:
            engine.docker("plugin", "set", name, *settings)
        engine.docker("plugin", "enable", name)
        return cls.installed(engine, name)

    @classmethod
    def installed(cls, engine: Engine, name: str) -> "Plugin":
        """One that the engine has."""
        return cls(engine, name, engine.docker("plugin", "inspect", "--format", "{{.Id}}", name))

    @property
    def docker(self) -> Docker:
        """The docker command for its engine."""
        return self.engine.docker

    def remove(self) -> None:
        """Disable and remove it; its state goes as well."""
        self.docker("plugin", "rm", "--force", self.name)

    def log(self) -> list[str]:
        """The lines it has printed, in order."""
        wanted = f" plugin={self.id}"
        text = self.engine.log.read_text(errors="replace")
        return [_message(line) for line in text.splitlines() if line.endswith(wanted)]

    def processes(self) -> list[Process]:
        """All of its processes, udhcpc's in the containers' namespaces included."""
        return [process for process in processes() if self.id in _cgroup(process)]

    def get(self, path: str) -> tuple[int, Any]:
        """GET on its socket: the status and the JSON of the answer."""
        return ask(self.socket_path, "GET", path)

    def post(self, path: str, body: bytes) -> tuple[int, Any]:
        """POST, as `get`."""
        return ask(self.socket_path, "POST", path, body)

    def connect(self) -> socket.socket:
        """A connection to its socket."""
        connection = UnixConnection(self.socket_path)
        connection.connect()
        return connection.sock

    @property
    def socket_path(self) -> Path:
        """As seen from outside of the engine's mount namespace."""
        return self.engine.run_directory / "docker" / "plugins" / self.id / SOCKET


def create(docker: Docker, name: str, definition: Path) -> None:
    """Create it, not yet enabled. Its name is in a file, since an engine refuses two plugins of one digest."""
    with TemporaryDirectory(dir=definition.parent) as directory:
        copy = Path(directory) / "plugin"
        run("cp", "--archive", "--link", definition, copy)
        (copy / "rootfs" / "etc" / "plugin-name").write_text(f"{name}\n")
        docker("plugin", "create", name, copy)


def _cgroup(process: Process) -> str:
    try:
        return Path(f"/proc/{process.pid}/cgroup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""  # it has just gone


@cache  # a test that waits for a line reads the whole log again and again
def _message(line: str) -> str:
    """The text within dockerd's log line: a Go-quoted string, whose escapes are JSON's in all that we print."""
    match = re.search(r' msg=("(?:[^"\\]|\\.)*"|\S+)', line)
    text = match[1] if match else line
    return str(json.loads(text)) if text.startswith('"') else text
