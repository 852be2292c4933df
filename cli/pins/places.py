"""Containers on networks of ours, and which of them the plugin may take for one another.

The rules are the plugin's own (docs/architecture.md, "Which container?"): Docker's request names no container, but it
has its MAC address and `id` if they were chosen, and for its first network its ports and name servers.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]
TELLING = ("overlay2", "overlayfs", "fuse-overlayfs", "zfs")  # storage drivers that show which container starts
PROJECT, SERVICE = "com.docker.compose.project", "com.docker.compose.service"
FILES, KEY = "com.docker.compose.project.config_files", "com.docker.compose.network"


@dataclass(frozen=True, slots=True)
class Signs:
    """What the request for a container's first network shows of it; `published` is None if all its ports are."""

    exposed: frozenset[str]
    published: frozenset[tuple[str, str]] | None
    dns: frozenset[str]


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """A container on one network; `key` is that network's name in the Compose file."""

    container: str
    name: str
    network: str
    key: str
    settings: Json
    mac: str | None
    is_pinned: bool
    is_running: bool
    comes_back: bool
    is_first: bool
    signs: Signs
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


def mixed_up(found: Collection[Place], storage_driver: str) -> dict[Place, list[str]]:
    """Those that may get a fresh MAC address at a boot, each with the names of those that it is like.

    Containers without a restart policy are not started at a boot. But where the storage driver does not show which one
    is being started, one that is just stopped may be meant as well.
    """
    rivals = [place for place in found if storage_driver not in TELLING or place.comes_back]
    result = {}
    for place in found:
        if place.comes_back and not place.is_pinned:
            like = [r.name for r in rivals if r is not place and r.network == place.network and _may_be(place, r)]
            if like:
                result[place] = like
    return result


def _may_be(asking: Place, other: Place) -> bool:
    """Whether a request of the one could be the other's."""
    if other.is_pinned:
        return False
    if not asking.is_first:
        return True
    mine, its = asking.signs, other.signs
    return (
        mine.exposed == its.exposed
        and (not mine.published or its.published in (None, mine.published))
        and (not its.dns or mine.dns == its.dns)
    )


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
            key=(network.get("Labels") or {}).get(KEY) or network["Name"],
            settings=settings,
            mac=settings.get("MacAddress") or chosen or None,
            is_pinned=bool(known or chosen or options.get("id") or _chosen_while_stopped(container, settings)),
            is_running=bool(container["State"].get("Running")),
            comes_back=(host.get("RestartPolicy") or {}).get("Name") not in (None, "", "no"),
            is_first=is_first,
            signs=_signs(config, host),
            labels=config.get("Labels") or {},
        )


def _chosen_while_stopped(container: Json, settings: Json) -> bool:
    """Of a container that does not run, the engine shows a MAC address only if the user has chosen it."""
    return not container["State"].get("Running") and bool(settings.get("MacAddress"))


def _signs(config: Json, host: Json) -> Signs:
    bindings = (host.get("PortBindings") or {}).items()
    published = frozenset(
        (port, str(bound.get("HostPort") or "0")) for port, all_bound in bindings for bound in all_bound
    )
    return Signs(
        frozenset(config.get("ExposedPorts") or ()),
        None if host.get("PublishAllPorts") else published,
        frozenset(host.get("Dns") or ()),
    )
