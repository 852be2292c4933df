"""The ops service over TCP: a process of its own that answers what the plugin's socket answers, and nothing else."""

import gzip
import json
import os
import re
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from tests.api.test_openapi import judge
from tests.api.unit import reaction
from tests.lab.command import wait_until
from tests.lab.dhcp import DhcpServer, Ipv6Options, ServerOptions
from tests.lab.network import LAN_BRIDGE, MACHINE, SERVER
from tests.netns.process.fakeengine import Container
from tests.netns.process.plugin import NAMES
from tests.netns.process.rig import Rig
from tests.netns.process.wire import Kind
from workers.system.libc import LIBC, checked
from workers.system.namespaces import CLONE_NEWNET

PORT = 9618
TOKEN = "0123456789abcdef"  # noqa: S105  the test's
LOOPBACK = "127.0.0.1"


@pytest.fixture(scope="module", autouse=True)
def _served() -> Iterator[None]:
    """The plugin of this module serves every address, with a token."""
    with pytest.MonkeyPatch.context() as patch:
        settings = {"OPS_LISTEN": f"0.0.0.0:{PORT}", "OPS_TOKEN": TOKEN}
        patch.setattr("tests.netns.process.plugin.SETTINGS", settings)
        yield


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


def change(rig: Rig, method: str, path: str, body: object = None) -> tuple[int, Any]:
    """Status and JSON of a request over the plugin's own socket."""
    text = b"" if body is None else json.dumps(body).encode()
    head = f"{method} {path} HTTP/1.1\r\nHost: plugin\r\nContent-Length: {len(text)}\r\n\r\n"
    with rig.engine.connect() as connection:
        connection.sendall(head.encode() + text)
        seen = reaction(connection)
    return seen.status, seen.json


def test_answers(rig: Rig, server: DhcpServer) -> None:
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


def test_history(rig: Rig, server: DhcpServer) -> None:
    """What happened can be asked for: the network, who had an address and when, and events from where one has been."""
    container = rig.joined()
    body = json.loads(ask(rig, "/v1/networks")[1])
    (network,) = body["networks"]
    assert (network["network_id"], network["endpoints"]) == (container.network_id, 1)
    assert network["options"]["bridge"] == network["parent"]
    assert json.loads(ask(rig, "/readyz")[1]) == {"ready": True, "awaits": []}
    for path in ("/healthz", "/v1/checks", "/v1/endpoints", "/v1/networks", "/v1/workers", "/v1/leases"):
        status, answer = ask(rig, path)
        judge(path, "get", status, "application/json")(json.loads(answer))

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


def told(rig: Rig, container: Container, family: str) -> list[dict[str, Any]]:
    """The messages that operators see."""
    status, body = ask(rig, f"/v1/endpoints/{container.endpoint_id}")
    judge("/v1/endpoints/{name}", "get", status, "application/json")(json.loads(body))
    return [one for one in json.loads(body)["messages"] if one["family"] == family]


def test_messages(rig: Rig, server: DhcpServer) -> None:
    """They are those of a capture and of the server's log, in both families; of udhcpc's renewals, the answers."""
    rig.machine.serve_ipv6()
    server.restart(ServerOptions(ipv6=Ipv6Options()))
    container = rig.joined(rig.network(ipv6="true", ignore_conflicts="true"))
    first, own = rig.capture.frames(container.mac), told(rig, container, "ipv4")
    assert [one["kind"] for one in own[:4]] == ["DISCOVER", "OFFER", "REQUEST", "ACK"]
    assert [one["xid"] for one in own[:4:2]] == [f"{frame.packet.xid:08x}" for frame in first[:2]]
    assert [one["kind"] for one in own if one["sent"]] == [frame.packet.kind.name for frame in first]
    rig.renew(container)
    last = told(rig, container, "ipv4")[-1]
    assert (last["kind"], last["sent"], last["xid"]) == ("ACK", False, None)
    assert (last["address"], last["server"]) == (str(container.ip), str(SERVER))

    def complete(wanted: str) -> bool:
        seen = {(one["kind"], one["xid"]) for one in told(rig, container, "ipv6") if one["xid"] is not None}
        logged = {(one.kind, f"{one.xid:06x}") for one in server.messages6(container.duid)}
        return seen == logged and wanted in {kind for kind, _ in seen}

    wait_until(lambda: complete("SOLICIT"), "the first messages of DHCPv6")
    assert change(rig, "POST", f"/v1/endpoints/{container.endpoint_id}/renew")[0] == 200
    wait_until(lambda: complete("RENEW"), "those of a renewal")
    last, lease = told(rig, container, "ipv6")[-1], container.view["ipv6"]
    assert (last["address"], last["server"]) == (lease["address"].split("/")[0], lease["server"])


