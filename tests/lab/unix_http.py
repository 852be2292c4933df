"""HTTP to a socket in the file system: an engine's, a plugin's."""

import json
import os
import socket
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

TIMEOUT = 30.0  # seconds; an engine's own for its plugins


class UnixConnection(HTTPConnection):
    """The path may be longer than the 107 bytes that a socket's may have."""

    def __init__(self, path: Path) -> None:
        super().__init__(path.name, timeout=TIMEOUT)
        self._path = path
        self.sock: socket.socket

    def connect(self) -> None:
        """Connect by way of a descriptor of the directory."""
        directory = os.open(self._path.parent, os.O_PATH)
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        try:
            self.sock.connect(f"/proc/self/fd/{directory}/{self._path.name}")
        finally:
            os.close(directory)


def ask(path: Path, method: str, target: str, body: bytes | None = None) -> tuple[int, Any]:
    """The status and the JSON of the answer."""
    connection = UnixConnection(path)
    try:
        connection.request(method, target, body)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()
