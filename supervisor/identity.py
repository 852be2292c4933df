"""Which container a request is for, found in the engine's files without asking the engine.

The engine mounts a container's root before it asks for the endpoint, and marks it running after the answer: the one
that is mounted, not running, configured for this network and without an endpoint there is the one being started.
Where that leaves more than one, or a file has another form, the answer is None: an identity is a help, never guessed.
Reads through /proc/<pid of dockerd>/root, which takes CAP_SYS_PTRACE.
"""

import json
import logging
import re
from collections.abc import Iterator, Set
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from supervisor.engine import Engine
from supervisor.messages import CreateEndpoint

# overlay2 mounts by a mount id of its own, the containerd image store by the container's id.
MOUNTED = re.compile(r"/overlay2/([0-9a-z-]+)/merged |/rootfs/overlayfs/([0-9a-f]{64}) ")
ALWAYS = "always"
POLICIES = (ALWAYS, "unless-stopped", "on-failure")
PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}


log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Identity:
    """A container: its id, its name without the slash, its host name."""

    id: str
    name: str
    hostname: str


@dataclass(frozen=True, slots=True)
class Configuration:
    """The parts of a container's configuration that tell it from others.

    `networks` has, for the name and (once it was started there) the id of each of its networks, the `id` that the user
    has chosen for it there. `pid` is that of its first process, 0 for none; after a boot it may be a stranger's.
    `was_stopped`: somebody has stopped it, so that the engine does not start it again, but
    with the policy `always` when it is started itself. `mac` is the user's choice.
    """

    identity: Identity
    running: bool
    pid: int
    networks: dict[str, str | None]
    was_stopped: bool
    exposed_ports: frozenset[tuple[int, int]]
    mac: str | None


class Identifier:
    """Remembers which mount belongs to which container; that never changes."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._by_mount: dict[str, str] = {}

    def at_create(self, request: CreateEndpoint, taken: set[str]) -> Identity | None:
        """The container being started; `taken` are the ids of those with a live endpoint on this network."""
        name = self._engine.network_name(request.network_id)
        network = {request.network_id} if name is None else {request.network_id, name}
        candidates = [c for c in self._mounted(but=taken) if not c.running and network & c.networks.keys()]
        chosen = request.options.get("id")
        if len(candidates) > 1:
            candidates = [c for c in candidates if chosen in {c.networks[n] for n in network & c.networks.keys()}]
        if len(candidates) > 1:
            candidates = [c for c in candidates if (c.exposed_ports, c.mac) == (request.exposed_ports, request.mac)]
        if len(candidates) > 1 and request.mac is None and chosen is None:
            log.warning(
                "%d containers start at once and nothing tells them apart (%s): this one gets a fresh identity; "
                "to give it one for ever, use --mac-address or driver-opt=id=NAME",
                len(candidates),
                ", ".join(c.identity.name for c in candidates),
                extra={"network": request.network_id, "endpoint": request.endpoint_id},
            )
        return candidates[0].identity if len(candidates) == 1 else None

    def comes_back(self, identity: Identity | None) -> bool:
        """Whether the engine will start this container again by itself, now or when it is started itself.

        A dockerd that starts after a crash stops what the last one left, and writes that down as if a user had done
        it. But no user can, before its API answers.
        """
        configuration = self._configuration(identity.id) if identity else None
        if configuration is None or _lives(configuration):  # that one was disconnected
            return False
        policy = self._restart_policy(configuration.identity.id)
        if configuration.was_stopped:
            return policy == ALWAYS and not self._engine.connected
        return policy in POLICIES

    def is_starting(self, identity: Identity | None) -> bool:
        """Whether this container is mounted and does not run yet."""
        return identity is not None and any(c.identity == identity and not c.running for c in self._mounted())

    def at_join(self, endpoint_id: str) -> Identity | None:
        """The container that the engine's own store names with the endpoint; it is written before Join."""
        store = self._engine.path(f"{self._engine.data_root}/network/files/local-kv.db")
        try:
            content = store.read_bytes() if store else b""
        except OSError:
            return None  # another form of engine; the watcher will tell, later
        names = set(re.findall(rb'"id":"%b"[^{}]*?"name":"([^"]+)"' % endpoint_id.encode(), content))
        if len(names) != 1:
            return None
        name = names.pop().decode("utf-8", "replace")
        return next((c.identity for c in self._mounted() if c.identity.name == name), None)

    def _mounted(self, *, but: Set[str] = frozenset()) -> Iterator[Configuration]:
        """Those that are known to be none of them are not read: there may be hundreds."""
        try:
            mounts = Path(f"/proc/{self._engine.pid}/mountinfo").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return
        found = (container or self._container_of_mount(mount_id) for mount_id, container in MOUNTED.findall(mounts))
        for container_id in dict.fromkeys(found):  # a root that is mounted at two places is one container
            configuration = self._configuration(container_id) if container_id and container_id not in but else None
            if configuration is not None:
                yield configuration

    def _container_of_mount(self, mount_id: str) -> str | None:
        if mount_id not in self._by_mount:
            self._learn_mounts()
        return self._by_mount.get(mount_id)

    def _learn_mounts(self) -> None:
        root = self._engine.path(f"{self._engine.data_root}/image/overlay2/layerdb/mounts")
        known = set(self._by_mount.values())
        try:
            directories = [d for d in root.iterdir() if d.name not in known] if root else []
        except OSError:
            return  # another storage driver is in use
        for directory in directories:
            with suppress(OSError):  # a container that was removed meanwhile, or a remnant of one
                self._by_mount[(directory / "mount-id").read_text(encoding="ascii").strip()] = directory.name

    def _restart_policy(self, container_id: str) -> str | None:
        path = self._engine.path(f"{self._engine.data_root}/containers/{container_id}/hostconfig.json")
        try:
            return str(json.loads(path.read_bytes())["RestartPolicy"]["Name"]) if path else None
        except (OSError, ValueError, KeyError, TypeError):
            return None  # removed meanwhile, or another form

    def _configuration(self, container_id: str) -> Configuration | None:
        path = self._engine.path(f"{self._engine.data_root}/containers/{container_id}/config.v2.json")
        try:
            return _parse(json.loads(path.read_bytes())) if path else None
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None  # removed meanwhile, or another form


