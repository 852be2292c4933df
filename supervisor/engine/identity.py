"""Finds the container of a request in the engine's files, without asking the engine.

The engine mounts a container's root before it asks for the endpoint, and marks the container running after the answer.
So the container that is mounted, not running, configured for this network and without an endpoint there is the one
that is being started. If more than one is left, or a file has an unknown form, the answer is None: an identity is a
help, never a guess. An engine that dies within a start leaves that container's root mounted, and so do its successors
whenever they stop it. Such a remnant counts, after a while, only if no other container can be meant. Where the storage
driver mounts nothing, each container that does not run may be the one, and only Join shows if it was another.
"""

import logging
import os
import re
import time
from collections.abc import Iterable, Iterator, Sequence, Set
from pathlib import Path

from msgspec.structs import replace

from supervisor.contract.messages import CreateEndpoint
from supervisor.engine.checks import not_told_apart
from supervisor.engine.container_files import Configuration, HostConfiguration, Identity, Place
from supervisor.engine.facts import Engine
from supervisor.engine.foreign_root import read_regular
from supervisor.engine.mounted_roots import TELLING, MountedRoots
from workers.contract.messages import UseResolver
from workers.system.clock import boottime

COMEBACK_SECONDS = 120.0  # from the end of an endpoint, or from the plugin's start
ALWAYS = "always"
DEAD = ("Z", "X")  # proc(5), stat: a zombie, and a process that is just vanishing
STARTED = 19  # the same, counted from the state on: in ticks since boot
MISTAKES = 2  # after so many mistakes a container that seems to be starting is not taken for it
DOUBT_SECONDS = 60.0
POLICIES = (ALWAYS, "unless-stopped", "on-failure")
NAMES = "network/files/local-kv.db"  # of containers, beside the ids of their endpoints
NAME = re.compile(rb'[^{}]*?"name":"([^"]+)"')

log = logging.getLogger(__name__)


