"""The engine watcher's process: follows the Docker Engine's API and pushes facts to the supervisor.

With `reconnecting`, the only file that knows the docker SDK; only processes of their own import it. Nothing waits for
the watcher: it may hang for as long as dockerd does.
"""

import gc
import logging
import re
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Interface, IPv6Network, ip_network
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

from docker.api.client import APIClient
from docker.errors import DockerException, NotFound, StreamParseError
from requests.exceptions import RequestException
from urllib3.exceptions import HTTPError

from supervisor.engine import facts
from supervisor.engine.daemon import find_daemon
from workers.system.backoff import Backoff

API_TIMEOUT_SECONDS = 60
RECONNECT_SECONDS = 2.0  # at most: a dockerd that is back starts containers at once, and we need its pid then
ENGINES_OWN = "com.docker.network."  # the beginning of options that are not ours
BRIDGE_NAME = f"{ENGINES_OWN}bridge.name"
EVENTS = {"type": ["container", "network"], "event": ["create", "destroy", "rename", "connect", "disconnect"]}
BUILT_IN = ("bridge", "host", "ipvlan", "macvlan", "null", "overlay")  # drivers whose endpoints do not concern us
MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
MOUNTS = Path("/proc/self/mountinfo")
BREAKS = (DockerException, RequestException, OSError, HTTPError, StreamParseError)  # the SDK lets the last two through
T = TypeVar("T")

log = logging.getLogger(__name__)


def run(socket_path: str, channel: Connection) -> None:
    """Watches until the supervisor is gone."""
    backoff = Backoff(first=0.5, cap=RECONNECT_SECONDS)
    last = told = ""
    while not channel.poll():
        try:
            channel.send(facts.EngineFound(find_daemon(socket_path)))
            _follow(socket_path, channel)
            reason = "the engine closed the stream of events"
        except BREAKS as error:
            reason = str(error)
        if reason == last != told:  # what passes with a restart of the engine needs no word
            log.warning("the plugin cannot follow the engine's events: %s", reason)
            told = reason
        last = reason
        gc.collect()  # a broken connection stays open in the SDK's reference cycles, and an idle process collects none
        channel.send(facts.EngineLost(reason))
        channel.poll(backoff.failed(0))


def open_api(socket_path: str) -> APIClient:
    """A client of the engine's API. Raises DockerException or RequestException."""
    client = APIClient(base_url=f"unix://{socket_path}", version="auto", timeout=API_TIMEOUT_SECONDS)
    client.trust_env = False  # requests would look for proxies and passwords there, which is half of a question's cost
    client.headers["Connection"] = "close"  # the SDK would keep one connection for each URL it has asked
    client.close()  # closes the connection that asked for the version; the client stays usable
    return client


def _follow(socket_path: str, channel: Connection) -> None:
    client = open_api(socket_path)
    try:
        info = client.info()
        events = client.events(decode=True, filters=EVENTS)
        try:
            version = info.get("ServerVersion") or ""
            driver, own_name = info.get("Driver") or "", _own_name(client)
            channel.send(facts.EngineConnected(info["DockerRootDir"], driver, own_name, version))
            for fact in _everything(client):
                channel.send(fact)
            for event in events:
                for fact in _consequences(client, event):
                    channel.send(fact)
        finally:
            events.close()
    finally:
        client.close()


def _own_name(client: APIClient) -> str | None:
    """The name of the plugin whose id is in the paths that are mounted here: those of its root and of its state."""
    mounts = MOUNTS.read_text(encoding="utf-8", errors="replace")
    try:
        plugins = client.plugins()  # type: ignore[no-untyped-call]
    except DockerException as error:  # an engine of another make
        log.debug("the engine does not tell its plugins: %s", error)
        return None
    return next((one["Name"] for one in plugins if one.get("Id") and one["Id"] in mounts), None)


def _everything(client: APIClient) -> Iterator[facts.Fact]:
    networks = [_network(network) for network in client.networks()]
    yield from networks
    yield facts.NetworksListed()
    of_plugins = {network.id for network in networks if network.driver not in BUILT_IN}
    began = time.time()
    for container in client.containers(all=True):
        yield from _container(client, container["Id"], of_plugins)
    yield facts.ContainersListed(began)


