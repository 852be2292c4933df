"""What a plugin and an engine answer when all is well."""

from copy import deepcopy
from typing import Any

PLUGIN_ID, PLUGIN = "p" * 24, "net-dhcp:latest"
NETWORK_ID, ENDPOINT_ID, CONTAINER_ID = "5b93" + "0" * 60, "c57d" + "0" * 60, "d5fe" + "0" * 60
MAC = "02:f4:af:f3:95:ab"

ENDPOINT = {
    "endpoint_id": ENDPOINT_ID,
    "network_id": NETWORK_ID,
    "network": "lan",
    "mode": "bridge",
    "parent": "br-lan",
    "container_id": CONTAINER_ID,
    "container": "web",
    "hostname": "web",
    "phase": "joined",
    "interface": "eth0",
    "host_link": "dh-c57dd3f2eec9",
    "mac": MAC,
    "pinned": False,
    "address": "192.168.77.161/24",
    "gateway": "192.168.77.1",
    "dns": ["192.168.77.1"],
    "domain": "lan",
    "ntp": [],
    "server": "192.168.77.1",
    "lease_state": "bound",
    "lease_seconds": 120,
    "obtained": "2026-11-24T12:10:20+00:00",
    "renewed": "2026-11-24T12:10:20+00:00",
    "expires": "2026-11-24T12:12:20+00:00",
    "last_trouble": None,
    "ipv6": None,
    "worker_pid": 7683,
    "udhcpc_pid": 7760,
}


def endpoint(**changes: object) -> dict[str, Any]:
    """The one above, changed."""
    return {**deepcopy(ENDPOINT), **changes}


def worker(role: str, endpoint_id: str | None, pss: int, cpu: float = 0.5) -> dict[str, Any]:
    """A process of the plugin's."""
    cost = {"cpu": cpu, "rss": 2 * pss, "pss": pss, "descriptors": 9, "threads": 1}
    started = "2026-11-24T12:00:00+00:00"
    head = {"name": f"nd-{role}", "role": role, "state": "running", "pid": 7683, "endpoint_id": endpoint_id}
    return {**head, "restarts": 0, "started": started, "cost": cost}


def event(number: int, kind: str, **changes: object) -> dict[str, Any]:
    """A line of the history."""
    return {
        "id": number,
        "time": f"2026-11-24T12:10:{number:02d}.000+00:00",
        "endpoint_id": ENDPOINT_ID,
        "network_id": NETWORK_ID,
        "network": "lan",
        "container": "web",
        "kind": kind,
        "address": "192.168.77.161/24",
        "detail": f"{kind} it was",
        **changes,
    }


def plugin() -> dict[str, Any]:
    """Its API."""
    return {
        "GET /healthz": health(),
        "GET /v1/endpoints": {"endpoints": [endpoint()]},
        "GET /v1/workers": {
            "workers": [
                worker("supervisor", None, 9_000_000),
                worker("worker", ENDPOINT_ID, 400_000),
                worker("udhcpc", ENDPOINT_ID, 200_000),
            ]
        },
        "GET /v1/networks": {"networks": [{"network_id": NETWORK_ID, "network": "lan", "parent": "br-lan"}]},
        "GET /v1/checks": {"checks": [], "engine": [], "alike": []},
        "GET /v1/events": [event(1, "bound"), event(2, "renewed")],
        "POST /v1/networks/lan/probe": {
            "network": "lan",
            "parent": "br-lan",
            "family": "ipv4",
            "server": "192.168.77.1",
            "error": None,
        },
    }


def alike(name: str, number: int, *like: str, more: bool = False) -> dict[str, Any]:
    """One that a boot may mix up: a container with this name and number."""
    container_id = f"{number:02d}" + CONTAINER_ID[2:]
    place = {"network_id": NETWORK_ID, "network": "lan", "container_id": container_id, "container": name}
    return {**place, "like": list(like), "more": more}


def health(**changes: object) -> dict[str, Any]:
    """Of a plugin that is well."""
    well = {"healthy": True, "problems": [], "instance": "f00d", "uptime": 12.5, "networks": 1, "endpoints": 1}
    return {**well, "engine_connected": True, "hints": [], "healed": [], **changes}


def container(name: str = "web", number: int = 0, **host: object) -> dict[str, Any]:
    """What `docker inspect` shows; `host` are fields of HostConfig."""
    config: dict[str, Any] = {"Labels": {}, "ExposedPorts": {}}
    policy = {"NetworkMode": "lan", "RestartPolicy": {"Name": "unless-stopped"}, "PortBindings": {}, "Dns": []}
    settings = {"NetworkID": NETWORK_ID, "MacAddress": f"02:00:00:00:00:0{number}", "DriverOpts": None}
    return {
        "Id": f"{number:02d}" + CONTAINER_ID[2:],
        "Name": f"/{name}",
        "State": {"Running": True, "Error": ""},
        "Config": config,
        "HostConfig": {**policy, **host},
        "NetworkSettings": {"Networks": {"lan": settings}},
    }


def engine(*containers: dict[str, Any]) -> dict[str, Any]:
    """Its API, with these containers."""
    found = containers or (container(),)
    plugins = [installed(PLUGIN_ID, PLUGIN)]
    return {
        "GET /version": {"ApiVersion": "1.44", "MinAPIVersion": "1.24"},
        "GET /info": {"ServerVersion": "28.2.2", "Driver": "overlay2", "SecurityOptions": ["name=seccomp"]},
        "GET /plugins": plugins,
        "GET /networks": [{"Id": NETWORK_ID, "Name": "lan", "Driver": PLUGIN, "Labels": {}}],
        "GET /containers/json": [{"Id": c["Id"]} for c in found],
        **{f"GET /containers/{c['Id']}/json": c for c in found},
        "POST /networks/lan/disconnect": (200, {}),
        "POST /networks/lan/connect": (200, {}),
    }


def installed(plugin_id: str, name: str, *, enabled: bool = True) -> dict[str, Any]:
    """An installation of the plugin, as the engine lists it."""
    return {"Id": plugin_id, "Name": name, "Enabled": enabled, "Config": {"Interface": {"Socket": "net-dhcp.sock"}}}