class Identifier:
    """Remembers the containers that were wrongly taken for the one being started."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._mounted_roots = MountedRoots(engine)
        self._mistakes: dict[str, list[float]] = {}  # the last ones, in `time.monotonic()`

    def at_create(self, request: CreateEndpoint, taken: set[str]) -> Identity | None:
        """The container being started; `taken` are the ids of those with a live endpoint on this network."""
        network = self._names_of(request.network_id)
        candidates = list(_stopped(self._mounted_roots.configurations(but=taken), network))
        if not candidates:
            candidates = list(_stopped(self._mounted_roots.untold(but=taken), network))
        chosen = request.options.get("id")
        if len(candidates) > 1:
            candidates = [c for c in candidates if chosen in {p.chosen_id for p in _places(c, network)}]
        if len(candidates) > 1:
            candidates = [c for c in candidates if self._may_ask(c, request, network)]
        if len(candidates) > 1:
            began = self._began()
            candidates = [c for c in candidates if not self._is_remnant(c, began)] or candidates
        if len(candidates) > 1 and request.mac is None and chosen is None:
            log.warning(
                "%s",
                not_told_apart([c.identity.name for c in candidates], _driver(candidates)),
                extra={"network": request.network_id, "endpoint": request.endpoint_id},
            )
        found = candidates[0].identity if len(candidates) == 1 else None
        return found if found and not self._is_doubtful(candidates[0]) else None

    def _is_doubtful(self, container: Configuration) -> bool:
        """Whether it has been taken for the one being started by mistake, and may be once more.

        One that is just stopped, as far as is known, may be so for long: it is doubted after the first mistake, until
        the user has tried again.
        """
        mistakes = self._mistakes.get(container.identity.id, [])
        if _driver([container]):
            return bool(mistakes) and time.monotonic() - mistakes[-1] < DOUBT_SECONDS
        return len(mistakes) >= MISTAKES

    def stranger_at_join(self, endpoint_id: str, identity: Identity) -> str | None:
        """The name of the endpoint's real container, if the endpoint was made for `identity` by mistake; else None.

        The mistake happens when one container is started while another one, which runs already, is connected:
        CreateEndpoint names no container, but by now the engine's store does. If the mistake happens again, `identity`
        is not starting at all: a crash of the engine may have left its root mounted.
        """
        name = self._name_at_join(endpoint_id)
        if name in (None, identity.name):
            return None
        self._mistakes[identity.id] = [*self._mistakes.get(identity.id, [])[1 - MISTAKES :], time.monotonic()]
        return name

    def comes_back(self, identity: Identity | None) -> bool:
        """Whether the engine will start this container again by itself, now or when it is started itself.

        A dockerd that starts after a crash stops the containers of the last one, and records that as if a user had
        done it. But no user can do it before the API answers.
        """
        configuration = self._mounted_roots.configuration(identity.id) if identity else None
        if configuration is None or _lives(configuration):  # a container that lives was disconnected
            return False
        host = self._mounted_roots.host_configuration(configuration.identity.id)
        policy = host and host.restart_policy
        if configuration.was_stopped:
            return policy == ALWAYS and not self._engine.connected
        return policy in POLICIES

    def runs(self, identity: Identity) -> bool:
        """Whether this container runs: as of Join it was connected then, not started."""
        configuration = self._mounted_roots.configuration(identity.id)
        return configuration is not None and configuration.running

    def is_starting(self, identity: Identity | None) -> bool:
        """Whether this container is mounted and does not run yet; a remnant is not."""
        mounted = (c for c in self._mounted_roots.configurations() if c.identity == identity and not c.running)
        return identity is not None and any(not self._is_remnant(c, self._began()) for c in mounted)

    def at_join(self, endpoint_id: str) -> Identity | None:
        """The container that the engine's own store names with the endpoint."""
        name = self._name_at_join(endpoint_id)
        found = self._mounted_roots.named(name) if name else None
        if found is None:
            return None
        self._mistakes.pop(found.identity.id, None)
        return found.identity

    def chosen_mac(self, container_id: str, network_id: str) -> str | None:
        """The MAC address that the user has chosen for a container on this network."""
        configuration = self._mounted_roots.configuration(container_id)
        return self._mac_of(configuration, self._names_of(network_id)) if configuration else None

    def resolver_of(self, identity: Identity) -> UseResolver | None:
        """See `MountedRoots.resolver_of`."""
        return self._mounted_roots.resolver_of(identity.id)

    def mixed_up_at_boot(self, network_id: str) -> list[str]:
        """The names of the containers on this network that may get fresh MAC addresses at a boot.

        Containers without a restart policy are not started then. But where the storage driver does not show which one
        is being started, one that is just stopped may be meant as well. `net-dhcp pin` judges alike (cli.pins.places).
        Reads the files of all containers: only for a process of its own.
        """
        network = self._names_of(network_id)
        if not self._engine.storage_driver:
            return []  # not known yet
        rivals = [
            (c, host)
            for c in self._mounted_roots.everyone()
            if network & c.places.keys() and not self._is_pinned(c, network)
            if (host := self._mounted_roots.host_configuration(c.identity.id))
            if self._engine.storage_driver not in TELLING or host.restart_policy in POLICIES
        ]
        names = []
        for container, host in rivals:
            request = _request_of(container, host, network_id, network)
            alike = (other for other, its in rivals if other is not container and _fits(other, its, request))
            if host.restart_policy in POLICIES and any(alike):
                names.append(container.identity.name)
        return sorted(names)

    def _is_pinned(self, container: Configuration, network: set[str]) -> bool:
        """Whether each of its requests has a MAC address or an `id` of the user's."""
        return any(p.chosen_id for p in _places(container, network)) or self._mac_of(container, network) is not None

    def _names_of(self, network_id: str) -> set[str]:
        """The names by which a configuration may call the network."""
        name = self._engine.network_name(network_id)
        return {network_id} if name is None else {network_id, name}

    def _mac_of(self, container: Configuration, network: set[str]) -> str | None:
        """The user's choice on the network with one of these names."""
        host = self._mounted_roots.host_configuration(container.identity.id)
        macs = {place.mac for place in _places(container, network)} - {None}
        return next(iter(macs), container.mac if host and host.first_network in network else None)

    def _name_at_join(self, endpoint_id: str) -> str | None:
        """The container's name, if the store has it: the engine writes it between CreateEndpoint's answer and Join."""
        store = self._engine.place(NAMES)
        try:
            content = read_regular(store) if store else b""
        except OSError:
            return None  # another kind of engine; the watcher tells later
        named = (NAME.match(rest) for rest in content.split(b'"id":"%b"' % endpoint_id.encode())[1:])
        names = {name[1] for name in named if name}
        return names.pop().decode("utf-8", "replace") if len(names) == 1 else None

    def _began(self) -> float | None:
        """When this dockerd began, in Unix seconds; None if that is not known, or its API does not answer yet."""
        if self._engine.pid is None or not self._engine.connected:
            return None
        try:
            return _beginning(self._engine.pid)
        except OSError:
            return None  # it has just ended

    def _is_remnant(self, container: Configuration, began: float | None) -> bool:
        """Whether the container's root was mounted before this dockerd `began`, and was not started again since.

        A restart keeps the mount; a dockerd whose API does not answer yet starts the containers that ran before. False
        if the times are not known.
        """
        mounted = self._mounted_roots.since(container.identity.id)
        if mounted is None or began is None:
            return False
        return mounted < began and max(mounted, container.ended) < time.time() - COMEBACK_SECONDS

    def _may_ask(self, container: Configuration, request: CreateEndpoint, network: set[str]) -> bool:
        """Whether the request can be this container's. Missing or unknown values exclude no container."""
        host = self._mounted_roots.host_configuration(container.identity.id)
        if host is None:
            return True
        return request.mac == self._mac_of(container, network) and _fits(container, host, request)


