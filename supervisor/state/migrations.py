"""Brings the database to today's schema, in one step for each released version. A released step never changes.

A step writes the JSON of its own time, so it must not use the records of today. It leaves a row that it cannot read as
it is: the reader of the new tables quarantines it.
"""

import json
import sqlite3
from base64 import b64encode
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any


class NewerVersion(Exception):
    """A newer version of the plugin wrote the database, so this version must not touch it."""


def refuse_newer(path: Path) -> None:
    """Raises NewerVersion, or sqlite3.Error. Opens the file for reading only, so nothing in it changes."""
    if not path.exists() or path.stat().st_size == 0:
        return
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", timeout=0, uri=True)) as database:
        version = _version(database)
    if version > len(MIGRATIONS):
        raise NewerVersion(
            f"a newer version of the plugin wrote it (schema {version}, this version knows {len(MIGRATIONS)}); "
            "install that version again, or move the file away"
        )


def migrate(database: sqlite3.Connection) -> None:
    """Brings the schema up to date, also in an empty database. A step that fails changes nothing."""
    for number, step in enumerate(MIGRATIONS[_version(database) :], _version(database) + 1):
        with database:
            database.execute("BEGIN IMMEDIATE")
            step(database)
            database.execute(f"PRAGMA user_version = {number}")


def _version(database: sqlite3.Connection) -> int:
    """The number of steps that the database has taken."""
    return int(database.execute("PRAGMA user_version").fetchone()[0])


def _run(database: sqlite3.Connection, script: str) -> None:
    """Runs the statements one by one: `executescript` would commit."""
    for statement in script.split(";"):
        database.execute(statement)


def _first(database: sqlite3.Connection) -> None:
    """The schema of the first release."""
    script = """
    CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
    CREATE TABLE network (id TEXT PRIMARY KEY, options TEXT NOT NULL) STRICT;
    CREATE TABLE endpoint (id TEXT PRIMARY KEY, phase TEXT NOT NULL, held INTEGER NOT NULL, lease TEXT,
                           record TEXT NOT NULL) STRICT;
    CREATE TABLE remembered (network TEXT NOT NULL, key TEXT NOT NULL, mac TEXT NOT NULL, address TEXT,
                             bridge TEXT NOT NULL, updated REAL NOT NULL, lease TEXT, release_at REAL,
                             PRIMARY KEY (network, key)) STRICT;
    CREATE TABLE event (id INTEGER PRIMARY KEY, time REAL NOT NULL, endpoint TEXT NOT NULL, network TEXT NOT NULL,
                        container TEXT, kind TEXT NOT NULL, address TEXT, detail TEXT NOT NULL) STRICT;
    CREATE INDEX event_by_time ON event (time)
    """
    _run(database, script)


def _records(database: sqlite3.Connection) -> None:
    """A row is a key and a record in JSON. The leases of an endpoint have rows of their own, one for each family."""
    old = {name: database.execute(f"SELECT * FROM {name}").fetchall() for name in ("network", "endpoint", "remembered")}  # noqa: S608
    script = """
    DROP TABLE network;
    DROP TABLE endpoint;
    DROP TABLE remembered;
    CREATE TABLE network (id TEXT PRIMARY KEY, record TEXT NOT NULL) STRICT;
    CREATE TABLE endpoint (id TEXT PRIMARY KEY, record TEXT NOT NULL) STRICT;
    CREATE TABLE lease (endpoint TEXT NOT NULL, family TEXT NOT NULL, record TEXT NOT NULL,
                        PRIMARY KEY (endpoint, family)) STRICT;
    CREATE TABLE binding (network TEXT NOT NULL, key TEXT NOT NULL, record TEXT NOT NULL,
                          PRIMARY KEY (network, key)) STRICT;
    CREATE TABLE quarantine (id INTEGER PRIMARY KEY, time REAL NOT NULL, origin TEXT NOT NULL, record TEXT NOT NULL,
                             reason TEXT NOT NULL) STRICT
    """
    _run(database, script)
    for row in old["network"]:
        database.execute("INSERT INTO network VALUES (?, ?)", (row[0], _converted(_network_2, row)))
    for row in old["endpoint"]:
        database.execute("INSERT INTO endpoint VALUES (?, ?)", (row[0], _converted(_endpoint_2, row)))
        if row[3] is not None:
            database.execute("INSERT INTO lease VALUES (?, 'ipv4', ?)", (row[0], _converted(_lease_record_2, row)))
    for row in old["remembered"]:
        database.execute("INSERT INTO binding VALUES (?, ?, ?)", (*row[:2], _converted(_binding_2, row)))


