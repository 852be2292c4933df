"""Bindings: the MAC, addresses and leases of each owner, so that a container stays the same machine on the LAN.

A key names the owner of an identity on one network: a container, an id or a name that the user chose, or a MAC that
the user gave. No other owner gets the identity. If a container ends and will come back, its leases wait here; if it
does not come in time, they are released.
"""

import hashlib
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

from supervisor.contract.messages import CreateEndpoint
from supervisor.engine.container_files import Identity
from supervisor.engine.identity import COMEBACK_SECONDS
from supervisor.state.records import Binding
from supervisor.state.store import Store
from workers.contract.client_identity import ClientIdentity
from workers.contract.lease import AnyLease, Family
from workers.contract.messages import EndpointSpec
from workers.system.clock import boottime

FORGET_SECONDS = 90 * 86400.0
MOST_IDLE = 2000  # bindings that no endpoint has and whose leases nobody will release; the oldest go first
LOCAL_MAC_PREFIX = "02"  # locally administered, unicast: IEEE 802, clause 8


def key_of(request: CreateEndpoint, chosen_id: str | None, by_name: bool, identity: Identity | None) -> str | None:
    """The key of the identity that an endpoint gets. The user's choice comes first; None if no owner is certain.

    An `id` that is the container's own was chosen by the plugin (supervisor.driver.reconnections).
    """
    if request.mac is not None:
        return f"mac:{request.mac}"
    if chosen_id is not None and (identity is None or chosen_id != identity.id):
        return f"id:{chosen_id}"
    if identity is None:
        return None
    return key_of_name(identity.lasting_name) if by_name else key_of_container(identity.id)


def key_of_container(container_id: str) -> str:
    """The key of a container; its bindings go when the container is removed."""
    return f"container:{container_id}"


def key_of_name(name: str) -> str:
    """The key of all containers with this name, one after another."""
    return f"name:{name}"


def is_of_no_owner(key: str) -> bool:
    """Whether the key only names a lease that waits for its release: nobody comes for it."""
    return key.partition(":")[0] in ("endpoint", "left")


def is_found(key: str | None) -> bool:
    """Whether the key comes from the engine's files, not from the user."""
    return key is not None and key.partition(":")[0] in ("container", "name")


def local_mac(octets: bytes) -> str:
    """A locally administered MAC with these five octets."""
    return ":".join((LOCAL_MAC_PREFIX, *(f"{octet:02x}" for octet in octets)))


def mac_of_name(network_id: str, name: str) -> str:
    """The MAC of all containers of this name on this network. Only a network of a Swarm has one id on all hosts."""
    digest = hashlib.sha256(f"{network_id}\0{name}".encode()).digest()
    return local_mac(digest[:5])


Place = tuple[str, str]  # a network and a key


class Client(NamedTuple):
    """A client as servers know it: both families have one of their own."""

    mac: str
    identity: ClientIdentity

    def known_by(self, family: Family) -> tuple[str | bytes | int, ...]:
        """The words by which a server of this family finds its lease."""
        if family is Family.IPV6:
            return self.identity.duid, self.identity.iaid
        return self.mac, self.identity.client_id

    def is_confused_with(self, other: "Client", families: Iterable[Family]) -> bool:
        """Whether a server of one of these families takes both for one: what one releases is the other's.

        A DHCPv4 server goes by the client identifier, and then the MAC address is only where it sends to.
        """
        same = {
            Family.IPV4: self.identity.client_id == other.identity.client_id,
            Family.IPV6: self.known_by(Family.IPV6) == other.known_by(Family.IPV6),
        }
        return any(same[family] for family in families)


