"""The lines that pin a container: for its Compose file, or for `docker run`."""

import re
from collections.abc import Iterable, Iterator
from itertools import groupby

from cli.inert import inert
from cli.pins.places import FILES, Place

ID_LENGTH = 64
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")


def chosen_id(place: Place) -> str:
    """The `id` for a container: its name has the same letters."""
    return place.name[:ID_LENGTH]


def lines(places: Iterable[Place], *, by_mac: bool, in_networks: bool) -> Iterator[str]:
    """By MAC address where that is wanted and known, else by `id`.

    `in_networks` puts the MAC address beside its network, as engines from API 1.44 on and their Compose have it.
    """
    found = list(places)
    services = sorted((p for p in found if p.service), key=lambda p: (p.service or ("", ""), p.network))
    for project, of_project in groupby(services, key=lambda p: (p.service or ("", ""))[0]):
        members = list(of_project)
        yield f"# {inert(members[0].labels.get(FILES) or 'compose.yaml')}, project {inert(project)}"
        yield "services:"
        for service, of_service in groupby(members, key=lambda p: (p.service or ("", ""))[1]):
            yield from _service(service, list(of_service), by_mac, in_networks)
        yield ""
    for place in (p for p in found if p.service is None):
        yield f"# docker run of {inert(place.name)}:"
        yield f"  {_run(place, by_mac)}"


def _service(service: str, places: list[Place], by_mac: bool, in_networks: bool) -> Iterator[str]:
    yield f"  {_word(service)}:"
    names = sorted({place.name for place in places})
    if len(names) > 1:
        yield f"    # {len(names)} containers ({', '.join(map(inert, names))}): make a service of each, to pin them"
        return
    in_service = [p for p in places if _has_mac(p, by_mac) and not in_networks and p.is_first]
    for place in in_service:
        yield f"    mac_address: {place.mac}"
    beside = [place for place in places if place not in in_service]
    if beside:
        yield "    networks:"
    for place in beside:
        yield f"      {_word(place.key)}:"
        if _has_mac(place, by_mac) and in_networks:
            yield f"        mac_address: {place.mac}"
        else:
            yield "        driver_opts:"
            yield f"          id: {_word(chosen_id(place))}"


def _run(place: Place, by_mac: bool) -> str:
    if _has_mac(place, by_mac) and place.is_first:
        return f"--mac-address {place.mac}"
    return f"--network name={inert(place.network)},driver-opt=id={inert(chosen_id(place))}"


def _has_mac(place: Place, by_mac: bool) -> bool:
    """What the engine says goes into a file of the user's, so it has to be a MAC address."""
    return by_mac and place.mac is not None and bool(_MAC.fullmatch(place.mac))


def _word(text: str) -> str:
    """As YAML takes it for text."""
    if _PLAIN.fullmatch(text) and text.lower() not in ("yes", "no", "on", "off", "true", "false", "null", "y", "n"):
        return text
    escaped = inert(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
