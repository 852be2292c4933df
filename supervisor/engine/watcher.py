"""The engine watcher's process: follows the Docker Engine's API and pushes facts to the supervisor.

The only file that knows the docker SDK; only the watcher's process imports it. Nothing waits for the watcher: it may
hang for as long as dockerd does.
"""

import gc
import logging
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import IPv4Network, IPv6Network, ip_network
from multiprocessing.connection import Connection
from typing import Any

from docker.api.client import APIClient
from docker.errors import DockerException, NotFound
from requests.exceptions import RequestException

from supervisor.engine.daemon import find_daemon
from supervisor.engine.facts import (
    ContainerGone,
    ContainerSeen,
    EngineConnected,
    EngineFound,
    EngineLost,
    Fact,
    NetworkGone,
    NetworkSeen,
    NetworksListed,
)
from workers.system.backoff import Backoff

API_TIMEOUT_SECONDS = 60
RECONNECT_SECONDS = 2.0  # at most: a dockerd that is back starts containers at once, and we need its pid then
BRIDGE_NAME = "com.docker.network.bridge.name"
EVENTS = {"type": ["container", "network"], "event": ["create", "destroy", "rename", "connect", "disconnect"]}
BUILT_IN = ("bridge", "host", "ipvlan", "macvlan", "null", "overlay")  # drivers whose endpoints do not concern us

log = logging.getLogger(__name__)


def run(socket_path: str, channel: Connection) -> None:
    """Watches until the supervisor is gone."""
    backoff = Backoff(first=0.5, cap=RECONNECT_SECONDS)
    while not channel.poll():
        try:
            channel.send(EngineFound(find_daemon(socket_path)))
            _follow(socket_path, channel)
            reason = "the engine closed the stream of events"
        except (DockerException, RequestException, OSError) as error:
            reason = str(error)
        gc.collect()  # a broken connection stays open in the SDK's reference cycles, and an idle process collects none
        channel.send(EngineLost(reason))
        channel.poll(backoff.failed(0))


def _follow(socket_path: str, channel: Connection) -> None:
    client = APIClient(base_url=f"unix://{socket_path}", version="auto", timeout=API_TIMEOUT_SECONDS)
    client.trust_env = False  # requests would look for proxies and passwords there, which is half of a question's cost
    client.headers["Connection"] = "close"  # the SDK would keep one connection for each URL it has asked
    client.close()  # closes the connection that asked for the version; the client stays usable
    try:
        info = client.info()
        events = client.events(decode=True, filters=EVENTS)
        try:
            channel.send(EngineConnected(info["DockerRootDir"], info["ServerVersion"], info.get("Driver") or ""))
            for fact in _everything(client):
                channel.send(fact)
            for event in events:
                for fact in _consequences(client, event):
                    channel.send(fact)
        finally:
            events.close()
    finally:
        client.close()


def _everything(client: APIClient) -> Iterator[Fact]:
    for network in client.networks():
        yield _network(network)
    yield NetworksListed()
    for container in client.containers(all=True):
        yield from _container(client, container["Id"])


def _consequences(client: APIClient, event: dict[str, Any]) -> Iterator[Fact]:
    """The engine reports each connection to a network and its end, so we need no starts and ends of containers."""
    kind, action = event.get("Type"), event.get("Action", "")
    actor = event.get("Actor", {})
    attributes = actor.get("Attributes") or {}
    if kind == "container" and action == "rename":
        yield from _container(client, actor["ID"])
    elif kind == "container" and action == "destroy":
        yield ContainerGone(actor["ID"])
    elif kind == "network" and action == "destroy":
        yield NetworkGone(actor["ID"])
    elif kind == "network" and action == "create":
        try:
            yield _network(client.inspect_network(actor["ID"]))
        except NotFound:
            yield NetworkGone(actor["ID"])
    elif action in ("connect", "disconnect") and attributes.get("type") not in BUILT_IN and "container" in attributes:
        yield from _container(client, attributes["container"])


def _network(network: dict[str, Any]) -> NetworkSeen:
    options = network.get("Options") or {}
    bridge = options.get(BRIDGE_NAME, "br-" + network["Id"][:12]) if network.get("Driver") == "bridge" else None
    return NetworkSeen(network["Id"], network["Name"], bridge, tuple(_subnets(network)))


def _subnets(network: dict[str, Any]) -> Iterator[IPv4Network | IPv6Network]:
    """Those that the engine itself hands out addresses of; a swarm's have no place in this host's routes."""
    if network.get("Scope") == "local":
        for pool in (network.get("IPAM") or {}).get("Config") or ():
            with suppress(KeyError, ValueError):
                yield ip_network(pool["Subnet"], strict=False)


def _container(client: APIClient, container_id: str) -> Iterator[Fact]:
    try:
        seen = client.inspect_container(container_id)
    except NotFound:
        yield ContainerGone(container_id)
        return
    endpoints = (n.get("EndpointID") for n in (seen["NetworkSettings"].get("Networks") or {}).values())
    yield ContainerSeen(
        id=seen["Id"],
        name=seen["Name"].lstrip("/"),
        hostname=seen["Config"].get("Hostname", ""),
        endpoints=tuple(e for e in endpoints if e),
    )
