"""The ops service over TCP: a process of its own that answers what the plugin's socket answers, and nothing else."""

import gzip
import json
import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.lab.command import wait_until
from tests.lab.dhcp import DhcpServer
from tests.lab.network import MACHINE, SERVER
from tests.netns.process.plugin import NAMES
from tests.netns.process.rig import Rig
from workers.system.libc import LIBC, checked
from workers.system.namespaces import CLONE_NEWNET

PORT = 9618
TOKEN = "0123456789abcdef"  # noqa: S105  the test's
LOOPBACK = "127.0.0.1"


@pytest.fixture(name="served")
def _served(alone: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """To be asked for before `rig`: the plugin serves every address, with a token."""
    settings = {"OPS_LISTEN": f"0.0.0.0:{PORT}", "OPS_TOKEN": TOKEN}
    monkeypatch.setattr("tests.netns.process.plugin.SETTINGS", settings)


class TcpConnection(HTTPConnection):
    """HTTP to the ops service from within a network namespace."""

    def __init__(self, namespace: str, address: str) -> None:
        super().__init__(address, PORT, timeout=30)
        self._namespace = namespace

    def connect(self) -> None:
        """A socket belongs to the namespace that its thread was in when it was made."""
        with ThreadPoolExecutor(1) as pool:
            self.sock = pool.submit(self._socket).result()
        self.sock.settimeout(self.timeout)
        self.sock.connect((self.host, self.port))

    def _socket(self) -> socket.socket:
        with Path(f"/run/netns/{self._namespace}").open() as namespace:
            checked(LIBC.setns(namespace.fileno(), CLONE_NEWNET), "entering a network namespace")
        return socket.socket()


@contextmanager
def asking(namespace: str, address: str) -> Iterator[TcpConnection]:
    """A connection that is closed at the end."""
    connection = TcpConnection(namespace, address)
    try:
        yield connection
    finally:
        connection.close()


def ask(
    rig: Rig, path: str, method: str = "GET", *, token: str | None = TOKEN, address: str = LOOPBACK
) -> tuple[int, bytes]:
    """Status and body, from the machine itself or, by the machine's address on the LAN, from a neighbour."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    with asking(rig.machine.host if address == LOOPBACK else rig.machine.lan, address) as connection:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read()


def test_answers(served: None, rig: Rig, server: DhcpServer) -> None:
    """It answers what the socket answers, also to another machine, and dies without harm to the plugin's socket."""
    container = rig.joined()
    for address in (LOOPBACK, str(MACHINE)):
        status, body = ask(rig, "/v1/endpoints", address=address)
        assert (status, json.loads(body)) == (200, rig.engine.get("/v1/endpoints"))
        assert [one["mac"] for one in json.loads(body)["endpoints"]] == [container.mac]
        assert ask(rig, "/v1/endpoints", token=None, address=address)[0] == 401
    assert ask(rig, "/Plugin.Activate", "POST")[0] == 404
    assert ask(rig, "/NetworkDriver.DeleteEndpoint", "POST")[0] == 404

    first = rig.plugin.pids(NAMES["ops"])
    os.kill(first[0], signal.SIGKILL)
    wait_until(
        lambda: len(rig.plugin.pids(NAMES["ops"])) == 2 and not set(first) & set(rig.plugin.pids(NAMES["ops"])),
        "the next one",
    )
    wait_until(lambda: ask(rig, "/healthz")[0] == 200, "its answer")
    assert len(rig.plugin.pids(NAMES["api"])) == 2


def test_history(served: None, rig: Rig, server: DhcpServer) -> None:
    """What happened can be asked for: the network, who had an address and when, and events from where one has been."""
    container = rig.joined()
    body = json.loads(ask(rig, "/v1/networks")[1])
    (network,) = body["networks"]
    assert (network["network_id"], network["endpoints"]) == (container.network_id, 1)
    assert network["options"]["bridge"] == network["parent"]
    assert json.loads(ask(rig, "/readyz")[1]) == {"ready": True, "awaits": []}
    assert isinstance(json.loads(ask(rig, "/v1/checks")[1])["checks"], list)

    question = f"/v1/leases?address={container.ip}&mac={container.mac}"
    (held,) = json.loads(ask(rig, question)[1])["leases"]
    assert (held["endpoint_id"], held["server"], held["end"]) == (container.endpoint_id, str(SERVER), None)
    with asking(rig.machine.host, LOOPBACK) as connection:
        headers = {"Authorization": f"Bearer {TOKEN}", "Accept": "text/event-stream", "Last-Event-ID": "0"}
        connection.request("GET", "/v1/events", headers=headers)
        stream = connection.getresponse()
        container.stop()
        seen = ""
        while "event: deleted\n" not in seen:
            line = stream.readline()
            assert line, seen
            seen += line.decode()
    kinds = re.findall(r"^event: (.*)$", seen, re.MULTILINE)
    assert kinds[0] == "bound"
    assert kinds[-2:] == ["left", "deleted"]
    (over,) = json.loads(ask(rig, question)[1])["leases"]
    assert over["ended_by"] == "released"
    assert over["begin"] == held["begin"] <= over["end"]


def test_metrics(served: None, rig: Rig, server: DhcpServer) -> None:
    """A scrape counts a renewal that the server's log has, and a start that failed; no process keeps what wrote it."""
    container = rig.joined()
    rig.renew(container)
    server.stop()
    network = rig.network(lease_timeout="1s", ignore_conflicts="true")
    assert rig.container(network).create().error
    status, body = ask(rig, "/metrics")
    assert status == 200
    text = body.decode()
    name = f'endpoint="{container.endpoint_id[:12]}"'
    assert re.search(rf"^net_dhcp_lease_renewals_total{{{name},.*}} [1-9]", text, re.MULTILINE)
    assert re.search(rf'^net_dhcp_lease_info{{{name},.*address="{container.ip}".*state="bound"}} 1', text, re.MULTILINE)
    assert 'net_dhcp_failures_total{kind="no_server"} 1.0' in text
    assert re.search(r'^net_dhcp_request_duration_seconds_count{call="Join"} 1', text, re.MULTILINE)
    with asking(rig.machine.host, LOOPBACK) as connection:
        headers = {"Authorization": f"Bearer {TOKEN}", "Accept-Encoding": "gzip"}
        connection.request("GET", "/metrics", headers=headers)
        packed = connection.getresponse()
        assert packed.headers["Content-Encoding"] == "gzip"
        assert b"net_dhcp_healthy" in gzip.decompress(packed.read())
    server.start()


def test_slow_head(served: None, rig: Rig) -> None:
    """A client that sends its request byte by byte is cut off, so that many of them do not keep others out."""
    with asking(rig.machine.host, LOOPBACK) as connection:
        connection.connect()
        begun = time.monotonic()
        connection.sock.sendall(b"GET /healthz HTTP/1.1\r\n")
        connection.sock.settimeout(0.5)
        ended = False
        while not ended and time.monotonic() - begun < 60:
            try:
                connection.sock.sendall(b"X")
                ended = not connection.sock.recv(1000)
            except TimeoutError:
                continue
            except OSError:
                ended = True
        assert ended
    assert ask(rig, "/healthz")[0] == 200


def test_refused_setting(alone: None, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """An open address without a token is not served: a sentence in the log and at /healthz, and the plugin goes on."""
    monkeypatch.setattr("tests.netns.process.plugin.SETTINGS", {"OPS_LISTEN": f"0.0.0.0:{PORT}"})
    rig: Rig = request.getfixturevalue("rig")
    assert "OPS_TOKEN must be set" in rig.plugin.log
    assert "OPS_TOKEN must be set" in rig.engine.get("/healthz")["problems"][0]
    assert rig.plugin.pids(NAMES["ops"]) == []
    with asking(rig.machine.host, LOOPBACK) as connection, pytest.raises(ConnectionRefusedError):
        connection.connect()
