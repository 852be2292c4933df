"""Who held which address, and when: one row for each time that an endpoint had an address.

Makes the statements, as supervisor.state.tables does for the state, and reads a bounded part of the rows at a time. A
row is open while its endpoint has the address. Must not know what a lease is.
"""

import sqlite3
import time
from collections.abc import Collection, Iterable, Iterator

from supervisor.contract.messages import PAGE_ROWS, LeaseView, ListLeases, Page

KEPT_DAYS = 30
KEPT_ROWS = 100_000
STEP_ROWS = 4000  # read at most by one call: 2 ms
Statement = tuple[str, tuple[str | float | None, ...]]

_CHANGE = """UPDATE holding SET ended = ?, ended_by = 'changed'
WHERE endpoint = ? AND family = ? AND address <> ? AND ended IS NULL"""
_BEGIN = """INSERT INTO holding (endpoint, network, container_id, container, mac, family, address, server, began)
SELECT ?, ?, ?, ?, ?, ?, ?, ?, ?
WHERE NOT EXISTS (SELECT 1 FROM holding WHERE endpoint = ? AND family = ? AND ended IS NULL)"""
_COLUMNS = """id, endpoint, network, NULL, container_id, container, mac, family, address, server, began, ended,
ended_by"""  # as LeaseView has them
_LOSE = """UPDATE holding SET ended = ?, ended_by = 'lost'
WHERE ended IS NULL AND endpoint NOT IN (SELECT id FROM endpoint)"""


def begin(one: LeaseView) -> Iterator[Statement]:
    """The endpoint has this address of the family now, and no other; more than once is once."""
    holder = one.endpoint_id, one.network_id, one.container_id, one.container, one.mac
    yield _CHANGE, (one.begin, one.endpoint_id, one.family, one.address)
    yield _BEGIN, (*holder, one.family, one.address, one.server, one.begin, one.endpoint_id, one.family)


def end(endpoint: str, reason: str, family: str | None = None) -> Statement:
    """The endpoint has no address of the family any more, or none at all."""
    query = "UPDATE holding SET ended = ?, ended_by = ? WHERE endpoint = ? AND ended IS NULL"
    values = (time.time(), reason, endpoint)
    return (query, values) if family is None else (f"{query} AND family = ?", (*values, family))


def name(endpoint: str, container_id: str, container: str) -> Statement:
    """It has become known whose endpoint it is."""
    query = "UPDATE holding SET container_id = ?, container = ? WHERE endpoint = ? AND ended IS NULL"
    return query, (container_id, container, endpoint)


def begin_anew(present: Iterable[LeaseView]) -> Iterator[Statement]:
    """At a start, and when a disk works again: what happened meanwhile is not in the rows."""
    for one in present:
        yield from begin(one)
    yield _LOSE, (time.time(),)


def prune() -> tuple[Statement, ...]:
    """Drops rows that ended too long ago, and the oldest of those that are too many."""
    return (
        ("DELETE FROM holding WHERE ended < ?", (time.time() - KEPT_DAYS * 86400,)),
        ("DELETE FROM holding WHERE ended IS NOT NULL AND id <= (SELECT max(id) FROM holding) - ?", (KEPT_ROWS,)),
    )


def read(database: sqlite3.Connection, asked: ListLeases, networks: Collection[str] | None) -> Page[LeaseView]:
    """The first that match, but of STEP_ROWS rows at most. `networks` are the ids of those that are asked for.

    Raises sqlite3.Error.
    """
    after, limit = asked.after, min(asked.limit, PAGE_ROWS)
    (upper,) = database.execute(
        "SELECT max(id) FROM (SELECT id FROM holding WHERE id > ? ORDER BY id LIMIT ?)", (after, STEP_ROWS)
    ).fetchone()
    if upper is None:
        return Page((), after, complete=True)
    conditions, values = _conditions(asked, networks)
    found = database.execute(
        f"SELECT {_COLUMNS} FROM holding WHERE id > ? AND id <= ?{conditions} ORDER BY id LIMIT ?",  # noqa: S608  conditions of ours
        (after, upper, *values, limit),
    )
    rows = tuple(LeaseView(*row) for row in found)
    last = rows[-1].id if len(rows) == limit else upper
    (newest,) = database.execute("SELECT max(id) FROM holding").fetchone()
    return Page(rows, last, complete=last >= newest)


def _conditions(asked: ListLeases, networks: Collection[str] | None) -> tuple[str, list[str | float]]:
    parts: list[tuple[str, tuple[str | float, ...]]] = []
    if asked.mac is not None:
        parts.append(("mac = ?", (asked.mac,)))
    if asked.address is not None:
        parts.append(("address = ?", (asked.address,)))
    if (name := asked.container) is not None:
        is_id = "length(?) >= 12 AND substr(container_id, 1, length(?)) = ?"
        parts.append((f"(container = ? OR ({is_id}))", (name, name, name, name)))
    if networks is not None:
        parts.append((f"network IN ({', '.join('?' * len(networks))})", tuple(networks)))
    if asked.since is not None:
        parts.append(("(ended IS NULL OR ended > ?)", (asked.since,)))
    if asked.until is not None:
        parts.append(("began <= ?", (asked.until,)))
    return "".join(f" AND {text}" for text, _ in parts), [value for _, values in parts for value in values]