def _lives(configuration: Configuration) -> bool:
    """Whether its first process is there: by its cgroup, which the engine names by the container's id."""
    try:
        return configuration.identity.id in Path(f"/proc/{configuration.pid}/cgroup").read_text(encoding="utf-8")
    except OSError:
        return False


def _chosen_ids(networks: dict[str, dict[str, Any] | None]) -> Iterator[tuple[str, str | None]]:
    for name, settings in networks.items():
        known = settings or {}
        chosen = (known.get("DriverOpts") or {}).get("id")
        yield name, chosen
        if known.get("NetworkID"):
            yield known["NetworkID"], chosen


def _chosen_mac(everywhere: str | None, networks: dict[str, dict[str, Any] | None]) -> str | None:
    """One that the user gave: for the container or, from API 1.44 on, for each network."""
    given = (settings.get("DesiredMacAddress") for settings in networks.values() if settings)
    return next((mac.lower() for mac in (everywhere, *given) if mac), None)


def _parse(config: dict[str, Any]) -> Configuration:
    exposed = (port.partition("/")[::2] for port in config["Config"].get("ExposedPorts") or {})
    return Configuration(
        Identity(config["ID"], config["Name"].lstrip("/"), config["Config"]["Hostname"]),
        # A container between its end and its next start by the restart policy counts as running to the engine.
        running=config["State"]["Running"] and not config["State"].get("Restarting", False),
        pid=config["State"].get("Pid", 0),
        networks=dict(_chosen_ids(config["NetworkSettings"]["Networks"] or {})),
        was_stopped=config.get("HasBeenManuallyStopped", False),
        exposed_ports=frozenset((PROTOCOLS[protocol], int(port)) for port, protocol in exposed),
        mac=_chosen_mac(config["Config"].get("MacAddress"), config["NetworkSettings"]["Networks"] or {}),
    )
