"""CreateEndpoint and DeleteEndpoint at the plugin's own socket, as the engine calls them, without a container.

Owns the time on the wire: from the connection to the last byte of the answer. Must not know what a container is.
"""

import json
import os
import secrets
import socket
import time
from collections.abc import Mapping
from http.client import HTTPConnection
from pathlib import Path

from tests.lab.plugin import SOCKET, Plugin

TIMEOUT_SECONDS = 30.0  # the engine's own


class CallFailed(Exception):
    """The plugin refused a call; the text is its answer."""


def time_endpoint(plugin: Plugin, network_id: str) -> tuple[float, float]:
    """Milliseconds of CreateEndpoint, a lease included, and of DeleteEndpoint, its release included."""
    directory = plugin.engine.run_directory / "docker" / "plugins" / plugin.id
    ids = {"NetworkID": network_id, "EndpointID": secrets.token_hex(32)}
    interface = {"Address": "", "AddressIPv6": "", "MacAddress": ""}
    created = _call(directory, "CreateEndpoint", {**ids, "Interface": interface, "Options": {}})
    return created, _call(directory, "DeleteEndpoint", ids)


def _call(directory: Path, method: str, body: Mapping[str, object]) -> float:
    began = time.perf_counter()
    connection = _Connection(directory)
    try:
        connection.request("POST", f"/NetworkDriver.{method}", json.dumps(body))
        answer = connection.getresponse()
        text = answer.read().decode(errors="replace")
    finally:
        connection.close()
    took = (time.perf_counter() - began) * 1000
    if answer.status != 200:
        raise CallFailed(f"{method}: status {answer.status}: {text}")
    return took


class _Connection(HTTPConnection):
    """HTTP to the socket in `directory`, whose path may be longer than the 107 bytes that unix(7) allows."""

    def __init__(self, directory: Path) -> None:
        super().__init__("plugin", timeout=TIMEOUT_SECONDS)
        self._directory = directory

    def connect(self) -> None:
        """By way of a descriptor of the directory."""
        directory = os.open(self._directory, os.O_PATH)
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        try:
            self.sock.connect(f"/proc/self/fd/{directory}/{SOCKET}")
        finally:
            os.close(directory)
