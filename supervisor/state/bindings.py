"""Who had which MAC, address and lease: what makes a container the same machine on the LAN over its restarts.

A key names whoever an identity belongs to, on one network: a container, an id or a name that the user chose, a MAC
that the user gave. An identity is handed to nobody else. A lease that is still held although no endpoint has it any
more (its container is to come back) waits here, and is given back when nobody came for it.
"""

import hashlib
import time
from collections.abc import Iterator
from dataclasses import replace

from supervisor.contract.messages import CreateEndpoint
from supervisor.engine.container_files import Identity
from supervisor.engine.identity import COMEBACK_SECONDS
from supervisor.state.records import Binding
from supervisor.state.store import Store
from workers.contract.lease import Lease
from workers.contract.link import LinkSpec
from workers.system.clock import boottime

FORGET_SECONDS = 90 * 86400.0
LOCAL_MAC_PREFIX = "02"  # locally administered, unicast: IEEE 802, clause 8


def key_of(request: CreateEndpoint, chosen_id: str | None, by_name: bool, identity: Identity | None) -> str | None:
    """Whose identity an endpoint gets: what the user said before what was found; None where nothing is sure."""
    if request.mac is not None:
        return f"mac:{request.mac}"
    if chosen_id is not None:
        return f"id:{chosen_id}"
    if identity is None:
        return None
    return f"name:{identity.name}" if by_name else key_of_container(identity.id)


def key_of_container(container_id: str) -> str:
    """What is remembered under it goes when the container does."""
    return f"container:{container_id}"


def is_found(key: str | None) -> bool:
    """Whether it says what was found in the engine's files, not what the user said."""
    return key is not None and key.partition(":")[0] in ("container", "name")


def local_mac(octets: bytes) -> str:
    """A locally administered MAC with these five octets."""
    return ":".join((LOCAL_MAC_PREFIX, *(f"{octet:02x}" for octet in octets)))


def mac_of_name(network_id: str, name: str) -> str:
    """The same MAC whenever a container of this name is made on this network; network ids differ between hosts."""
    digest = hashlib.sha256(f"{network_id}\0{name}".encode()).digest()
    return local_mac(digest[:5])


class Bindings:
    """All remembered identities, on disk as well."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._remembered: dict[tuple[str, str], Binding] = {}

    def __iter__(self) -> Iterator[Binding]:
        return iter(self._remembered.values())

    def load(self, remembered: tuple[Binding, ...]) -> None:
        """At the start. Containers that are to come back get their time anew: the engine is starting, too."""
        for one in remembered:
            lease = one.lease if one.lease is not None and one.lease.runs(boottime()) else None
            release_at = None if lease is None or one.release_at is None else boottime() + COMEBACK_SECONDS
            if lease is not None or time.time() - one.updated < FORGET_SECONDS:
                self._remembered[one.network_id, one.key] = replace(one, lease=lease, release_at=release_at)
            else:
                self._store.drop_binding(one.network_id, one.key)

    def recall(self, network_id: str, key: str | None) -> Binding | None:
        """What it had when it was last here."""
        return self._remembered.get((network_id, key)) if key is not None else None

    def claim(self, remembered: Binding | None) -> Lease | None:
        """The lease that waits for whoever this is, if it still runs; it does not wait any more."""
        if remembered is None or remembered.lease is None:
            return None
        self.given_back(remembered)
        return remembered.lease if remembered.lease.runs(boottime()) else None

    def keep(self, network_id: str, key: str | None, mac: str, link: LinkSpec, lease: Lease) -> None:
        """An endpoint has this now. A lease that waits under the key for another MAC goes on waiting, for nobody."""
        if key is None:
            return
        waiting = self.recall(network_id, key)
        if waiting is not None and waiting.lease is not None and waiting.mac != mac:
            self._put(replace(waiting, key=f"left:{waiting.lease.address.ip}"))
        self._put(Binding(network_id, key, mac, lease.address.ip, link, time.time()))

    def set_aside(self, network_id: str, key: str, mac: str, link: LinkSpec, lease: Lease, *, give_back: bool) -> None:
        """An endpoint has ended without giving its lease back; whoever has the key may come for it.

        `give_back`: after a while it is, else it is left to run out.
        """
        if lease.runs(boottime()):
            until = boottime() + COMEBACK_SECONDS if give_back else None
            self._put(Binding(network_id, key, mac, lease.address.ip, link, time.time(), lease, until))

    def given_back(self, waiting: Binding) -> None:
        """Its lease is none any more; MAC and address are still known."""
        self._put(replace(waiting, lease=None, release_at=None))

    def overdue(self) -> tuple[Binding, ...]:
        """Those whose lease nobody came for."""
        now = boottime()
        return tuple(one for one in self if one.release_at is not None and one.release_at <= now)

    def forget_container(self, container_id: str) -> None:
        """It was removed; a lease that waits for it stays until it is due."""
        for place, one in tuple(self._remembered.items()):
            if one.key == key_of_container(container_id) and one.lease is None:
                del self._remembered[place]
                self._store.drop_binding(*place)

    def forget_network(self, network_id: str) -> None:
        """It was removed; leases that wait stay until they are due."""
        for place, one in tuple(self._remembered.items()):
            if one.network_id == network_id and one.lease is None:
                del self._remembered[place]

    def _put(self, one: Binding) -> None:
        self._remembered[one.network_id, one.key] = one
        self._store.put_binding(one)
