"""Who held which address, and when: one row for each time that an endpoint had an address.

Makes the statements, as supervisor.state.tables does for the state, and reads a bounded part of the rows at a time. A
row is open while its endpoint has the address. Must not know what a lease is.
"""

import sqlite3
import time
from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass

KEPT_DAYS = 30
KEPT_ROWS = 100_000
STEP_ROWS = 4000  # read at most by one call: 2 ms
Statement = tuple[str, tuple[str | float | None, ...]]


_CHANGE = """UPDATE holding SET ended = ?, ended_by = 'changed'
WHERE endpoint = ? AND family = ? AND address <> ? AND ended IS NULL"""
_BEGIN = """INSERT INTO holding (endpoint, network, container_id, container, mac, family, address, server, began)
SELECT ?, ?, ?, ?, ?, ?, ?, ?, ?
WHERE NOT EXISTS (SELECT 1 FROM holding WHERE endpoint = ? AND family = ? AND ended IS NULL)"""
_LOSE = """UPDATE holding SET ended = ?, ended_by = 'lost'
WHERE ended IS NULL AND endpoint NOT IN (SELECT id FROM endpoint)"""


@dataclass(frozen=True, slots=True)
class Holding:
    """An endpoint has this address from `began` to `ended`; the end is None while it lasts. Times are Unix times."""

    endpoint: str
    network: str
    container_id: str | None
    container: str | None
    mac: str | None
    family: str
    address: str
    server: str | None
    began: float
    ended: float | None = None
    ended_by: str | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What holdings are asked for; None stands for any. `networks` are ids, `container` is a name or an id."""

    mac: str | None = None
    address: str | None = None
    container: str | None = None
    networks: frozenset[str] | None = None
    since: float | None = None
    until: float | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """Holdings with their ids, all that match up to the id `last`; `complete` if there are no rows behind it."""

    rows: tuple[tuple[int, Holding], ...]
    last: int
    complete: bool


def begin(one: Holding) -> Iterator[Statement]:
    """The endpoint has this address of the family now, and no other; more than once is once."""
    yield _CHANGE, (one.began, one.endpoint, one.family, one.address)
    yield _BEGIN, (*astuple(one)[:9], one.endpoint, one.family)


def end(endpoint: str, reason: str, family: str | None = None) -> Statement:
    """The endpoint has no address of the family any more, or none at all."""
    query = "UPDATE holding SET ended = ?, ended_by = ? WHERE endpoint = ? AND ended IS NULL"
    values = (time.time(), reason, endpoint)
    return (query, values) if family is None else (f"{query} AND family = ?", (*values, family))


def name(endpoint: str, container_id: str, container: str) -> Statement:
    """It has become known whose endpoint it is."""
    query = "UPDATE holding SET container_id = ?, container = ? WHERE endpoint = ? AND ended IS NULL"
    return query, (container_id, container, endpoint)


def begin_anew(present: Iterable[Holding]) -> Iterator[Statement]:
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


def read(database: sqlite3.Connection, wanted: Wanted, after: int, limit: int) -> Found:
    """The first `limit` that match behind the id `after`, but of STEP_ROWS rows at most. Raises sqlite3.Error."""
    (upper,) = database.execute(
        "SELECT max(id) FROM (SELECT id FROM holding WHERE id > ? ORDER BY id LIMIT ?)", (after, STEP_ROWS)
    ).fetchone()
    if upper is None:
        return Found((), after, complete=True)
    conditions, values = _conditions(wanted)
    found = database.execute(
        f"SELECT * FROM holding WHERE id > ? AND id <= ?{conditions} ORDER BY id LIMIT ?",  # noqa: S608  conditions of ours
        (after, upper, *values, limit),
    )
    rows = tuple((number, Holding(*row)) for number, *row in found)
    last = rows[-1][0] if len(rows) == limit else upper
    (newest,) = database.execute("SELECT max(id) FROM holding").fetchone()
    return Found(rows, last, complete=last >= newest)


def _conditions(wanted: Wanted) -> tuple[str, list[str | float]]:
    parts: list[tuple[str, tuple[str | float, ...]]] = []
    if wanted.mac is not None:
        parts.append(("mac = ?", (wanted.mac,)))
    if wanted.address is not None:
        parts.append(("address = ?", (wanted.address,)))
    if wanted.container is not None:
        exact, start = wanted.container, wanted.container
        parts.append(
            (
                "(container = ? OR (length(?) >= 12 AND substr(container_id, 1, length(?)) = ?))",
                (exact, start, start, start),
            )
        )
    if wanted.networks is not None:
        marks = ", ".join("?" * len(wanted.networks))
        parts.append((f"network IN ({marks})", tuple(wanted.networks)))
    if wanted.since is not None:
        parts.append(("(ended IS NULL OR ended > ?)", (wanted.since,)))
    if wanted.until is not None:
        parts.append(("began <= ?", (wanted.until,)))
    return "".join(f" AND {text}" for text, _ in parts), [value for _, values in parts for value in values]
