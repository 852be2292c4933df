"""What the watcher makes of the engine's JSON. The engine is played."""

import json
from http.server import BaseHTTPRequestHandler
from ipaddress import IPv4Address, IPv4Interface, IPv6Interface
from multiprocessing import Pipe
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from threading import Thread
from typing import Any, cast

import pytest
from docker.api.client import APIClient
from docker.errors import NotFound

from supervisor.engine import watcher
from supervisor.engine.facts import (
    ContainerSeen,
    ContainersListed,
    EndpointSeen,
    EngineLost,
    Fact,
    NetworkSeen,
    NetworksListed,
)

OWN, LAN, DOCKER0, ENDPOINT, WEB = "net-dhcp:latest", "1" * 64, "2" * 64, "e" * 64, "c" * 64
KEY = "/var/run/docker/netns/0123456789ab"
PLACE = {
    "NetworkID": LAN,
    "EndpointID": ENDPOINT,
    "MacAddress": "02:00:00:00:00:AA",
    "IPAddress": "192.0.2.7",
    "IPPrefixLen": 24,
    "GlobalIPv6Address": "2001:db8::7",
    "GlobalIPv6PrefixLen": 128,
    "Gateway": "192.0.2.1",
    "DriverOpts": {"id": "web", "com.docker.network.endpoint.ifname": "lan0"},
}
NOTHING: dict[str, Any] = {
    "MacAddress": "",
    "IPAddress": "",
    "IPPrefixLen": 0,
    "GlobalIPv6Address": "",
    "GlobalIPv6PrefixLen": 0,
    "Gateway": "",
    "DriverOpts": None,
}
ODD: dict[str, Any] = {
    "MacAddress": "\n02:00",
    "IPAddress": "fe80::1",
    "IPPrefixLen": 99,
    "GlobalIPv6Address": "192.0.2.7",
    "GlobalIPv6PrefixLen": -1,
    "Gateway": "x" * 10_000,
    "DriverOpts": {},
}
BEGAN = 1_700_000_000.0
RUNNING = {"Running": True, "Restarting": False}


class PlayedEngine:
    """One container, on one network of the plugin's and one of the engine's own."""

    def __init__(self, place: dict[str, Any], sandbox_key: str = KEY, state: dict[str, bool] = RUNNING) -> None:
        self._place = place
        self._sandbox_key = sandbox_key
        self._state = state

    def networks(self) -> list[dict[str, Any]]:
        """`GET /networks`."""
        own = {"Id": LAN, "Name": "lan", "Driver": OWN, "IPAM": {"Driver": "null"}, "Options": {"bridge": "br0"}}
        return [own, {"Id": DOCKER0, "Name": "bridge", "Driver": "bridge", "Options": {"x": "y"}, "EnableIPv6": True}]

    def containers(self, *, all: bool) -> list[dict[str, Any]]:  # noqa: A002  the SDK's word
        """`GET /containers/json`."""
        assert all
        return [{"Id": WEB}]

    def inspect_container(self, container_id: str) -> dict[str, Any]:
        """`GET /containers/ID/json`."""
        places = {"lan": self._place, "bridge": {"NetworkID": DOCKER0, "EndpointID": "d" * 64}}
        settings = {"SandboxKey": self._sandbox_key, "Networks": places}
        known = {"Id": container_id, "Name": "/web", "Config": {"Hostname": "host"}, "State": self._state}
        return known | {"NetworkSettings": settings}

    def plugins(self) -> list[dict[str, Any]]:
        """`GET /plugins`."""
        return [
            {"Name": "other:latest", "Id": "b" * 64},
            {"Name": "odd:latest", "Id": ""},
            {"Name": OWN, "Id": "a" * 64},
        ]


def told(place: dict[str, Any], sandbox_key: str = KEY, state: dict[str, bool] = RUNNING) -> list[Fact]:
    """All that the watcher tells at its beginning."""
    return list(watcher._everything(cast(APIClient, PlayedEngine(place, sandbox_key, state))))


