"""What a request shows of the container that it is for, and which containers these signs exclude.

A request names no container, but has the user's choices for it. A container whose own differ cannot be meant. Pure:
what a file does not say, or an engine may send in another form, excludes nobody.
"""

from collections.abc import Callable
from dataclasses import dataclass

from msgspec.structs import replace

from supervisor.contract.messages import CreateEndpoint
from supervisor.engine.container_files import Configuration, HostConfiguration, Place

PUBLISHED_ONLY = 29  # the release from which a request's exposed ports are those that are published


@dataclass(frozen=True, slots=True)
class Suspect:
    """A container that may be the one, with its two files; `networks` are the names of the request's network."""

    container: Configuration
    host: HostConfiguration | None
    networks: frozenset[str]

    @property
    def places(self) -> list[Place]:
        """The user's choices on this network."""
        return [self.container.places[name] for name in self.networks & self.container.places.keys()]

    @property
    def mac(self) -> str | None:
        """The MAC address that the user has chosen there."""
        chosen = {place.mac for place in self.places} - {None}
        return next(iter(chosen), self.container.mac if self.is_first else None)

    @property
    def is_first(self) -> bool:
        """Whether this is the container's first network, as far as is known.

        The engine sends its ports and name servers for the first of its networks that is not internal. Until its API
        answers, the network's name is in the container's file alone.
        """
        return self.host is not None and self.host.first_network in self.networks | {p.name for p in self.places}

    @property
    def is_pinned(self) -> bool:
        """Whether each of its requests has a MAC address or an `id` of the user's."""
        return self.mac is not None or any(place.chosen_id for place in self.places)


def _id(suspect: Suspect, request: CreateEndpoint, _: int | None) -> bool:
    return request.options.get("id") in {place.chosen_id for place in suspect.places}


def _mac(suspect: Suspect, request: CreateEndpoint, _: int | None) -> bool:
    return suspect.host is None or request.mac == suspect.mac


def _exposed_ports(suspect: Suspect, request: CreateEndpoint, release: int | None) -> bool:
    if request.exposed_ports is None or suspect.host is None:
        return True
    releases = (PUBLISHED_ONLY - 1, PUBLISHED_ONLY) if release is None else (release,)
    return any(request.exposed_ports == _sent_ports(suspect.container, suspect.host, one) for one in releases)


def _sent_ports(container: Configuration, host: HostConfiguration, release: int) -> frozenset[tuple[int, int]]:
    """Those that an engine of this release lists in a request (daemon/network.go)."""
    if release < PUBLISHED_ONLY:
        return container.exposed_ports
    return frozenset(port[:2] for port in host.published) | (container.exposed_ports if host.publishes_all else set())


def _published_ports(suspect: Suspect, request: CreateEndpoint, _: int | None) -> bool:
    host = suspect.host
    return not request.published or host is None or host.publishes_all or host.published == request.published


def _name_servers(suspect: Suspect, request: CreateEndpoint, _: int | None) -> bool:
    """A container without name servers of its own has the daemon's in its request."""
    own = suspect.host.dns if suspect.host else None
    return request.exposed_ports is None or not own or own == request.dns


Sign = Callable[[Suspect, CreateEndpoint, int | None], bool]
# By its name in messages: whether the request may be this container's, with an engine of this release if it is known.
SIGNS: dict[str, Sign] = {
    "id": _id,
    "MAC address": _mac,
    "exposed ports": _exposed_ports,
    "published ports": _published_ports,
    "name servers": _name_servers,
}


def fits(suspect: Suspect, request: CreateEndpoint, release: int | None) -> bool:
    """Whether no sign excludes it."""
    return all(sign(suspect, request, release) for sign in SIGNS.values())


def request_of(suspect: Suspect, network_id: str, release: int | None) -> CreateEndpoint:
    """What the engine will ask for this container, as far as it tells containers apart."""
    chosen_id = next((place.chosen_id for place in suspect.places if place.chosen_id), None)
    options = {} if chosen_id is None else {"id": chosen_id}
    request, host = CreateEndpoint(network_id, "", suspect.mac, None, options), suspect.host
    if host is None or not suspect.is_first:
        return request
    ports = _sent_ports(suspect.container, host, PUBLISHED_ONLY - 1 if release is None else release)
    published = frozenset() if host.publishes_all else host.published
    return replace(request, exposed_ports=ports, published=published, dns=host.dns)
