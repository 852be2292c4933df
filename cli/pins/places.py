"""Containers on networks of ours, as the engine shows them, and those that a boot may mix up, as the plugin says."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]
PROJECT, SERVICE = "com.docker.compose.project", "com.docker.compose.service"
FILES, KEY = "com.docker.compose.project.config_files", "com.docker.compose.network"


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """A container on one network; `key` is that network's name in the Compose file."""

    container: str
    name: str
    network: str
    network_id: str
    key: str
    settings: Json
    mac: str | None
    is_pinned: bool
    is_running: bool
    is_first: bool
    labels: dict[str, str]

    @property
    def service(self) -> tuple[str, str] | None:
        """The Compose project and service."""
        names = self.labels.get(PROJECT), self.labels.get(SERVICE)
        return (names[0], names[1]) if names[0] and names[1] else None


def places(containers: Collection[Json], networks: Collection[Json], pinned: Collection[str] = ()) -> list[Place]:
    """All containers on these networks. The plugin says of which endpoints the user has chosen the identity.

    The engine does not: from API 1.44 on it shows the MAC address that was chosen for a network as it shows any other.
    """
    found = [place for container in containers for place in _of(container, networks, pinned)]
    return sorted(found, key=lambda place: (place.network, place.name))


def mixed_up(found: Collection[Place], alike: Collection[Json]) -> dict[Place, str]:
    """Those that may get a fresh MAC address at a boot, each with the names of those that it is like.

    The plugin judges, in `alike` of its answer to `GET /v1/checks`.
    """
    rows = {(row["container_id"], row["network_id"]): row for row in alike}
    judged = ((place, rows.get((place.container, place.network_id))) for place in found)
    return {place: ", ".join(row["like"]) + (" and more" if row["more"] else "") for place, row in judged if row}


def _of(container: Json, networks: Collection[Json], pinned: Collection[str]) -> Iterator[Place]:
    host, config = container["HostConfig"], container["Config"]
    mode = host.get("NetworkMode")
    attached = container["NetworkSettings"].get("Networks") or {}
    for network in networks:
        settings = attached.get(network["Name"])
        if settings is None:
            continue
        is_first = mode in (network["Name"], network["Id"])
        chosen = config.get("MacAddress") if is_first else None
        options = settings.get("DriverOpts") or {}
        known = settings.get("EndpointID") in pinned
        yield Place(
            container=container["Id"],
            name=container["Name"].lstrip("/"),
            network=network["Name"],
            network_id=network["Id"],
            key=(network.get("Labels") or {}).get(KEY) or network["Name"],
            settings=settings,
            mac=settings.get("MacAddress") or chosen or None,
            is_pinned=bool(known or chosen or options.get("id") or _chosen_while_stopped(container, settings)),
            is_running=bool(container["State"].get("Running")),
            is_first=is_first,
            labels=config.get("Labels") or {},
        )


def _chosen_while_stopped(container: Json, settings: Json) -> bool:
    """Of a container that does not run, the engine shows a MAC address only if the user has chosen it."""
    return not container["State"].get("Running") and bool(settings.get("MacAddress"))
