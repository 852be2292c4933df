"""Finds the container of a request in the engine's files, without asking the engine.

The engine mounts a container's root before it asks for the endpoint, and marks the container running after the answer.
So the container that is mounted, not running, configured for this network and without an endpoint there is the one
that is being started. From Docker 28 on its sandbox is there, too, and the signs of the request exclude further
containers. If more than one is left, or a file has an unknown form, the answer is None: an identity is a help, never a
guess. An engine that dies within a start leaves that container's root mounted, and so do its successors whenever they
stop it. Such a remnant counts, after a while, only if no other container can be meant. Where the storage driver mounts
nothing, each container that does not run may be the one, and only Join shows if it was another.
"""

import logging
import os
import re
import time
from collections.abc import Iterable, Iterator, Set
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from supervisor.contract.messages import CreateEndpoint
from supervisor.engine.checks import PIN, hiding_driver
from supervisor.engine.container_files import Configuration, Identity
from supervisor.engine.facts import Engine
from supervisor.engine.mounted_roots import TELLING, MountedRoots
from supervisor.engine.network_store import NetworkStore
from supervisor.engine.signs import SIGNS, Suspect, fits, request_of
from workers.contract.messages import UseResolver
from workers.system.clock import boottime

COMEBACK_SECONDS = 120.0  # from the end of an endpoint, or from the plugin's start
ALWAYS = "always"
DEAD = ("Z", "X")  # proc(5), stat: a zombie, and a process that is just vanishing
STARTED = 19  # the same, counted from the state on: in ticks since boot
MISTAKES = 2  # after so many mistakes a container that seems to be starting is not taken for it
DOUBT_SECONDS = 60.0
POLICIES = (ALWAYS, "unless-stopped", "on-failure")
SANDBOX, ENDPOINT = "sandbox", "endpoint"  # what the engine's store tells, beside the SIGNS of a request
CONTAINER_ID = re.compile("[0-9a-f]{64}")
REMEMBERED = 256  # requests at which somebody was excluded, until the containers are known
MOST_LIKE = 10  # names of those that a container is like: of a thousand alike ones each is like all others

log = logging.getLogger(__name__)


class Alike(NamedTuple):
    """A container that may get a fresh MAC address at a boot, and at most MOST_LIKE names of those that it is like.

    `more`: it is like further ones.
    """

    container_id: str
    name: str
    like: tuple[str, ...]
    more: bool


