"""The database's tables: the schema, how it came about, and what is kept as rows. The only file that knows them.

Changes are statements, which whoever has the database carries out. Must not know where it is, nor what a failure means.
"""

import sqlite3
import time
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from ipaddress import IPv4Address

from supervisor.state.records import (
    Binding,
    EndpointRecord,
    Network,
    endpoint_from_json,
    endpoint_to_json,
    lease_from_json,
    lease_to_json,
    options_from_json,
    options_to_json,
)
from workers.contract.link import LinkKind, LinkSpec

EVENT_DAYS = 30
EVENT_ROWS = 100_000
# Each released schema leads to the next by one script; the version is the number of scripts that have run.
MIGRATIONS = (
    """
    CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
    CREATE TABLE network (id TEXT PRIMARY KEY, options TEXT NOT NULL) STRICT;
    CREATE TABLE endpoint (id TEXT PRIMARY KEY, phase TEXT NOT NULL, held INTEGER NOT NULL, lease TEXT,
                           record TEXT NOT NULL) STRICT;
    CREATE TABLE remembered (network TEXT NOT NULL, key TEXT NOT NULL, mac TEXT NOT NULL, address TEXT,
                             bridge TEXT NOT NULL, updated REAL NOT NULL, lease TEXT, release_at REAL,
                             PRIMARY KEY (network, key)) STRICT;
    CREATE TABLE event (id INTEGER PRIMARY KEY, time REAL NOT NULL, endpoint TEXT NOT NULL, network TEXT NOT NULL,
                        container TEXT, kind TEXT NOT NULL, address TEXT, detail TEXT NOT NULL) STRICT;
    CREATE INDEX event_by_time ON event (time);
    """,
)
Statement = tuple[str, tuple[str | float | None, ...]]  # with the values of its parameters
REMEMBERED = "network, key, mac, address, bridge, updated, lease, release_at"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that is kept, but for the history. `data_root` is the engine's, needed before its API can be asked."""

    networks: tuple[Network, ...] = ()
    endpoints: tuple[EndpointRecord, ...] = ()
    remembered: tuple[Binding, ...] = ()
    data_root: str | None = None


@dataclass(frozen=True, slots=True)
class LeaseEvent:
    """What happened to a lease, for the history; `time` is a Unix time."""

    time: float
    endpoint: str
    network: str
    container: str | None
    kind: str
    address: str | None
    detail: str


def migrate(database: sqlite3.Connection) -> None:
    """Brings the schema up to date, from none as well. Raises sqlite3.Error, also if it is newer than this plugin."""
    version = database.execute("PRAGMA user_version").fetchone()[0]
    if version > len(MIGRATIONS):
        raise sqlite3.DatabaseError(f"schema {version} is of a newer version of the plugin")
    for number, script in enumerate(MIGRATIONS[version:], version + 1):
        database.executescript(f"BEGIN; {script} PRAGMA user_version = {number}; COMMIT;")


def put_data_root(path: str) -> Statement:
    """The engine's."""
    return "INSERT OR REPLACE INTO setting (name, value) VALUES ('data_root', ?)", (path,)


def put_network(network: Network) -> Statement:
    """Adds or replaces it, as all of these."""
    return "INSERT OR REPLACE INTO network (id, options) VALUES (?, ?)", (network.id, options_to_json(network.options))


def put_endpoint(record: EndpointRecord) -> Statement:
    query = "INSERT OR REPLACE INTO endpoint (id, phase, held, lease, record) VALUES (?, ?, ?, ?, ?)"
    ipv4 = record.ipv4
    held, lease = int(ipv4 is not None and ipv4.held), lease_to_json(ipv4.lease if ipv4 else None)
    return query, (record.spec.endpoint_id, record.phase, held, lease, endpoint_to_json(record))


def put_binding(r: Binding) -> Statement:
    query = f"INSERT OR REPLACE INTO remembered ({REMEMBERED}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
    address = None if r.address is None else str(r.address)
    return query, (r.network_id, r.key, r.mac, address, r.link.parent, r.updated, lease_to_json(r.lease), r.release_at)


def put_all(snapshot: Snapshot) -> Iterator[Statement]:
    """Instead of what there is, but for the history."""
    for table in ("network", "endpoint", "remembered"):
        yield f"DELETE FROM {table}", ()  # noqa: S608  names of ours
    if snapshot.data_root is not None:
        yield put_data_root(snapshot.data_root)
    yield from map(put_network, snapshot.networks)
    yield from map(put_endpoint, snapshot.endpoints)
    yield from map(put_binding, snapshot.remembered)


def read(database: sqlite3.Connection) -> Snapshot:
    """Raises sqlite3.Error, and ValueError, KeyError or TypeError for rows of another form."""
    settings = dict(database.execute("SELECT name, value FROM setting"))
    networks = database.execute("SELECT id, options FROM network")
    endpoints = database.execute("SELECT record, phase, held, lease FROM endpoint")
    remembered = database.execute(f"SELECT {REMEMBERED} FROM remembered")  # noqa: S608  names of ours
    return Snapshot(
        networks=tuple(Network(key, options_from_json(options)) for key, options in networks),
        endpoints=tuple(endpoint_from_json(text, phase, bool(held), lease) for text, phase, held, lease in endpoints),
        remembered=tuple(map(_remembered, remembered)),
        data_root=settings.get("data_root"),
    )


def _remembered(row: tuple[str, str, str, str | None, str, float, str | None, float | None]) -> Binding:
    network_id, key, mac, address, bridge, updated, lease, release_at = row
    known = None if address is None else IPv4Address(address)
    link = LinkSpec(LinkKind.BRIDGE, bridge)
    return Binding(network_id, key, mac, known, link, updated, lease_from_json(lease), release_at)


def drop_network(network_id: str) -> tuple[Statement, ...]:
    """With what was remembered on it, but for leases that wait."""
    return (
        ("DELETE FROM network WHERE id = ?", (network_id,)),
        ("DELETE FROM remembered WHERE network = ? AND lease IS NULL", (network_id,)),
    )


def drop_endpoint(endpoint_id: str) -> Statement:
    return "DELETE FROM endpoint WHERE id = ?", (endpoint_id,)


def drop_binding(network_id: str, key: str) -> Statement:
    return "DELETE FROM remembered WHERE network = ? AND key = ?", (network_id, key)


def add_event(event: LeaseEvent) -> Statement:
    query = "INSERT INTO event (time, endpoint, network, container, kind, address, detail) VALUES (?,?,?,?,?,?,?)"
    return query, astuple(event)


def read_events(database: sqlite3.Connection, after: int | None, limit: int) -> tuple[tuple[int, LeaseEvent], ...]:
    """Events with their ids, by which they are ordered; the newest one alone where `after` is None."""
    columns = "SELECT id, time, endpoint, network, container, kind, address, detail FROM event"
    if after is None:
        rows = database.execute(f"{columns} ORDER BY id DESC LIMIT 1")
    else:
        rows = database.execute(f"{columns} WHERE id > ? ORDER BY id LIMIT ?", (after, limit))
    return tuple((number, LeaseEvent(*values)) for number, *values in rows)


def prune_events() -> tuple[Statement, ...]:
    """Those that are too old, and the oldest of those that are too many."""
    return (
        ("DELETE FROM event WHERE time < ?", (time.time() - EVENT_DAYS * 86400,)),
        ("DELETE FROM event WHERE id <= (SELECT max(id) FROM event) - ?", (EVENT_ROWS,)),
    )