def _fits(container: Configuration, host: HostConfiguration, request: CreateEndpoint) -> bool:
    """Whether the request's ports and name servers can be this container's.

    A container's ports and name servers are in the request for the first of its networks that is not internal.
    """
    ports = request.exposed_ports in (None, container.exposed_ports)
    published = not request.published or host.published in (None, request.published)
    dns = request.exposed_ports is None or not host.dns or host.dns == request.dns  # else they are the daemon's
    return ports and published and dns


def _request_of(
    container: Configuration, host: HostConfiguration, network_id: str, network: set[str]
) -> CreateEndpoint:
    """What the engine will ask for this container, which is not pinned, as far as it tells containers apart."""
    request = CreateEndpoint(network_id, "", mac=None, address=None, options={})
    if host.first_network not in network:
        return request
    published = host.published or frozenset()
    return replace(request, exposed_ports=container.exposed_ports, published=published, dns=host.dns)


def _stopped(containers: Iterable[Configuration], network: Set[str]) -> Iterator[Configuration]:
    """The containers on the network with one of these names that do not run."""
    return (c for c in containers if not c.running and network & c.places.keys())


def _driver(containers: Sequence[Configuration]) -> str:
    """The storage driver of these candidates, if their mounts do not tell; else ""."""
    driver = containers[0].storage_driver
    return "" if driver in TELLING else driver


def _lives(configuration: Configuration) -> bool:
    """Whether the container's first process is there: its cgroup has the container's id in its name.

    A dead process shows it, too, until its parent takes the exit status: after a crash of the engine that takes time.
    """
    cgroup = Path(f"/proc/{configuration.pid}/cgroup")
    try:
        state, *_ = _stat(configuration.pid)
        return state not in DEAD and configuration.identity.id in cgroup.read_text(encoding="utf-8")
    except OSError:
        return False


def _beginning(pid: int) -> float:
    """When a process began, in Unix seconds by the clock as it is set now. Raises OSError."""
    ticks = int(_stat(pid)[STARTED])
    return time.time() - boottime() + ticks / os.sysconf("SC_CLK_TCK")


def _stat(pid: int) -> list[str]:
    """The fields of a process's stat from the state on: the ones before may hold spaces. Raises OSError."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()


def _places(container: Configuration, network: set[str]) -> list[Place]:
    """The user's choices on the network with one of these names."""
    return [container.places[name] for name in network & container.places.keys()]