class Bindings:
    """All bindings, on disk as well."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._bindings: dict[Place, Binding] = {}
        self._releasing: set[Place] = set()

    def __iter__(self) -> Iterator[Binding]:
        return iter(self._bindings.values())

    def load(self, bindings: tuple[Binding, ...]) -> None:
        """Call it at the start. Leases wait for their containers anew, because the engine is starting, too."""
        now = boottime()
        for one in bindings:
            leases = {family: lease for family, lease in one.leases.items() if lease.runs(now)}
            release_at = now + COMEBACK_SECONDS if leases and one.release_at is not None else None
            self._bindings[one.network_id, one.key] = replace(one, leases=leases, release_at=release_at)

    def recall(self, network_id: str, key: str | None) -> Binding | None:
        """The last binding of the owner of the key."""
        return self._bindings.get((network_id, key)) if key is not None else None

    def claim(self, binding: Binding | None, client: Client) -> dict[Family, AnyLease]:
        """Returns the leases that wait for the owner and still run. They wait no longer.

        Those for which this client cannot ask go on waiting: their own client releases them when they are due.
        """
        if binding is None or not binding.leases:
            return {}
        others = _leases_of_others(binding, client)
        self._put_waiting(binding, others)
        leases = binding.leases.items()
        return {family: lease for family, lease in leases if family not in others and lease.runs(boottime())}

    def run_out(self, binding: Binding | None, client: Client) -> dict[Family, AnyLease]:
        """The owner's last leases that have run out. With `expired=keep` it may use them while no server answers."""
        if binding is None:
            return {}
        others, now = _families_of_others(binding, client), boottime()
        return {family: lease for family, lease in binding.last.items() if family not in others and not lease.runs(now)}

    def keep(self, spec: EndpointSpec, key: str | None, lease: AnyLease) -> None:
        """An endpoint has this lease now."""
        if key is not None:
            self._make_room(spec, key)
            self._put(self._with(spec, key, lease))

    def set_aside(self, spec: EndpointSpec, key: str, lease: AnyLease, *, give_back: bool) -> None:
        """An endpoint has ended without releasing its lease, which waits for the owner of the key.

        `give_back`: the lease is released if the owner does not come in time; else it runs out.
        """
        if lease.runs(boottime()):
            self._make_room(spec, key)
            until = boottime() + COMEBACK_SECONDS if give_back else None
            binding = self._with(spec, key, lease)
            self._put(replace(binding, leases=binding.leases | {lease.family: lease}, release_at=until))

    def given_back(self, network_id: str, key: str | None, leases: Iterable[AnyLease]) -> None:
        """These leases were released: their owner does not use them without a server any more.

        There is nothing to release of one that had run out.
        """
        one, now = self.recall(network_id, key), boottime()
        released = {lease.address for lease in leases if lease.runs(now)}
        if one is not None and any(lease.address in released for lease in one.last.values()):
            last = {family: lease for family, lease in one.last.items() if lease.address not in released}
            self._put(replace(one, last=last))

    # Leases whose owner does not come are released.

    def overdue(self, in_use: Collection[tuple[str, Client]] = ()) -> tuple[Binding, ...]:
        """The bindings whose owner did not come in time for the leases that wait, and that nobody releases yet.

        A lease is left out while a client that is `in_use` on the network would lose its own by the release.
        """
        now = boottime()
        return tuple(
            one
            for one in self
            if one.release_at is not None
            and one.release_at <= now
            and _place(one) not in self._releasing
            and not any(network_id == one.network_id and _shares_lease(one, client) for network_id, client in in_use)
        )

    def begin_release(self, one: Binding) -> dict[Family, AnyLease]:
        """Returns the leases that are to be released. They stay on disk until `end_release`, in case we die before."""
        leases = {family: lease for family, lease in one.leases.items() if lease.runs(boottime())}
        if leases:
            self._releasing.add(_place(one))
        self._put_waiting(one, leases)
        return leases

    def end_release(
        self, network_id: str, key: str, leases: dict[Family, AnyLease], released: Iterable[Family]
    ) -> None:
        """The leases of the families in `released` wait no more, the others are tried again later.

        A lease that has another endpoint meanwhile is that one's.
        """
        self._releasing.discard((network_id, key))
        self.given_back(network_id, key, (leases[family] for family in released))
        one = self.recall(network_id, key)
        if one is None:
            return
        ours = {family for family, lease in leases.items() if one.leases.get(family) == lease}
        left = {family: lease for family, lease in one.leases.items() if family not in ours.intersection(released)}
        if ours and left:
            self._put(replace(one, leases=left, release_at=boottime() + COMEBACK_SECONDS))
        else:
            self._put_waiting(one, left)

    def is_releasing(self, network_id: str, client: Client) -> bool:
        """Whether a release is under way that would cost this client its own lease."""
        under_way = (self._bindings[place] for place in self._releasing if place in self._bindings)
        return any(one.network_id == network_id and _shares_lease(one, client) for one in under_way)

    # Bindings that are of no use any more are forgotten.

    def forget_container(self, container_id: str) -> None:
        """The container was removed. Leases that wait for it stay until they are released."""
        self._forget(lambda one: one.key == key_of_container(container_id))

    def forget_network(self, network_id: str) -> None:
        """The network was removed. Leases that wait stay until they are released."""
        self._forget(lambda one: one.network_id == network_id)

    def forget(self, idle: Iterable[Binding]) -> None:
        """No endpoint has these, and an operator does not want them any more: leases that wait are released."""
        with self._store.together():
            for one in idle:
                if one.leases:
                    self._put(replace(one, ownerless=True, release_at=boottime()))
                else:
                    self._drop([_place(one)])

    def forget_absent(self, container_ids: Collection[str], listed: float, used: Collection[Place]) -> None:
        """The engine has only these containers, as of a list that began at this Unix time: the others were removed.

        An engine without any may have started before its disk was mounted.
        """
        if not container_ids:
            return
        present = {key_of_container(container_id) for container_id in container_ids}
        self._forget(
            lambda one: (
                one.key.startswith(key_of_container(""))
                and one.key not in present
                and one.updated < listed
                and _place(one) not in used
            )
        )

    def prune(self, used: Collection[Place]) -> None:
        """Forgets leases that have run out, and the bindings that are too old or too many. Call it often.

        `used` are the bindings of endpoints.
        """
        now, oldest = boottime(), time.time() - FORGET_SECONDS
        for one in tuple(self):
            if _place(one) not in self._releasing:
                self._put_waiting(one, {family: lease for family, lease in one.leases.items() if lease.runs(now)})
        idle = [one for one in self if one.release_at is None and _place(one) not in used]
        useless = [one for one in idle if one.updated < oldest and not one.leases]
        if len(idle) > MOST_IDLE:
            useless += sorted(idle, key=lambda one: one.updated)[: len(idle) - MOST_IDLE]
        self._drop({_place(one) for one in useless})

    def _forget(self, concerned: Callable[[Binding], bool]) -> None:
        """Drops bindings whose owner has gone, and marks those that have a lease to be released.

        A kept lease is not released: it runs out at the server.
        """
        gone = [one for one in self if concerned(one)]
        with self._store.together():
            for one in gone:
                if one.release_at is None:
                    self._drop([_place(one)])
                elif not one.ownerless:
                    self._put(replace(one, ownerless=True))

    def _drop(self, places: Iterable[Place]) -> None:
        with self._store.together():
            for place in places:
                del self._bindings[place]
                self._store.drop("binding", *place)

    def _make_room(self, spec: EndpointSpec, key: str) -> None:
        """Leases that wait under the key for another client wait elsewhere until they are due."""
        known = self.recall(spec.network_id, key)
        others = _leases_of_others(known, Client(spec.mac, spec.client_identity)) if known is not None else {}
        if known is not None and others:
            if known.release_at is not None:
                self._put(replace(known, key=f"left:{next(iter(others.values())).address.ip}", leases=others))
            self._put_waiting(known, {family: one for family, one in known.leases.items() if family not in others})

    def _put_waiting(self, binding: Binding, leases: dict[Family, AnyLease]) -> None:
        """These leases of the binding go on waiting, the others do not."""
        if not leases and (binding.ownerless or is_of_no_owner(binding.key)):
            self._drop([_place(binding)] if _place(binding) in self._bindings else [])
        elif leases != binding.leases:
            self._put(replace(binding, leases=leases, release_at=binding.release_at if leases else None))

    def _with(self, spec: EndpointSpec, key: str, lease: AnyLease) -> Binding:
        """The binding of the key with this lease's address. With the same MAC it keeps the other family's part."""
        known = self.recall(spec.network_id, key)
        if known is None or known.mac != spec.mac:
            known = Binding(spec.network_id, key, spec.mac, spec.client_identity, spec.link, 0.0)
        leases = {family: other for family, other in known.leases.items() if family is not lease.family}
        return replace(
            known,
            client_identity=spec.client_identity,
            link=spec.link,
            updated=time.time(),
            addresses=known.addresses | {lease.family: str(lease.address.ip)},
            leases=leases,
            release_at=known.release_at if leases else None,
            ownerless=False,
            last=known.last | {lease.family: lease},
        )

    def _put(self, one: Binding) -> None:
        self._bindings[_place(one)] = one
        self._store.put(one)


def _place(one: Binding) -> Place:
    return one.network_id, one.key


def _shares_lease(one: Binding, client: Client) -> bool:
    """Whether a server would take a lease that waits there for this client's."""
    former = Client(one.mac, one.client_identity)
    return former.is_confused_with(client, one.leases)


def _leases_of_others(binding: Binding, client: Client) -> dict[Family, AnyLease]:
    """The leases of the binding for which this client cannot ask: a server would not know it again."""
    others = _families_of_others(binding, client)
    return {family: lease for family, lease in binding.leases.items() if family in others}


def _families_of_others(binding: Binding, client: Client) -> set[Family]:
    former = Client(binding.mac, binding.client_identity)
    return {family for family in Family if former.known_by(family) != client.known_by(family)}
