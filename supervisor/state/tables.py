"""The rows of the database: reads the tables, and makes the statements that change them.

The owner of the database carries the statements out. Must not know where the database is, nor what a failure means.
"""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TypeVar

from msgspec import json

from supervisor.contract.messages import EventView, LeaseView
from supervisor.domain.phases import Phase
from supervisor.engine.container_files import Identity
from supervisor.engine.facts import Program
from supervisor.engine.reconnection import Reconnection
from supervisor.state import holdings
from supervisor.state.holdings import Statement
from supervisor.state.records import Binding, EndpointRecord, LeaseRecord, Network, from_json, to_json
from workers.contract.lease import AnyLease
from workers.contract.messages import EndpointSpec

T = TypeVar("T")

RECONNECTION = "reconnection"  # a setting
EVENT_DAYS = 30
EVENT_ROWS = 100_000
KEYS = {"network": ("id",), "endpoint": ("id",), "lease": ("endpoint", "family"), "binding": ("network", "key")}
Record = Network | EndpointRecord | Binding
Values = tuple[str | float | None, ...]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All state except the history.

    `data_root` is the engine's, and `program` tells its version; the plugin needs both before the engine answers.
    `reconnection` is one that has begun.
    """

    networks: tuple[Network, ...] = ()
    endpoints: tuple[EndpointRecord, ...] = ()
    bindings: tuple[Binding, ...] = ()
    data_root: str | None = None
    program: Program | None = None
    reconnection: Reconnection | None = None


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A row that this version cannot read."""

    table: str
    key: tuple[str, ...]
    reason: str

    def __str__(self) -> str:
        return f"{self.table} {' '.join(self.key)}"


def read(database: sqlite3.Connection) -> tuple[Snapshot, list[Unreadable]]:
    """All state, and the rows that cannot be read. Raises sqlite3.Error.

    An endpoint cannot go on without its leases, so it is read together with them or not at all.
    """
    bad: list[Unreadable] = []

    def rows(table: str, kind: type[T]) -> dict[tuple[str, ...], T]:
        found = {}
        for *key, text in database.execute(f"SELECT * FROM {table}"):  # noqa: S608  names of ours
            try:
                found[tuple(key)] = from_json(kind, text)
            except ValueError as error:
                bad.append(Unreadable(table, tuple(key), str(error)))
        return found

    endpoints, leases = rows("endpoint", EndpointRecord), rows("lease", LeaseRecord)
    lost = {one.key[0]: f"belongs to {one}" for one in bad}
    for table, keys in (("endpoint", endpoints), ("lease", leases)):
        bad += [Unreadable(table, key, lost[key[0]]) for key in keys if key[0] in lost]
    of_endpoint: dict[str, list[LeaseRecord]] = {}
    for (owner, _), lease in leases.items():
        of_endpoint.setdefault(owner, []).append(lease)
    settings = dict(database.execute("SELECT name, value FROM setting"))
    found = Snapshot(
        networks=tuple(rows("network", Network).values()),
        endpoints=tuple(
            replace(record, leases=tuple(of_endpoint.get(key, ())))
            for (key,), record in endpoints.items()
            if key not in lost
        ),
        bindings=tuple(rows("binding", Binding).values()),
        data_root=settings.get("data_root"),
        program=Program(settings["dockerd"], settings["dockerd_version"]) if "dockerd" in settings else None,
        reconnection=_reconnection(settings.get(RECONNECTION)),
    )
    return found, bad


def _reconnection(text: str | None) -> Reconnection | None:
    """None as well for one of another version's: what it has done to its container is seen at the container."""
    with suppress(ValueError):
        return json.decode(text, type=Reconnection) if text else None
    return None


def quarantine(row: Unreadable) -> tuple[Statement, Statement]:
    """Moves the row, as it is, to a table that the plugin does not read."""
    query = "INSERT INTO quarantine (time, origin, record, reason) SELECT ?, ?, record, ?"
    values: Values = (time.time(), str(row), row.reason, *row.key)
    return (f"{query} FROM {row.table} WHERE {_where(row.table, row.key)}", values), drop(row.table, *row.key)


def put(record: Record) -> Iterator[Statement]:
    """Adds or replaces it."""
    match record:
        case Network():
            yield _put("network", record.id, to_json(record))
        case Binding():
            yield _put("binding", record.network_id, record.key, to_json(record))
        case EndpointRecord(spec):
            yield _put("endpoint", spec.endpoint_id, to_json(replace(record, leases=())))
            for one in record.leases:
                yield put_lease(spec.endpoint_id, one)


