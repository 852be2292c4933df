"""Malformed requests at the installed plugin's own socket."""

import json
import socket
from typing import Any

from tests.api.test_malformed import IDS, MALFORMED
from tests.lab.command import wait_until
from tests.lab.lab import Lab
from tests.lab.leaks import assert_no_more
from tests.lab.plugin import Plugin
from tests.plugin.conftest import Run, belongings, has_spare
from tests.plugin.judge import assert_leased, await_client

UNKNOWN = json.dumps(IDS | {"Interface": {}, "SandboxKey": "/var/run/docker/netns/0123456789ab"}).encode()
OF_THE_UNKNOWN = {"CreateEndpoint": 404, "Join": 404, "EndpointOperInfo": 404, "Leave": 200, "DeleteEndpoint": 200}
NO_HTTP = [b"\0\1\2\3\r\n\r\n", b"GET\r\n\r\n", b"POST /NetworkDriver.Leave HTTP/1.1\r\nContent-Length: x\r\n\r\n", b""]


def _reaction(plugin: Plugin, raw: bytes) -> bytes:
    with plugin.connect() as connection:
        connection.sendall(raw)
        connection.shutdown(socket.SHUT_WR)
        parts = iter(lambda: connection.recv(65536), b"")
        return b"".join(parts)


def test_nothing_is_changed(run: Run, lab: Lab, plugin: Plugin, network: str) -> None:
    """Each of the API's table, 10 MB, ids that nobody has, no HTTP: refused in JSON; endpoints and processes stay."""
    container = run()
    await_client(plugin, assert_leased(container, network, lab.dhcp))
    wait_until(lambda: has_spare(plugin), "the spare worker that replaces the container's")
    before, endpoints = belongings(lab, plugin), _endpoints(plugin)

    for method, body, text in MALFORMED:
        status, answer = plugin.post(f"/NetworkDriver.{method}", body)
        assert (status, text in answer["Err"]) == (400, True)
    status, answer = plugin.post("/NetworkDriver.Leave", json.dumps(IDS).encode() + b" " * 10_000_000)
    assert (status, list(answer)) == (413, ["Err"])
    for method, expected in OF_THE_UNKNOWN.items():
        assert plugin.post(f"/NetworkDriver.{method}", UNKNOWN)[0] == expected
    reactions = [_reaction(plugin, raw) for raw in NO_HTTP]
    assert all(reaction.startswith(b"HTTP/1.1 400") and b'{"Err": ' in reaction for reaction in reactions[:-1])
    assert reactions[-1] == b""

    assert _endpoints(plugin) == endpoints
    assert_no_more(before, lambda: belongings(lab, plugin))


def _endpoints(plugin: Plugin) -> Any:  # noqa: ANN401  (JSON)
    _, view = plugin.get("/v1/endpoints")
    return view["endpoints"]
