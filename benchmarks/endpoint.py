"""CreateEndpoint and DeleteEndpoint at the plugin's own socket, as the engine calls them, without a container.

Owns the clock around them. Must not know what a container is.
"""

import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.lab.plugin import Plugin, UnixConnection


class CallFailed(Exception):
    """The plugin refused a call; the text is its answer."""


@dataclass(frozen=True, slots=True)
class EndpointTimes:
    """Milliseconds of CreateEndpoint, a lease included, and of DeleteEndpoint, its release included."""

    created: float
    deleted: float


def time_endpoint(plugin: Plugin, network_id: str) -> EndpointTimes:
    """Each from the connection to the last byte of the answer; raises CallFailed."""
    directory = plugin.socket_directory
    ids = {"NetworkID": network_id, "EndpointID": secrets.token_hex(32)}
    interface = {"Address": "", "AddressIPv6": "", "MacAddress": ""}
    created = _call(directory, "CreateEndpoint", {**ids, "Interface": interface, "Options": {}})
    return EndpointTimes(created, _call(directory, "DeleteEndpoint", ids))


def _call(directory: Path, method: str, body: Mapping[str, object]) -> float:
    began = time.perf_counter()
    connection = UnixConnection(directory)
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