def _consequences(client: APIClient, event: dict[str, Any]) -> Iterator[facts.Fact]:
    """The engine reports each connection to a network and its end, so we need no starts and ends of containers."""
    kind, action = event.get("Type"), event.get("Action", "")
    actor = event.get("Actor", {})
    attributes = actor.get("Attributes") or {}
    if kind == "container" and action == "rename":
        yield from _container(client, actor["ID"])
    elif kind == "container" and action == "destroy":
        yield facts.ContainerGone(actor["ID"])
    elif kind == "network" and action == "destroy":
        yield facts.NetworkGone(actor["ID"])
    elif kind == "network" and action == "create":
        try:
            yield _network(client.inspect_network(actor["ID"]))
        except NotFound:
            yield facts.NetworkGone(actor["ID"])
    elif action in ("connect", "disconnect") and attributes.get("type") not in BUILT_IN and "container" in attributes:
        yield from _container(client, attributes["container"])


def _network(network: dict[str, Any]) -> facts.NetworkSeen:
    driver, options = network.get("Driver") or "", network.get("Options") or {}
    bridge = options.get(BRIDGE_NAME, "br-" + network["Id"][:12]) if driver == "bridge" else None
    implied = {"ipv6": "true"} if network.get("EnableIPv6") else {}  # as the API takes it at CreateNetwork
    ipam = (network.get("IPAM") or {}).get("Driver") or ""
    chosen = {} if driver in BUILT_IN else implied | _texts(options)
    return facts.NetworkSeen(network["Id"], network["Name"], bridge, tuple(_subnets(network)), driver, ipam, chosen)


def _subnets(network: dict[str, Any]) -> Iterator[IPv4Network | IPv6Network]:
    """The subnets of which the engine itself hands out addresses; a swarm's are in no route of this host."""
    if network.get("Scope") == "local":
        for pool in (network.get("IPAM") or {}).get("Config") or ():
            with suppress(KeyError, ValueError):
                yield ip_network(pool["Subnet"], strict=False)


def _container(client: APIClient, container_id: str, listed: Collection[str] = ()) -> Iterator[facts.Fact]:
    """The container, and if it runs its endpoints on the networks in `listed`; after a crash it shows old ones."""
    try:
        seen = client.inspect_container(container_id)
    except NotFound:
        yield facts.ContainerGone(container_id)
        return
    settings = seen["NetworkSettings"]
    live = [place for place in (settings.get("Networks") or {}).values() if place.get("EndpointID")]
    container = facts.ContainerSeen(
        id=seen["Id"],
        name=seen["Name"].lstrip("/"),
        hostname=seen["Config"].get("Hostname", ""),
        endpoints=tuple(place["EndpointID"] for place in live),
    )
    yield container
    state = seen.get("State") or {}
    runs = state.get("Running") and not state.get("Restarting")
    for place in live if runs else ():
        if place.get("NetworkID") in listed and settings.get("SandboxKey"):
            yield _endpoint(container, settings["SandboxKey"], place)


def _endpoint(container: facts.ContainerSeen, sandbox_key: str, place: dict[str, Any]) -> facts.EndpointSeen:
    """Without the engine's own options, as in the message for CreateEndpoint."""
    mac, options = (place.get("MacAddress") or "").lower(), place.get("DriverOpts") or {}
    return facts.EndpointSeen(
        container=container,
        network_id=place["NetworkID"],
        endpoint_id=place["EndpointID"],
        sandbox_key=sandbox_key,
        mac=mac if MAC.fullmatch(mac) else None,
        address=_read(IPv4Interface, f"{place.get('IPAddress')}/{place.get('IPPrefixLen')}"),
        address6=_read(IPv6Interface, f"{place.get('GlobalIPv6Address')}/{place.get('GlobalIPv6PrefixLen')}"),
        gateway=_read(IPv4Address, place.get("Gateway")),
        options={name: one for name, one in _texts(options).items() if not name.startswith(ENGINES_OWN)},
    )


def _texts(options: dict[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in options.items()}


def _read(kind: Callable[[Any], T], value: object) -> T | None:
    try:
        return kind(value)
    except ValueError:
        return None
