"""What the engine's own store of networks says: whose endpoint is whose, and whose sandbox is there.

From 28.0 on an engine binds a container's sandbox before it asks for the container's endpoints, so a container without
one is not the container that asks (daemon/start_linux.go, initializeCreatedTask). Until 27 it is bound later. Must not
know which container is looked for. A store of an unknown form says nothing, which is not the same as: nobody.
"""

import logging
from typing import TypeVar

import msgspec
from msgspec import Struct

from supervisor.engine.bolt import Unreadable, read_database
from supervisor.engine.facts import Engine
from supervisor.engine.mounted_roots import MountDirectory

STORE = "network/files/local-kv.db"  # below the data root
BUCKET, PREFIX = b"libnetwork", "docker/network/v1.0"
INDEX_BYTES = 8  # before each value, which is JSON
ID_IN_NAME = 12  # of a sandbox's id, the name of its file

T = TypeVar("T")

log = logging.getLogger(__name__)


class _Endpoint(Struct):
    """`name` is the container's."""

    name: str


class _Sandbox(Struct):
    id: str = msgspec.field(name="ID")
    container_id: str = msgspec.field(name="Cid")


class NetworkStore:
    """The store, as it is when it is asked."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def names(self, network_id: str) -> dict[str, str] | None:
        """The name of each endpoint's container on this network, by the endpoint's id; None if the store says nothing.

        The engine writes it between CreateEndpoint's answer and the next CreateEndpoint on the network.
        """
        prefix = f"{PREFIX}/endpoint/{network_id}/"
        found = self._values(prefix, _Endpoint)
        return None if found is None else {key.rpartition("/")[2]: one.name for key, one in found.items()}

    def name(self, network_id: str, endpoint_id: str) -> str | None:
        """The name of this endpoint's container, if the store has it."""
        found = self._values(f"{PREFIX}/endpoint/{network_id}/{endpoint_id}/", _Endpoint)
        return next((one.name for one in found.values()), None) if found else None

    def with_sandbox(self) -> frozenset[str] | None:
        """The ids of the containers whose sandbox is bound; None if the store says nothing."""
        directory = MountDirectory(self._engine.path(self._engine.sandboxes))
        found = self._values(f"{PREFIX}/sandbox/", _Sandbox) if directory.exists else None
        if found is None:
            return None
        return frozenset(one.container_id for one in found.values() if directory.has_mounted(one.id[:ID_IN_NAME]))

    def _values(self, prefix: str, kind: type[T]) -> dict[str, T] | None:
        """By their keys, without the slash at their end."""
        store = self._engine.place(STORE)
        try:
            database = read_database(store) if store else None
            if database is None:
                return None
            return {
                key.decode().rstrip("/"): msgspec.json.decode(value[INDEX_BYTES:], type=kind)
                for key, value in database.items(BUCKET, prefix.encode())
            }
        except (
            OSError,
            ValueError,
            msgspec.DecodeError,
            Unreadable,
        ) as failed:  # another kind of engine; the watcher tells later
            log.debug("the engine's store of networks says nothing: %s", failed)
            return None
