"""The endpoints as rows for people, and which of them a person means.

An endpoint is a container on one network. A row has the API's fields and some that are put together here.
"""

from collections.abc import Callable, Iterable
from typing import Any

from cli.client import Client
from cli.errors import NotFound
from cli.words import until

Row = dict[str, Any]
SHORT = 12  # characters of an id, as docker prints them
_COUNTED = ("cpu", "rss", "pss")


def rows(client: Client, *, costs: bool = False, **filters: str | None) -> list[Row]:
    """All endpoints that match, by network and container; `costs` adds what their processes cost."""
    found = client.get("/v1/endpoints", **filters)["endpoints"]
    workers = client.get("/v1/workers")["workers"] if costs else []
    made = [{**endpoint, **_more(endpoint), **(_cost(endpoint, workers) if costs else {})} for endpoint in found]
    return sorted(made, key=lambda row: (row["network"] or "", row["name"]))


def name_of(endpoint: Row) -> str:
    """The container's, or what else says whose it is."""
    if endpoint["container"]:
        return str(endpoint["container"])
    return "(host)" if endpoint["endpoint_id"] == endpoint["network_id"] else endpoint["endpoint_id"][:SHORT]


def addresses_of(endpoint: Row) -> str:
    """Of both families."""
    ipv6 = endpoint.get("ipv6") or {}
    return ", ".join(found for found in (endpoint.get("address"), ipv6.get("address")) if found)


def meant(found: Iterable[Row], word: str) -> list[Row]:
    """Those that a person calls so: by a name, address, MAC address, or the beginning of an id. Raises NotFound."""
    known = list(found)
    for is_called in _WAYS:
        if hits := [row for row in known if is_called(row, word)]:
            return hits
    raise NotFound(
        f"no endpoint has the name, address, MAC address or id {word!r}: `net-dhcp ps` shows those that there are"
    )


def only(client: Client, word: str, network: str | None = None) -> Row:
    """The one that is meant. Raises NotFound, also if there are several."""
    hits = meant(rows(client, network=network), word)
    if len(hits) > 1:
        networks = ", ".join(str(row["network"]) for row in hits)
        raise NotFound(f"{word!r} is on several networks ({networks}): choose one by --network")
    return hits[0]


def _more(endpoint: Row) -> Row:
    ipv6 = endpoint["ipv6"] or {}
    return {
        "name": name_of(endpoint),
        "addresses": addresses_of(endpoint),
        "state": endpoint["lease_state"] or ipv6.get("lease_state") or endpoint["phase"],
        "expires_in": until(endpoint["expires"] or ipv6.get("expires")),
        "renewed_ago": until(endpoint["renewed"] or ipv6.get("renewed")),
    }


def _cost(endpoint: Row, workers: list[Row]) -> Row:
    """Of all its processes: worker, turn and udhcpc."""
    own = [worker["cost"] for worker in workers if worker["endpoint_id"] == endpoint["endpoint_id"]]
    known = [cost for cost in own if cost]
    return {name: sum(cost[name] for cost in known) if known else None for name in _COUNTED}


def _is_name(row: Row, word: str) -> bool:
    return word in (row["container"], row["name"])


def _is_address(row: Row, word: str) -> bool:
    addresses = {row["address"], (row["ipv6"] or {}).get("address")} - {None}
    return word.lower() in {form for address in addresses for form in (address, address.partition("/")[0])}


def _is_mac(row: Row, word: str) -> bool:
    return str(row["mac"]) == word.lower().replace("-", ":")


def _is_id(row: Row, word: str) -> bool:
    ids = (row["endpoint_id"], row["container_id"] or "")
    return len(word) >= 4 and any(id_.startswith(word) for id_ in ids)


def _is_hostname(row: Row, word: str) -> bool:
    return str(row["hostname"]) == word


_WAYS: tuple[Callable[[Row, str], bool], ...] = (_is_name, _is_address, _is_mac, _is_id, _is_hostname)