def test_listing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks with their options, if a plugin has made them; containers, and their endpoints on those.

    At the end comes when that began: what the plugin has learnt since is no older.
    """
    monkeypatch.setattr("supervisor.engine.watcher.time.time", lambda: BEGAN)
    container = ContainerSeen(WEB, "web", "host", (ENDPOINT, "d" * 64))
    addresses = IPv4Interface("192.0.2.7/24"), IPv6Interface("2001:db8::7/128"), IPv4Address("192.0.2.1")
    assert told(PLACE) == [
        NetworkSeen(LAN, "lan", None, (), OWN, "null", {"bridge": "br0"}),
        NetworkSeen(DOCKER0, "bridge", f"br-{DOCKER0[:12]}", (), "bridge"),
        NetworksListed(),
        container,
        EndpointSeen(container, LAN, ENDPOINT, KEY, "02:00:00:00:00:aa", *addresses, {"id": "web"}),
        ContainersListed(BEGAN),
    ]


@pytest.mark.parametrize("state", [{"Running": False}, {"Running": True, "Restarting": True}])
def test_container_that_a_crash_has_ended(state: dict[str, bool]) -> None:
    """The engine goes on telling of the endpoints that it had."""
    assert not [fact for fact in told(PLACE, state=state) if isinstance(fact, EndpointSeen)]


@pytest.mark.parametrize("values", [NOTHING, ODD])
def test_values_that_are_none(values: dict[str, Any]) -> None:
    """What is missing, or is no such value, is told as missing."""
    (seen,) = (fact for fact in told(PLACE | values) if isinstance(fact, EndpointSeen))
    assert (seen.mac, seen.address, seen.address6, seen.gateway, seen.options) == (None, None, None, None, {})


def test_containers_that_have_stopped() -> None:
    """Without a sandbox there is no endpoint to tell of, nor without an endpoint."""
    for facts in (told(PLACE, sandbox_key=""), told(PLACE | {"EndpointID": ""})):
        assert not [fact for fact in facts if isinstance(fact, EndpointSeen)]


@pytest.mark.parametrize(("directory", "name"), [("a" * 64, OWN), ("f" * 64, None)])
def test_own_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, directory: str, name: str | None) -> None:
    """The plugin is the one whose directory is mounted in it; an engine may know no plugins."""
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"1 2 3:4 /var/lib/docker/plugins/{directory}/rootfs / rw - ext4 /dev/sda1 rw\n")
    monkeypatch.setattr(watcher, "MOUNTS", mounts)
    engine = PlayedEngine(PLACE)
    assert watcher._own_name(cast(APIClient, engine)) == name

    def missing() -> list[dict[str, Any]]:
        raise NotFound("no such page")

    monkeypatch.setattr(engine, "plugins", missing)
    assert watcher._own_name(cast(APIClient, engine)) is None


def test_ipv6_that_was_asked_for_by_a_flag() -> None:
    """`network create --ipv6` stands for the option, unless that is there."""
    network = PlayedEngine(PLACE).networks()[0] | {"EnableIPv6": True}
    assert watcher._network(network).options == {"ipv6": "true", "bridge": "br0"}
    network["Options"] = {"bridge": "br0", "ipv6": "slaac"}
    assert watcher._network(network).options == {"ipv6": "slaac", "bridge": "br0"}


class BrokenStream(BaseHTTPRequestHandler):
    """An engine that dies in the middle of what it tells: of a chunk, or of an event."""

    protocol_version = "HTTP/1.1"
    begun = b""

    def do_GET(self) -> None:
        """Nothing is there but the stream, which breaks off."""
        path = self.path.partition("?")[0].removeprefix("/v1.44")
        if path == "/events":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + self.begun)
            self.close_connection = True
            return
        told = {"/version": {"ApiVersion": "1.44"}, "/info": {"DockerRootDir": "/data"}}
        body = json.dumps(told.get(path, [])).encode()
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    def log_message(self, *_args: object) -> None:
        """Says nothing."""


@pytest.mark.parametrize("begun", [b"40\r\n{", b'2\r\n{"\r\n0\r\n\r\n', b"4"], ids=["chunk", "event", "length"])
def test_stream_that_breaks_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begun: bytes) -> None:
    """Whatever the libraries make of it, the supervisor is told, and the watcher goes on."""
    monkeypatch.setattr(BrokenStream, "begun", begun)
    monkeypatch.setattr(watcher, "find_daemon", lambda _path: 1)
    ours, theirs = Pipe()
    with ThreadingUnixStreamServer(str(tmp_path / "engine.sock"), BrokenStream) as server:
        serving = Thread(target=server.serve_forever)
        watching = Thread(target=watcher.run, args=(str(tmp_path / "engine.sock"), theirs))
        serving.start()
        watching.start()
        facts: list[Fact] = []
        while not facts or not isinstance(facts[-1], EngineLost):
            assert ours.poll(5), f"the watcher is silent after {facts}"
            facts.append(ours.recv())
        ours.close()
        watching.join(5)
        server.shutdown()
        serving.join(5)
    assert ContainersListed in map(type, facts)
    assert not watching.is_alive()
