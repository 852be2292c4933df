"""Reads a container's two configuration files, which tell it from other containers.

Must not know where the engine keeps them. A file of an unknown form counts as missing.
"""

import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from msgspec import Struct

from supervisor.engine.foreign_root import read_regular

NEVER = "0001-01-01T00:00:00Z"
PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}
CONFIGURATION, HOST_CONFIGURATION = "config.v2.json", "hostconfig.json"
Version = tuple[int, int, int]
SWARM_TASK = re.compile(r"(?P<place>.+\.(?:\d+|[a-z0-9]{25}))\.[a-z0-9]{25}")  # SERVICE.SLOT.TASK or SERVICE.NODE.TASK
T = TypeVar("T")


class Identity(Struct, frozen=True):
    """A container: its id, its name without the slash, its host name."""

    id: str
    name: str
    hostname: str

    @property
    def lasting_name(self) -> str:
        """The name that the next container in its place has, too: each task of a Swarm service has another id."""
        task = SWARM_TASK.fullmatch(self.name)
        return task["place"] if task else self.name


class Place(Struct, frozen=True):
    """The user's choices for a container on the network of this `name`; `mac` exists from API 1.44 on."""

    name: str
    chosen_id: str | None
    mac: str | None


class Configuration(Struct, frozen=True):
    """The fields of config.v2.json that we need.

    The keys of `places` are the name and (once the container was started there) the id of each network. `was_stopped`:
    somebody has stopped the container, so the engine does not start it again, except with the policy `always` when the
    engine itself starts. `mac` is the user's choice for the first network. `pid` is that of the first process, 0 for
    none; after a boot it may be another process's. `ended` is when the container last ended, in Unix seconds; long ago
    if it never has. A port is (protocol, port). `mounts_resolver`: /etc/resolv.conf is a file of the user's.
    `storage_driver` is "" if the file does not say.
    """

    identity: Identity
    running: bool
    pid: int
    ended: float
    places: dict[str, Place]
    was_stopped: bool
    exposed_ports: frozenset[tuple[int, int]]
    mac: str | None
    mounts_resolver: bool = False
    storage_driver: str = ""


class HostConfiguration(Struct, frozen=True):
    """The fields of hostconfig.json that we need. `first_network` is a name or an id, as the user gave it.

    `published` are (protocol, port, port on the host, 0 for any). With `publishes_all` the exposed ports are, too, on
    ports of the host that the engine chooses.
    """

    restart_policy: str
    first_network: str
    published: frozenset[tuple[int, int, int]]
    publishes_all: bool
    dns: frozenset[str]
    dns_search: frozenset[str] = frozenset()


def read_configuration(directory: Path) -> Configuration | None:
    """The configuration of the container with this directory; None if the file is missing or has an unknown form."""
    return _read(directory / CONFIGURATION, _configuration)


def read_host_configuration(directory: Path) -> HostConfiguration | None:
    """As `read_configuration`."""
    return _read(directory / HOST_CONFIGURATION, _host_configuration)


def file_version(path: str) -> Version | None:
    """While the version stays the same, so does the content: the engine never writes into a file, it replaces it.

    None if there is no file.
    """
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_ino, found.st_ctime_ns, found.st_size


def _read(path: Path, understood: Callable[[Any], T]) -> T | None:
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        return understood(json.loads(read_regular(path)))
    return None


def _configuration(config: Any) -> Configuration:  # noqa: ANN401  JSON
    return Configuration(
        Identity(config["ID"], config["Name"].lstrip("/"), config["Config"]["Hostname"]),
        # A container between its end and its next start by the restart policy counts as running to the engine.
        running=config["State"]["Running"] and not config["State"].get("Restarting", False),
        pid=config["State"].get("Pid", 0),
        ended=datetime.fromisoformat(config["State"].get("FinishedAt", NEVER)).timestamp(),
        places=dict(_places(config["NetworkSettings"]["Networks"] or {})),
        was_stopped=config.get("HasBeenManuallyStopped", False),
        exposed_ports=frozenset(map(_port, config["Config"].get("ExposedPorts") or {})),
        mac=(config["Config"].get("MacAddress") or "").lower() or None,
        storage_driver=config.get("Driver") or "",
        mounts_resolver="/etc/resolv.conf" in (config.get("MountPoints") or {}),
    )


def _host_configuration(config: Any) -> HostConfiguration:  # noqa: ANN401  JSON
    bindings = (config.get("PortBindings") or {}).items()
    published = ((*_port(port), _host_port(bound["HostPort"])) for port, all_bound in bindings for bound in all_bound)
    return HostConfiguration(
        str(config["RestartPolicy"]["Name"]),
        str(config.get("NetworkMode", "")),
        published=frozenset(published),
        publishes_all=bool(config.get("PublishAllPorts")),
        dns=frozenset(config.get("Dns") or ()),
        dns_search=frozenset(config.get("DnsSearch") or ()),
    )


def _places(networks: dict[str, dict[str, Any] | None]) -> Iterator[tuple[str, Place]]:
    for name, settings in networks.items():
        known = settings or {}
        mac = (known.get("DesiredMacAddress") or "").lower() or None
        place = Place(name, (known.get("DriverOpts") or {}).get("id"), mac)
        yield name, place
        if known.get("NetworkID"):
            yield known["NetworkID"], place


def _port(text: str) -> tuple[int, int]:
    port, _, protocol = text.partition("/")
    return PROTOCOLS[protocol], int(port)


def _host_port(text: str) -> int:
    """The port; of a range the first one."""
    return int(text.partition("-")[0] or 0)
