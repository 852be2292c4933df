"""CreateEndpoint and DeleteEndpoint at the plugin's own socket, as the engine calls them, without a container.

Owns the clock around them. Must not know what a container is.
"""

import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from tests.lab.plugin import Plugin
from tests.lab.unix_http import ask


class CallFailed(Exception):
    """The plugin refused a call; the text is its answer."""


@dataclass(frozen=True, slots=True)
class EndpointTimes:
    """Milliseconds of CreateEndpoint, a lease included, and of DeleteEndpoint, its release included."""

    created: float
    deleted: float


def time_endpoint(plugin: Plugin, network_id: str) -> EndpointTimes:
    """Each from the connection to the last byte of the answer; raises CallFailed."""
    ids = {"NetworkID": network_id, "EndpointID": secrets.token_hex(32)}
    interface = {"Address": "", "AddressIPv6": "", "MacAddress": ""}
    created = _call(plugin.socket_path, "CreateEndpoint", {**ids, "Interface": interface, "Options": {}})
    return EndpointTimes(created, _call(plugin.socket_path, "DeleteEndpoint", ids))


def _call(socket: Path, method: str, body: Mapping[str, object]) -> float:
    began = time.perf_counter()
    status, answer = ask(socket, "POST", f"/NetworkDriver.{method}", json.dumps(body).encode())
    took = (time.perf_counter() - began) * 1000
    if status != HTTPStatus.OK:
        raise CallFailed(f"{method}: status {status}: {answer}")
    return took
