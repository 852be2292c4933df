"""A link with a lease, but without a container: by the plugin's own socket, and by a bare udhcpc as its control.

Owns the clock around both. Must not know what a container is.
"""

import json
import secrets
import time
from collections.abc import Mapping
from pathlib import Path

from tests.lab.command import run
from tests.lab.network import BRIDGE, Network, inside
from tests.lab.plugin import Plugin, UnixConnection

PORT, LINK = "bench-port", "bench-link"
PLUG = f"""link add {PORT} type veth peer name {LINK}
link set {PORT} master {BRIDGE} up
link set {LINK} up
"""
# The lease goes back at the end (-R). The script does nothing.
UDHCPC = ("busybox", "udhcpc", "-f", "-q", "-n", "-R", "-i", LINK, "-s", "/bin/true")


class CallFailed(Exception):
    """The plugin refused a call; the text is its answer."""


def time_endpoint(plugin: Plugin, network_id: str) -> tuple[float, float]:
    """Milliseconds of CreateEndpoint, a lease included, and of DeleteEndpoint, its release included.

    They are counted from the connection to the last byte of the answer.
    """
    directory = plugin.socket_directory
    ids = {"NetworkID": network_id, "EndpointID": secrets.token_hex(32)}
    interface = {"Address": "", "AddressIPv6": "", "MacAddress": ""}
    created = _call(directory, "CreateEndpoint", {**ids, "Interface": interface, "Options": {}})
    return created, _call(directory, "DeleteEndpoint", ids)


def time_client(machine: Network) -> float:
    """Milliseconds for a veth pair on the same bridge and a lease for it, without any plugin."""
    began = time.perf_counter()
    run("ip", "-n", machine.host, "-batch", "-", stdin=PLUG.encode())
    try:
        run(*inside(machine.host, *UDHCPC))
        return (time.perf_counter() - began) * 1000
    finally:
        run("ip", "-n", machine.host, "link", "delete", PORT)


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
