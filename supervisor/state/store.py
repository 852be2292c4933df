"""State on disk: networks, endpoints, bindings and the history of leases, in SQLite.

Only the process that holds the instance lock writes it. A change is on disk when its method returns, unless it is made
within `soon`. A disk that fails costs the persistence, not the service: the state lives on in memory, `problems` says
so, and `heal` writes all of it anew. A read-only disk is read. A row that cannot be read goes into quarantine; a file
that cannot be read is set aside under its date. A file that a newer version of the plugin wrote stays as it is.
"""

import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

from supervisor.contract.errors import Unavailable
from supervisor.contract.messages import EventView
from supervisor.state import migrations, tables
from supervisor.state.holdings import Statement
from supervisor.state.migrations import NewerVersion
from supervisor.state.tables import Record, Snapshot, Unreadable

PRUNE_EVERY = 1000  # events
SOON_SECONDS = 5.0

T = TypeVar("T")

log = logging.getLogger(__name__)


class Store:
    """The database in `directory`. `snapshot` returns all state in memory, to write it anew.

    `call_later` calls back once, after a number of seconds. `problem` says why the store cannot write.
    """

    def __init__(
        self,
        directory: Path,
        snapshot: Callable[[], Snapshot],
        call_later: Callable[[float, Callable[[], None]], object],
    ) -> None:
        self.problem: str | None = None
        self.is_new = False  # there was no state
        self.committed: Callable[[], None] = lambda: None  # called when changes have come to the disk
        self._path = directory / "state.db"
        self._snapshot = snapshot
        self._database: sqlite3.Connection | None = None
        self._known = False  # the content of the file, so that it may be replaced
        self._unreadable: list[Unreadable] = []  # rows that are not in quarantine yet
        self._lost: tuple[str, ...] = ()
        self._events = 0
        self._call_later = call_later
        self._waiting: list[Statement] = []
        self._collecting = False
        self._armed = False

    @property
    def problems(self) -> tuple[str, ...]:
        """The problems of the state, for operators. A lost row is among them until the next start."""
        return self._lost if self.problem is None else (self.problem, *self._lost)

    def load(self) -> Snapshot:
        """The state of the last instance; empty if it cannot be read. `problems` or the log then says why."""
        try:
            found = self._read(self._open())
        except NewerVersion as error:
            self._fail(error)
            return Snapshot()
        except (sqlite3.OperationalError, OSError) as error:  # the disk has failed, not the file, which stays
            self._fail(error)
            return self._look()
        except sqlite3.DatabaseError as error:
            self._set_aside(str(error))
            return Snapshot()
        self.do(*self._quarantine(), *tables.hold_all(found))
        if self.problem is None:
            self._unreadable = []
        return found

    def heal(self) -> bool:
        """Tries to write everything anew after a failure; True if all is on disk."""
        if self.problem is None:
            return True
        try:
            self._close()
            if not self._known:
                migrations.refuse_newer(self._path)
                self._set_aside("it could not be read at the start")
            self._open()
            self._carry_out((*self._quarantine(), *tables.put_all(self._snapshot())))
        except (sqlite3.OperationalError, OSError, NewerVersion) as error:
            self._fail(error)
            return False
        except sqlite3.DatabaseError as error:  # the file is damaged, not the disk: the next try writes another one
            self._set_aside(str(error))
            return False
        log.info("state is on disk again")
        self.problem = None
        self._unreadable = []
        return True

    def do(self, *changes: Statement) -> None:
        """Carries the changes out: at once, or with the others of the block that this is in."""
        if self.problem is not None:
            return  # everything is written anew once the disk takes it again
        self._waiting += changes
        if not self._collecting:
            self.settle()

    def put(self, record: Record) -> None:
        """Adds or replaces it."""
        self.do(*tables.put(record))

    def drop(self, table: str, *key: str) -> None:
        """Removes the record with this key, and nothing that belongs to it."""
        self.do(tables.drop(table, *key))

    def add_event(self, event: EventView) -> None:
        """Adds a line to the history, and drops old ones from time to time."""
        self.do(tables.add_event(event))
        self._events += 1
        if self._events % PRUNE_EVERY == 1:
            self.do(*tables.prune_history())

    def history(self, read: Callable[[sqlite3.Connection], T]) -> T:
        """What `read` finds on disk. Raises Unavailable."""
        if self._database is None:
            raise Unavailable(f"the history cannot be read: {self.problem}")
        try:
            return read(self._database)
        except sqlite3.Error as error:
            raise Unavailable(f"the history cannot be read: {error}") from None

    def _close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None

    def _look(self) -> Snapshot:
        """Reads a file that cannot be written: a memory card that has failed still holds the state."""
        with (
            suppress(sqlite3.Error, OSError),  # `problem` is known already
            closing(self._read_only()) as database,
            closing(_connect(":memory:")) as copy,
        ):
            database.backup(copy)
            migrations.migrate(copy)
            return self._read(copy)
        return Snapshot()

    def _read_only(self) -> sqlite3.Connection:
        """The database and its log, opened without writing anything.

        SQLite reads a log by an index in a file that it would have to make beside it, unless it has the database for
        itself: then the index is in memory. "immutable" would leave the log out, but it is the only way if there is
        none, because SQLite would make an empty one.
        """
        written = self._path.with_name(f"{self._path.name}-wal")
        has_log = written.exists() and written.stat().st_size > 0
        database = _connect(f"{self._path.absolute().as_uri()}?{'mode=ro&vfs=unix-none' if has_log else 'immutable=1'}")
        database.execute("PRAGMA locking_mode = EXCLUSIVE")
        return database

    def _read(self, database: sqlite3.Connection) -> Snapshot:
        """Reads all rows, and notes those that cannot be read."""
        found, self._unreadable = tables.read(database)
        self._known = True
        for row in self._unreadable:
            log.error("%s in %s is quarantined: %s", row, self._path, row.reason)
        self._lost = tuple(f"{row} in {self._path} could not be read and is quarantined" for row in self._unreadable)
        return found

    def _quarantine(self) -> Iterator[Statement]:
        for row in self._unreadable:
            yield from tables.quarantine(row)

    def _open(self) -> sqlite3.Connection:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        self.is_new = self._path.stat().st_size == 0
        migrations.refuse_newer(self._path)
        self._database = database = _connect(self._path.absolute().as_uri())
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.execute("PRAGMA cache_size = -64")  # kB; SQLite would take 2 MB, and nothing is read again
        migrations.migrate(database)
        return database

    @contextmanager
    def together(self) -> Iterator[None]:
        """The changes within the block go to the disk together, at its end: one wait instead of several.

        So do those that were made before an exception, as they hold in memory.
        """
        try:
            with self._collected():
                yield
        finally:
            if not self._collecting:
                self.settle()

    @contextmanager
    def soon(self) -> Iterator[None]:
        """The changes within the block go to the disk with the next change, after SOON_SECONDS at the latest.

        A crash may lose them: the next instance learns them again, or only misses that a lease runs longer.
        """
        with self._collected():
            yield
        if self._waiting and not self._armed:
            self._armed = True
            self._call_later(SOON_SECONDS, self._due)

    def settle(self) -> None:
        """Writes the changes that wait."""
        changes, self._waiting = self._waiting, []
        if not changes:
            return
        try:
            self._carry_out(changes)
        except sqlite3.Error as error:
            self._fail(error)
            return
        self.committed()

    def _due(self) -> None:
        self._armed = False
        self.settle()

    @contextmanager
    def _collected(self) -> Iterator[None]:
        outer, self._collecting = self._collecting, True
        try:
            yield
        finally:
            self._collecting = outer

    def _carry_out(self, changes: Iterable[Statement]) -> None:
        if self._database is None:
            raise sqlite3.OperationalError("the database is not open")
        with self._database as database:
            database.execute("BEGIN IMMEDIATE")
            for query, values in changes:
                database.execute(query, values)

    def _fail(self, error: Exception) -> None:
        text = f"state cannot be kept in {self._path}: {error}"
        if text != self.problem:
            log.error("%s; going on in memory", text)
        self.problem = text

    def _set_aside(self, reason: str) -> None:
        """Renames the file and begins a new one. An empty file is not worth keeping."""
        self._close()
        try:
            if self._path.exists() and self._path.stat().st_size > 0:
                stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
                aside = self._path.with_name(f"{self._path.name}.unreadable-{stamp}")
                for suffix in ("", "-wal", "-shm"):
                    source = self._path.with_name(self._path.name + suffix)
                    if source.exists():
                        source.rename(aside.with_name(aside.name + suffix))
                log.error("%s cannot be read (%s); it is kept as %s", self._path, reason, aside.name)
            self._open()
            self._known = True
        except (sqlite3.Error, OSError) as failure:
            self._fail(failure)


def _connect(uri: str) -> sqlite3.Connection:
    """A connection that waits for nobody's lock: a file that somebody has locked counts as a disk that fails.

    Bytes that are not UTF-8 become text that is not JSON, so they cost only their row.
    """
    database = sqlite3.connect(uri, timeout=0, uri=True, isolation_level=None)
    database.text_factory = partial(str, encoding="utf-8", errors="backslashreplace")
    return database