def test_messages_without_an_answer(rig: Rig, server: DhcpServer) -> None:
    """They are seen as well: here those of our own client, which goes on after a worker's death."""
    container = rig.joined()
    server.stop()
    rig.restart_worker(container)
    wait_until(lambda: told(rig, container, "ipv4")[-1]["sent"], "what nobody has answered")
    asked = f"{rig.capture.frames(container.mac, Kind.REQUEST)[-1].packet.xid:08x}"
    wait_until(lambda: asked in {one["xid"] for one in told(rig, container, "ipv4")}, "the capture's transaction")
    server.start()


def test_pin_of_both_families(rig: Rig, server: DhcpServer) -> None:
    """A container that was pinned keeps its MAC address, its IPv4 and its IPv6 address under the id."""
    rig.machine.serve_ipv6()
    server.restart(ServerOptions(ipv6=Ipv6Options()))
    container = rig.joined(rig.network(ipv6="true", ignore_conflicts="true"))
    path = f"/v1/endpoints/{container.endpoint_id}"
    assert rig.engine.get(path)["pinned"] is False
    assert change(rig, "POST", f"{path}/pin", {"id": "db"})[0] == 200
    before = (container.mac, container.address, container.address6)
    container.stop()
    again = rig.joined(container.network_id, {"id": "db"})
    assert (again.mac, again.address, again.address6) == before
    assert rig.engine.get(f"/v1/endpoints/{again.endpoint_id}")["pinned"] is True


def test_metrics(rig: Rig, server: DhcpServer) -> None:
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
    of_endpoint = [line for line in text.splitlines() if name in line]
    (renewals,) = [line for line in of_endpoint if line.startswith("net_dhcp_lease_renewals_total{")]
    assert float(renewals.split()[-1]) >= 1
    (info,) = [line for line in of_endpoint if line.startswith("net_dhcp_lease_info{")]
    assert f'address="{container.ip}"' in info
    assert 'state="bound"' in info
    assert re.search(r'^net_dhcp_failures_total{kind="no_server"} [1-9]', text, re.MULTILINE)
    assert re.search(r'^net_dhcp_request_duration_seconds_count{call="Join"} [1-9]', text, re.MULTILINE)
    with asking(rig.machine.host, LOOPBACK) as connection:
        headers = {"Authorization": f"Bearer {TOKEN}", "Accept-Encoding": "gzip"}
        connection.request("GET", "/metrics", headers=headers)
        packed = connection.getresponse()
        assert packed.headers["Content-Encoding"] == "gzip"
        assert b"net_dhcp_healthy" in gzip.decompress(packed.read())
    server.start()


def test_actions(rig: Rig, server: DhcpServer) -> None:
    """An operator renews a lease, gives it back and pins it over the plugin's socket; over TCP none of that exists."""
    container = rig.joined()
    path = f"/v1/endpoints/{container.endpoint_id}"
    assert ask(rig, f"{path}/renew", "POST")[0] == 404
    before = server.log().count(f"DHCPACK({LAN_BRIDGE}) {container.ip}")
    status, renewed = change(rig, "POST", f"{path}/renew")
    assert (status, renewed["endpoint_id"]) == (200, container.endpoint_id), renewed
    assert server.log().count(f"DHCPACK({LAN_BRIDGE}) {container.ip}") > before

    status, anew = change(rig, "POST", f"{path}/release")
    assert (status, anew["last_trouble"]) == (200, None), anew
    assert server.log().count("DHCPRELEASE") == 1
    rows = rig.engine.get(f"/v1/leases?mac={container.mac}")["leases"]
    assert [row["ended_by"] for row in rows] == ["released", None]
    assert anew["address"].split("/")[0] == rows[-1]["address"] in container.inside("ip", "-4", "addr", "show", "eth0")

    assert change(rig, "POST", f"{path}/pin", {"id": "web"})[0] == 200
    assert change(rig, "DELETE", f"/v1/bindings/{container.mac}")[0] == 200
    assert change(rig, "POST", f"{path}/pin", {"id": "web"})[0] == 200
    other = rig.container(container.network_id)
    other.options = {"id": "web"}
    assert "in use" in other.create().error
    container.stop()
    other = rig.joined(container.network_id, {"id": "web"})
    assert (other.mac, str(other.ip)) == (container.mac, rows[-1]["address"])


def test_log_level(rig: Rig, server: DhcpServer) -> None:
    """A level is for every process that there is, and for each that comes."""
    before = rig.joined()
    assert change(rig, "PUT", "/v1/loglevel", {"level": "loud"})[0] == 400
    assert change(rig, "PUT", "/v1/loglevel", {"level": "DEBUG"})[0] == 200
    rig.renew(before)
    after = rig.joined(before.network_id)
    try:
        for container in (before, after):
            pid = container.view["worker_pid"]
            assert pid is not None
        wait_until(lambda: "level=debug" in rig.plugin.log, "a line at the new level")
    finally:
        assert change(rig, "PUT", "/v1/loglevel", {"level": "INFO"})[0] == 200