class Identifier:
    """Remembers the containers that it took for the one being started by mistake, and those that a sign excluded."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._mounted_roots = MountedRoots(engine)
        self._network_store = NetworkStore(engine)
        self._mistakes: dict[str, list[float]] = {}  # the last ones, in `time.monotonic()`
        self._excluded: dict[str, dict[str, str]] = {}  # by the endpoint's id: the sign, by the container's
        self._defects: dict[str, str] = {}  # by the sign

    @property
    def problems(self) -> tuple[str, ...]:
        """A sentence for each sign that has excluded the very container whose request it was."""
        return tuple(self._defects.values())

    def at_create(self, request: CreateEndpoint, taken: Set[str], unknown: Set[str] = frozenset()) -> Identity | None:
        """The container being started.

        `taken` are the ids of those with a live endpoint on this network, `unknown` the ids of live endpoints there
        whose containers we do not know.
        """
        if named := self._named(request.options.get("id"), taken):
            return named
        network = self._names_of(request.network_id)
        candidates = list(_stopped(self._mounted_roots.configurations(but=taken), network))
        if not candidates:
            candidates = list(_stopped(self._mounted_roots.untold(but=taken), network))
        candidates = self._not_excluded(candidates, request, network, unknown)
        if len(candidates) > 1:
            began = self._began()
            candidates = [c for c in candidates if not self._is_remnant(c, began)] or candidates
        found = candidates[0].identity if len(candidates) == 1 else None
        return found if found and not self._is_doubtful(candidates[0]) else None

    def _named(self, chosen_id: str | None, taken: Set[str]) -> Identity | None:
        """The running container whose own id is the `id` of the request: it is connected again as itself.

        At its later starts the sign `id` tells it from others.
        """
        if chosen_id is None or chosen_id in taken or not CONTAINER_ID.fullmatch(chosen_id):
            return None
        container = self._mounted_roots.configuration(chosen_id)
        return container.identity if container and container.running else None

    def _not_excluded(
        self, candidates: list[Configuration], request: CreateEndpoint, network: frozenset[str], unknown: Set[str]
    ) -> list[Configuration]:
        """Those that no sign excludes. Remembers the others, to learn from Join whether that was right.

        A container that runs is no candidate, so while it is connected a single candidate may be another one. Only the
        engine's store shows that; the signs of the request are for several.
        """
        excluded: dict[str, str] = {}
        with_sandbox = self._network_store.with_sandbox() if candidates and self._engine.binds_first else None
        if with_sandbox is not None:
            excluded = {c.identity.id: SANDBOX for c in candidates if c.identity.id not in with_sandbox}
        names = self._network_store.names(request.network_id) if candidates and unknown else None
        if names:
            owners = {name for endpoint_id, name in names.items() if endpoint_id in unknown}
            excluded |= {c.identity.id: ENDPOINT for c in candidates if c.identity.name in owners}
        left = [c for c in candidates if c.identity.id not in excluded]
        for name, agrees in SIGNS.items() if len(left) > 1 else ():
            wrong = [c for c in left if not agrees(self._suspect(c, network), request, self._engine.release)]
            excluded |= {c.identity.id: name for c in wrong}
            left = [c for c in left if c not in wrong]
        if excluded:
            self._excluded[request.endpoint_id] = excluded
            self._excluded = dict(list(self._excluded.items())[-REMEMBERED:])
        return left

    def _suspect(self, container: Configuration, network: frozenset[str]) -> Suspect:
        return Suspect(container, self._mounted_roots.host_configuration(container.identity.id), network)

    def learn(self, endpoint_id: str, identity: Identity) -> None:
        """The endpoint is this container's: a sign that had excluded it is a defect."""
        sign = self._excluded.pop(endpoint_id, {}).get(identity.id)
        if sign is not None and sign not in self._defects:
            version = self._engine.program.version if self._engine.program else "of an unknown version"
            self._defects[sign] = (
                f"container {identity.name} was not recognised, as its {sign} did not fit what Docker {version} sent: "
                "please report this; until then, " + PIN
            )
            log.error("%s", self._defects[sign], extra={"endpoint": endpoint_id})

    def _is_doubtful(self, container: Configuration) -> bool:
        """Whether it has been taken for the one being started by mistake, and may be once more.

        One that is just stopped, as far as is known, may be so for long: it is doubted after the first mistake, until
        the user has tried again.
        """
        mistakes = self._mistakes.get(container.identity.id, [])
        if container.storage_driver not in TELLING and not self._engine.binds_first:
            return bool(mistakes) and time.monotonic() - mistakes[-1] < DOUBT_SECONDS
        return len(mistakes) >= MISTAKES

    def stranger_at_join(self, network_id: str, endpoint_id: str, identity: Identity) -> str | None:
        """The name of the endpoint's real container, if the endpoint was made for `identity` by mistake; else None.

        The mistake happens when one container is started while another one, which runs already, is connected:
        CreateEndpoint names no container, but by now the engine's store does. If the mistake happens again, `identity`
        is not starting at all: a crash of the engine may have left its root mounted.
        """
        name = self._network_store.name(network_id, endpoint_id)
        if name in (None, identity.name):
            self._excluded.pop(endpoint_id, None)
            return None
        if owner := self._mounted_roots.named(name):
            self.learn(endpoint_id, owner.identity)
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

    def at_join(self, network_id: str, endpoint_id: str) -> Identity | None:
        """The container that the engine's own store names with the endpoint."""
        name = self._network_store.name(network_id, endpoint_id)
        found = self._mounted_roots.named(name) if name else None
        if found is None:
            return None
        self._mistakes.pop(found.identity.id, None)
        return found.identity

    def stored(self, network_id: str) -> frozenset[str]:
        """The ids of the endpoints on this network that the engine has stored, so that it has not forgotten them.

        None of them if its store says nothing.
        """
        return frozenset(self._network_store.names(network_id) or ())

    def chosen_mac(self, container_id: str, network_id: str) -> str | None:
        """The MAC address that the user has chosen for a container on this network."""
        configuration = self._mounted_roots.configuration(container_id)
        return self._suspect(configuration, self._names_of(network_id)).mac if configuration else None

    def resolver_of(self, identity: Identity) -> UseResolver | None:
        """See `MountedRoots.resolver_of`."""
        return self._mounted_roots.resolver_of(identity.id)

    def mixed_up_at_boot(self, network_id: str) -> list[Alike]:
        """The containers on this network that may get fresh MAC addresses at a boot, by name.

        Containers without a restart policy are not started then. But where the storage driver does not show which one
        is being started, one that is just stopped may be meant as well. Reads the files of all containers: only for a
        process of its own.
        """
        network = self._names_of(network_id)
        if not self._engine.storage_driver:
            return []  # not known yet
        rivals = [
            suspect
            for c in self._mounted_roots.everyone()
            if network & c.places.keys() and (suspect := self._suspect(c, network)).host and not suspect.is_pinned
            if hiding_driver(self._engine) or _comes_back(suspect)
        ]
        rivals.sort(key=lambda suspect: suspect.container.identity.name)
        found = []
        for one in filter(_comes_back, rivals):
            request, me = request_of(one, network_id, self._engine.release), one.container.identity
            fitting = (r for r in rivals if r is not one and fits(r, request, self._engine.release))
            like = [rival.container.identity.name for rival in islice(fitting, MOST_LIKE + 1)]
            if like:
                found.append(Alike(me.id, me.name, tuple(like[:MOST_LIKE]), len(like) > MOST_LIKE))
        return found

    def _names_of(self, network_id: str) -> frozenset[str]:
        """The names by which a configuration may call the network."""
        name = self._engine.network_name(network_id)
        return frozenset({network_id} if name is None else {network_id, name})

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


def _comes_back(suspect: Suspect) -> bool:
    """Whether the engine starts it at a boot."""
    return suspect.host is not None and suspect.host.restart_policy in POLICIES


def _stopped(containers: Iterable[Configuration], network: Set[str]) -> Iterator[Configuration]:
    """The containers on the network with one of these names that do not run."""
    return (c for c in containers if not c.running and network & c.places.keys())


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