def _holdings(database: sqlite3.Connection) -> None:
    """The history of addresses. Of what was before there are only events; addresses that are held now begin anew."""
    script = """
    CREATE TABLE holding (id INTEGER PRIMARY KEY, endpoint TEXT NOT NULL, network TEXT NOT NULL, container_id TEXT,
                          container TEXT, mac TEXT, family TEXT NOT NULL, address TEXT NOT NULL, server TEXT,
                          began REAL NOT NULL, ended REAL, ended_by TEXT) STRICT;
    CREATE INDEX holding_open ON holding (endpoint) WHERE ended IS NULL;
    CREATE INDEX holding_by_end ON holding (ended)
    """
    _run(database, script)


def _converted(convert: Callable[..., object], row: tuple[Any, ...]) -> str:
    """The record of a row. A row that cannot be converted becomes an array, which is no record."""
    try:
        return json.dumps(convert(*row))
    except (ValueError, KeyError, TypeError):
        return json.dumps(row)


def _network_2(network_id: str, options: str) -> object:
    return {"record": {"id": network_id, "options": json.loads(options)}}


def _endpoint_2(_id: str, phase: str, _held: int, _lease: str | None, text: str) -> object:
    old = json.loads(text)
    remembered = json.loads(old["remembered"] or "null")
    record = old | {
        # The gateway is that of the answer to Join, and no option's.
        "spec": old | _client_and_link_2(old) | {"remembered": _lease_2(remembered), "gateway": None},
        "phase": phase,
        "origin": dict(zip(("given_mac", "given_address", "key", "keep_lease"), old["origin"], strict=True)),
        "identity": old["identity"] and dict(zip(("id", "name", "hostname"), old["identity"], strict=True)),
        "routes": _routes_2(old["routes"]),
    }
    return _times_2(remembered) | {"record": record}


def _lease_record_2(_id: str, _phase: str, held: int, lease: str, text: str) -> object:
    old = json.loads(lease)
    return _times_2(old) | {"record": json.loads(text) | {"lease": _lease_2(old), "held": bool(held)}}


def _binding_2(*row: str | float | None) -> object:
    names = ("network_id", "key", "mac", "address", "bridge", "updated", "lease", "release_at")
    old = dict(zip(names, row, strict=True))
    lease = json.loads(str(old["lease"] or "null"))
    by_family = {
        "addresses": {"ipv4": old["address"]} if old["address"] else {},
        "leases": {"ipv4": _lease_2(lease)} if lease else {},
    }
    return _times_2(lease) | {"record": old | by_family | _client_and_link_2(old)}


def _client_and_link_2(old: dict[str, Any]) -> dict[str, object]:
    client_id = b64encode(bytes.fromhex("01" + old["mac"].replace(":", ""))).decode()
    client = {"client_id": client_id, "hostname": old.get("hostname")}
    return {"client_identity": client, "link": {"kind": "bridge", "parent": old["bridge"]}}


def _times_2(lease: Any) -> dict[str, object]:  # noqa: ANN401  JSON
    return {"boot": lease["boot"], "booted": lease["obtained"] - lease["boottime"]} if lease else {}


def _lease_2(old: Any) -> object:  # noqa: ANN401  JSON
    routes = {name: _routes_2(old[name]) for name in ("classless", "static")} if old else {}
    return old and old | {"obtained": old["boottime"]} | routes


def _routes_2(pairs: list[list[str | None]]) -> object:
    return [{"destination": destination, "next_hop": hop} for destination, hop in pairs]


MIGRATIONS: tuple[Callable[[sqlite3.Connection], None], ...] = (_first, _records, _holdings)