def put_lease(endpoint_id: str, one: LeaseRecord) -> Statement:
    """Adds or replaces a lease of this endpoint."""
    return _put("lease", endpoint_id, one.lease.family, to_json(one))


def put_data_root(path: str) -> Statement:
    """Stores the engine's data root."""
    return _put("setting", "data_root", path)


def put_program(program: Program) -> Iterator[Statement]:
    """Stores which dockerd has answered."""
    yield _put("setting", "dockerd", program.file)
    yield _put("setting", "dockerd_version", program.version)


def put_reconnection(one: Reconnection | None) -> Statement:
    """Stores the reconnection that is about to begin; None if there is none any more."""
    return _put("setting", RECONNECTION, "" if one is None else json.encode(one).decode())


def put_all(snapshot: Snapshot) -> Iterator[Statement]:
    """Replaces all state except the history."""
    yield from map(drop, KEYS)
    if snapshot.data_root is not None:
        yield put_data_root(snapshot.data_root)
    if snapshot.program is not None:
        yield from put_program(snapshot.program)
    yield put_reconnection(snapshot.reconnection)
    records: tuple[Record, ...] = (*snapshot.networks, *snapshot.endpoints, *snapshot.bindings)
    for record in records:
        yield from put(record)
    yield from hold_all(snapshot)


def hold_all(snapshot: Snapshot) -> Iterator[Statement]:
    """These endpoints have their addresses, and no others have any."""
    held = (one for one in snapshot.endpoints if one.phase in (Phase.CREATED, Phase.JOINING, Phase.JOINED))
    yield from holdings.begin_anew(
        holding_of(one.spec, one.identity, record.lease, record.obtained) for one in held for record in one.leases
    )


def holding_of(spec: EndpointSpec, identity: Identity | None, lease: AnyLease, began: float) -> LeaseView:
    """The endpoint's hold on the lease's address since then, a Unix time."""
    return LeaseView(
        id=0,
        endpoint_id=spec.endpoint_id,
        network_id=spec.network_id,
        network=None,
        container_id=identity.id if identity else None,
        container=identity.name if identity else None,
        mac=spec.mac if spec.link.has_own_mac else None,
        family=lease.family,
        address=str(lease.address.ip),
        server=None if lease.is_guess else lease.source,
        begin=began,
        end=None,
        ended_by=None,
    )


def drop(table: str, *key: str) -> Statement:
    """Removes all rows whose key begins with these values."""
    return f"DELETE FROM {table} WHERE {_where(table, key)}", key  # noqa: S608  names of ours


def drop_endpoint(endpoint_id: str) -> tuple[Statement, Statement]:
    """Removes it with its leases."""
    return drop("endpoint", endpoint_id), drop("lease", endpoint_id)


def add_event(event: EventView) -> Statement:
    """Adds it with an id of its own."""
    query = "INSERT INTO event (time, endpoint, network, container, kind, address, detail) VALUES (?,?,?,?,?,?,?)"
    place = event.endpoint_id, event.network_id, event.container
    return query, (event.time, *place, event.kind, event.address, event.detail)


def read_events(database: sqlite3.Connection, after: int | None, limit: int) -> tuple[EventView, ...]:
    """At most `limit` events after the id `after`, in ascending order; the newest one alone if that is None."""
    columns = "SELECT id, time, endpoint, network, NULL, container, kind, address, detail FROM event"
    if after is None:
        rows = database.execute(f"{columns} ORDER BY id DESC LIMIT 1")
    else:
        rows = database.execute(f"{columns} WHERE id > ? ORDER BY id LIMIT ?", (after, limit))
    return tuple(EventView(*row) for row in rows)


def prune_history() -> tuple[Statement, ...]:
    """Drops events that are too old, and the oldest of those that are too many."""
    return (
        ("DELETE FROM event WHERE time < ?", (time.time() - EVENT_DAYS * 86400,)),
        ("DELETE FROM event WHERE id <= (SELECT max(id) FROM event) - ?", (EVENT_ROWS,)),
        *holdings.prune(),
    )


def _put(table: str, *values: str) -> Statement:
    return f"INSERT OR REPLACE INTO {table} VALUES ({', '.join('?' * len(values))})", values  # noqa: S608


def _where(table: str, key: tuple[str, ...]) -> str:
    return " AND ".join(("true", *(f"{column} = ?" for column in KEYS[table][: len(key)])))
