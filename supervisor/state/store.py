"""State on disk: networks, endpoints, bindings and the history of leases, in SQLite.

The process that holds the instance lock writes it. Each change is on disk when its method returns, except one that
may come `soon`. A disk that fails costs the persistence, not the service: `problem` says what is wrong, the
state lives on in memory, and `heal` writes all of it anew. A disk that can only be read is read. A file that cannot be
read is set aside under its date, never overwritten.
"""

import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from supervisor.contract.errors import Unavailable
from supervisor.state import tables
from supervisor.state.records import Binding, EndpointRecord, Network
from supervisor.state.tables import LeaseEvent, Snapshot, Statement

PRUNE_EVERY = 1000  # events
SOON_SECONDS = 1.0

log = logging.getLogger(__name__)


class Store:
    """The database in `directory`; `snapshot` gives all state in memory when it has to be written anew.

    `call_later` calls back once, after so many seconds.
    """

    def __init__(
        self,
        directory: Path,
        snapshot: Callable[[], Snapshot],
        call_later: Callable[[float, Callable[[], None]], object],
    ) -> None:
        self.problem: str | None = None
        self.committed: Callable[[], None] = lambda: None  # called when changes have come to the disk
        self._path = directory / "state.db"
        self._snapshot = snapshot
        self._database: sqlite3.Connection | None = None
        self._known = False  # what is in the file, so that it may be replaced
        self._events = 0
        self._call_later = call_later
        self._waiting: list[Statement] = []
        self._collecting = False
        self._armed = False

    def load(self) -> Snapshot:
        """What the last instance left; empty where nothing can be read, with `problem` or a log line to say why."""
        try:
            found = tables.read(self._open())
        except (sqlite3.OperationalError, OSError) as error:  # the disk, not the file: what is there stays
            self._fail(error)
            return self._look()
        except (sqlite3.DatabaseError, ValueError, KeyError, TypeError) as error:
            self._set_aside(str(error))
            return Snapshot()
        self._known = True
        return found

    def heal(self) -> bool:
        """Tries to write everything anew after a failure; True where all is on disk."""
        if self.problem is None:
            return True
        try:
            self._close()
            if not self._known:
                self._set_aside("it could not be read at the start")
            self._open()
            self._carry_out(tables.put_all(self._snapshot()))
        except (sqlite3.OperationalError, OSError) as error:
            self._fail(error)
            return False
        except sqlite3.DatabaseError as error:  # the file, not the disk: the next try writes another one
            self._set_aside(str(error))
            return False
        log.info("state is on disk again")
        self.problem = None
        return True

    def put_network(self, network: Network) -> None:
        """Adds or replaces it."""
        self._do(tables.put_network(network))

    def drop_network(self, network_id: str) -> None:
        """With what was remembered on it."""
        self._do(*tables.drop_network(network_id))

    def put_data_root(self, path: str) -> None:
        """Where the engine keeps its containers."""
        self._do(tables.put_data_root(path))

    def put_endpoint(self, record: EndpointRecord) -> None:
        """Adds or replaces it."""
        self._do(tables.put_endpoint(record))

    def drop_endpoint(self, endpoint_id: str) -> None:
        """It has ended."""
        self._do(tables.drop_endpoint(endpoint_id))

    def put_binding(self, remembered: Binding) -> None:
        """Adds or replaces it."""
        self._do(tables.put_binding(remembered))

    def drop_binding(self, network_id: str, key: str) -> None:
        """Nothing is to be known of it any more."""
        self._do(tables.drop_binding(network_id, key))

    def add_event(self, event: LeaseEvent) -> None:
        """One line of the history; old ones go."""
        self._do(tables.add_event(event))
        self._events += 1
        if self._events % PRUNE_EVERY == 1:
            self._do(*tables.prune_events())

    def events(self, after: int | None, limit: int) -> tuple[tuple[int, LeaseEvent], ...]:
        """Events on disk with their ids, at most `limit` after the id `after`; None asks for the newest one alone.

        Raises Unavailable.
        """
        if self._database is None:
            raise Unavailable(f"the history cannot be read: {self.problem}")
        try:
            return tables.read_events(self._database, after, limit)
        except sqlite3.Error as error:
            raise Unavailable(f"the history cannot be read: {error}") from None

    def _close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None

    def _look(self) -> Snapshot:
        """What can be read where nothing can be written: a memory card that has failed still holds the state."""
        for how in ("mode=ro", "immutable=1"):  # without its log a database can be opened by the second one only
            with suppress(sqlite3.Error, ValueError, KeyError, TypeError):  # `problem` has been told already
                with closing(sqlite3.connect(f"{self._path.absolute().as_uri()}?{how}", uri=True)) as database:
                    found = tables.read(database)
                self._known = True
                return found
        return Snapshot()

    def _open(self) -> sqlite3.Connection:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        self._database = database = sqlite3.connect(self._path, isolation_level=None)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.execute("PRAGMA cache_size = -64")  # kB; of 2 MB that it would take, nothing is read again
        tables.migrate(database)
        return database

    @contextmanager
    def together(self) -> Iterator[None]:
        """What is changed within goes to the disk at its end, at once: one wait for it instead of several."""
        with self._collected():
            yield
        if not self._collecting:
            self.settle()

    @contextmanager
    def soon(self) -> Iterator[None]:
        """What is changed within goes to the disk with the next change, after SOON_SECONDS at the latest.

        For what a crash may forget, as it is learnt again, or only tells that a lease runs for longer.
        """
        with self._collected():
            yield
        if self._waiting and not self._armed:
            self._armed = True
            self._call_later(SOON_SECONDS, self._due)

    def settle(self) -> None:
        """Nothing waits any more."""
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

    def _do(self, *changes: Statement) -> None:
        if self.problem is not None:
            return  # everything is written anew once the disk takes it again
        self._waiting += changes
        if not self._collecting:
            self.settle()

    def _carry_out(self, changes: Iterable[Statement]) -> None:
        database = self._database
        if database is None:
            raise sqlite3.OperationalError("the database is not open")
        database.execute("BEGIN IMMEDIATE")
        try:
            for query, values in changes:
                database.execute(query, values)
        except BaseException:
            if database.in_transaction:  # a full disk has ended it already
                database.execute("ROLLBACK")
            raise
        database.execute("COMMIT")

    def _fail(self, error: Exception) -> None:
        text = f"state cannot be kept in {self._path}: {error}"
        if text != self.problem:
            log.error("%s; going on in memory", text)
        self.problem = text

    def _set_aside(self, reason: str) -> None:
        """The file is kept, and a new one begun. Nothing to keep is nothing to tell of."""
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
