"""State on disk, by real files on real file systems: what is kept, and what a disk that fails may cost."""

import fcntl
import os
import signal
import sqlite3
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from supervisor.contract.messages import EventView
from supervisor.engine.facts import Program
from supervisor.engine.reconnection import Reconnection
from supervisor.state import migrations, tables
from supervisor.state import store as storing
from supervisor.state.instance_lock import StateInUse, lock_state
from supervisor.state.migrations import MIGRATIONS
from supervisor.state.store import SOON_SECONDS, Store
from supervisor.state.tables import KEYS, Snapshot
from tests.lab.command import run
from tests.supervisor.children import Home
from tests.supervisor.puppet import LEASE, PlayedLoop
from tests.supervisor.samples import Samples, assert_same, never

SEEDS = range(20)
NEWER = len(MIGRATIONS) + 1
DISK_BYTES = 512 << 10
DAY = 86400.0
SQLITE_WAITS_SECONDS = 5.0  # for a lock, by Python's default


def kept_in(directory: Path) -> Store:
    """The state there as a new instance finds it, opened."""
    return Store(directory, Snapshot, never)


def filled(directory: Path, snapshot: Snapshot) -> Store:
    """A store into which all of this was put piece by piece, as the supervisor does it."""
    store = Store(directory, lambda: snapshot, never)
    store.load()
    for network in snapshot.networks:
        store.put(network)
    for endpoint in snapshot.endpoints:
        store.put(endpoint)
    for binding in snapshot.bindings:
        store.put(binding)
    if snapshot.data_root is not None:
        store.do(tables.put_data_root(snapshot.data_root))
    store.do(tables.put_reconnection(snapshot.reconnection))
    if snapshot.program is not None:
        store.do(*tables.put_program(snapshot.program))
    return store


def killed_after_filling(directory: Path, snapshot: Snapshot, version: int = len(MIGRATIONS)) -> None:
    """Plays an instance of this version that put it there and was killed at once."""
    pid = os.fork()
    if pid == 0:
        store = filled(directory, snapshot)
        store._carry_out([(f"PRAGMA user_version = {version}", ())])
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)


def locked(directory: Path) -> int:
    """The descriptor of the lock on this state."""
    descriptor = lock_state(directory)
    assert descriptor is not None
    return descriptor


def event(at: float, kind: str = "renewed") -> EventView:
    """One line of a history."""
    return EventView(0, at, "e" * 64, "n" * 64, None, None, kind, "192.0.2.10/24", "text")


def query(directory: Path, statement: str) -> list[tuple[object, ...]]:
    """What another program sees in the database, or does to it."""
    with sqlite3.connect(directory / "state.db", isolation_level=None) as database:
        rows = database.execute(statement).fetchall()
    database.close()
    return rows


@pytest.fixture(name="disk")
def _disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of a few blocks."""
    disk = tmp_path / "disk"
    disk.mkdir()
    run("mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "none", disk)
    yield disk
    run("umount", "--lazy", disk)


def test_new(tmp_path: Path) -> None:
    """It is told whether there was any state: not in an empty file, nor in one that cannot be read."""
    seen = []
    for content in (None, b"", None, b"nothing that could be read" * 500, None):
        if content is not None:
            for path in tmp_path.glob("state.db*"):
                path.unlink()
            (tmp_path / "state.db").write_bytes(content)
        store = kept_in(tmp_path)
        store.load()
        seen.append(store.is_new)
    assert seen == [True, True, False, True, False]


@pytest.mark.parametrize("seed", SEEDS)
def test_everything_is_found_again(tmp_path: Path, seed: int) -> None:
    """Whatever was put there, the next instance finds, and nothing else."""
    snapshot = Samples(seed).snapshot()
    filled(tmp_path, snapshot)
    assert_same(kept_in(tmp_path).load(), snapshot)


def test_what_was_dropped_is_gone(tmp_path: Path) -> None:
    """Nothing else goes with it, except an endpoint's lease."""
    samples = Samples(1)
    network, endpoint, binding = samples.network(), samples.endpoint(), samples.binding()
    endpoint = replace(endpoint, leases=(samples.lease_record(),))
    other = Samples(2).snapshot()
    store = filled(
        tmp_path,
        replace(
            other,
            networks=(*other.networks, network),
            endpoints=(*other.endpoints, endpoint),
            bindings=(*other.bindings, binding),
        ),
    )
    store.drop("network", network.id)
    store.do(*tables.drop_endpoint(endpoint.spec.endpoint_id))
    store.drop("binding", binding.network_id, binding.key)
    assert_same(kept_in(tmp_path).load(), other)
    leases = sum(len(record.leases) for record in other.endpoints)
    assert query(tmp_path, "SELECT count(*) FROM lease") == [(leases,)]


def test_replaced(tmp_path: Path) -> None:
    """The same thing put twice is there once, as it was last; so is a lease that was put by itself."""
    samples = Samples(2)
    record = replace(samples.endpoint(), leases=(samples.lease_record(LEASE),))
    store = filled(tmp_path, Snapshot(endpoints=(record,)))
    store.put(replace(record, sandbox_key="/elsewhere"))
    renewed = replace(record.leases[0], renewed=1234.5)
    store.do(tables.put_lease(record.spec.endpoint_id, renewed))
    assert_same(
        kept_in(tmp_path).load(), Snapshot(endpoints=(replace(record, sandbox_key="/elsewhere", leases=(renewed,)),))
    )


def test_written_when_it_returns(tmp_path: Path) -> None:
    """What a process has put there is on disk when it is killed right afterwards."""
    network = Samples(3).network()
    killed_after_filling(tmp_path, Snapshot((network,)))
    assert kept_in(tmp_path).load().networks == (network,)


def test_together(tmp_path: Path) -> None:
    """Changes that belong together are seen by others all at once, at their end."""
    samples = Samples(4)
    store = filled(tmp_path, Snapshot())
    with store.together():
        store.put(samples.network())
        store.put(samples.endpoint())
        assert query(tmp_path, "SELECT * FROM network") == []
    kept = kept_in(tmp_path).load()
    assert (len(kept.networks), len(kept.endpoints)) == (1, 1)
    store.put(samples.network())
    assert len(kept_in(tmp_path).load().networks) == 2


def test_together_until_it_fails(tmp_path: Path) -> None:
    """What was changed before an exception is on disk, as it is in memory."""
    store = filled(tmp_path, Snapshot())
    with pytest.raises(KeyError), store.together():  # noqa: PT012  what comes before it
        store.put(Samples(4).network())
        raise KeyError
    assert len(kept_in(tmp_path).load().networks) == 1


def test_together_on_a_full_disk(disk: Path) -> None:
    """Nothing is raised in the middle: what is to be done in memory is done, and written anew later."""
    snapshot = Samples(10).snapshot()
    store = filled(disk, snapshot)
    with pytest.raises(OSError, match="No space left"):
        (disk / "ballast").write_bytes(bytes(2 * DISK_BYTES))
    done = 0
    with store.together():
        for _ in range(1000):
            store.add_event(event(time.time()))
            done += 1
    assert (done, store.problem is None) == (1000, False)
    (disk / "ballast").unlink()
    assert store.heal()
    assert_same(kept_in(disk).load(), snapshot)


def test_soon(tmp_path: Path) -> None:
    """What may come soon is there after a moment, for which the clock is set once; the next change takes it along."""
    loop, samples = PlayedLoop(), Samples(4)
    store = Store(tmp_path, Snapshot, loop.call_later)
    store.load()
    ways: tuple[Callable[[], None], ...] = (
        lambda: loop.pass_time(SOON_SECONDS),
        lambda: store.put(samples.network()),
        store.settle,
    )
    for wait in ways:
        before = len(kept_in(tmp_path).load().endpoints)
        for _ in range(2):
            with store.soon():
                store.put(samples.endpoint())
        assert len(loop.set) == 1
        assert len(kept_in(tmp_path).load().endpoints) == before
        wait()
        assert len(kept_in(tmp_path).load().endpoints) == before + 2


def test_soon_within_what_comes_together(tmp_path: Path) -> None:
    """It comes at once, too."""
    samples = Samples(4)
    store = filled(tmp_path, Snapshot())
    with store.together():
        store.put(samples.network())
        with store.soon():
            store.put(samples.endpoint())
        store.put(samples.network())
    kept = kept_in(tmp_path).load()
    assert (len(kept.networks), len(kept.endpoints)) == (2, 1)


def test_soon_on_a_full_disk(disk: Path) -> None:
    """What waited comes with all else, once there is space."""
    snapshot = Samples(10).snapshot()
    store = filled(disk, snapshot)
    with pytest.raises(OSError, match="No space left"):
        (disk / "ballast").write_bytes(bytes(2 * DISK_BYTES))
    with store.soon():
        for _ in range(1000):
            store.add_event(event(time.time()))
    problems = [store.problem]
    store.settle()
    problems.append(store.problem)
    assert [problem is None for problem in problems] == [True, False]
    (disk / "ballast").unlink()
    assert store.heal()
    assert_same(kept_in(disk).load(), snapshot)


def test_written_through(tmp_path: Path) -> None:
    """Each change is synchronous and in a write-ahead log: it survives a power cut, a reader never waits."""
    store = kept_in(tmp_path)
    store.load()
    database = store._database
    assert database is not None
    assert database.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
    assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_for_our_eyes_only(tmp_path: Path) -> None:
    """Directory and files are the owner's alone, whatever the umask is."""
    mask = os.umask(0)
    try:
        directory = tmp_path / "state"
        filled(directory, Samples(4).snapshot())
        lock = locked(directory)
    finally:
        os.umask(mask)
    os.close(lock)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}
    assert set(modes) == {"state.db", "state.db-wal", "state.db-shm", "lock"}
    assert set(modes.values()) == {0o600}


def test_migrations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database of an older version is brought to this one by what came in between, once, and keeps its content."""
    network = Samples(5).network()
    filled(tmp_path, Snapshot((network,)))
    step = lambda database: database.execute("CREATE TABLE extra (x) ")  # noqa: E731
    monkeypatch.setattr(migrations, "MIGRATIONS", (*MIGRATIONS, step))
    for _ in range(2):  # a second time the table would be there already
        assert kept_in(tmp_path).load().networks == (network,)
    assert query(tmp_path, "SELECT * FROM extra") == []
    assert query(tmp_path, "PRAGMA user_version") == [(NEWER,)]


def test_migration_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that cannot be taken is told, and leaves the database in the version and with the content that it had."""
    network = Samples(5).network()
    filled(tmp_path, Snapshot((network,)))

    def step(database: sqlite3.Connection) -> None:
        database.execute("CREATE TABLE half (x)")
        database.execute("CREATE TABLE network (x)")

    monkeypatch.setattr(migrations, "MIGRATIONS", (*MIGRATIONS, step))
    store = kept_in(tmp_path)
    assert store.load() == Snapshot()
    assert store.problem is not None
    assert query(tmp_path, "PRAGMA user_version") == [(len(MIGRATIONS),)]
    assert query(tmp_path, "SELECT name FROM sqlite_master WHERE name = 'half'") == []


def corrupt(path: Path) -> None:
    path.write_bytes(b"no database at all" * 1000)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


@pytest.mark.parametrize("damage", [corrupt, cut])
def test_unreadable_file(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    """A file that cannot be read is kept as it is, under its date; the service goes on with a new one."""
    filled(tmp_path, Samples(6).snapshot())
    query(tmp_path, "PRAGMA wal_checkpoint(TRUNCATE)")
    damage(tmp_path / "state.db")
    content = (tmp_path / "state.db").read_bytes()
    store = kept_in(tmp_path)

    assert store.load() == Snapshot()

    assert store.problem is None
    (aside,) = [p for p in tmp_path.glob("state.db.unreadable-*") if not p.name.endswith(("-wal", "-shm"))]
    assert aside.read_bytes() == content
    assert time.strftime("%Y%m%dT%H") in aside.name or time.strftime("%Y%m%dT%H", time.gmtime()) in aside.name
    network = Samples(7).network()
    store.put(network)
    assert kept_in(tmp_path).load().networks == (network,)


def contents(directory: Path) -> dict[str, bytes]:
    """What the database and its log hold."""
    return {name: path.read_bytes() for name in ("state.db", "state.db-wal") if (path := directory / name).exists()}


@pytest.mark.parametrize("orderly", [False, True], ids=["killed", "closed"])
def test_newer_version(tmp_path: Path, orderly: bool) -> None:
    """A file that a newer version wrote stays as it is, whatever comes; `problem` says so, until it is moved away."""
    killed_after_filling(tmp_path, Samples(6).snapshot(), NEWER)
    if orderly:
        query(tmp_path, "PRAGMA wal_checkpoint(TRUNCATE)")
    before = {"state.db-wal": b""} | contents(tmp_path)
    now = Samples(7).snapshot()
    store = Store(tmp_path, lambda: now, never)

    assert store.load() == Snapshot()
    store.put(Samples(8).network())
    assert [store.heal(), store.heal()] == [False, False]

    assert {"state.db-wal": b""} | contents(tmp_path) == before
    assert [f"schema {NEWER}" in text for text in store.problems] == [True]
    for path in tmp_path.iterdir():
        path.rename(path.with_name(f"moved-{path.name}"))
    assert store.heal()
    assert_same(kept_in(tmp_path).load(), now)


@pytest.mark.parametrize("table", KEYS)
@pytest.mark.parametrize("spoil", ["'{}'", "substr(record, 2)", "replace(record, ':\"', CAST(x'3a22ff' AS TEXT))"])
def test_row_that_cannot_be_read(tmp_path: Path, caplog: pytest.LogCaptureFixture, table: str, spoil: str) -> None:
    """It is moved into quarantine as it is, with a line in the log and a problem; all others are found."""
    samples = Samples(8)
    endpoints = [replace(samples.endpoint(), leases=(samples.lease_record(),)) for _ in range(3)]
    snapshot = Snapshot(
        tuple(samples.network() for _ in range(3)), tuple(endpoints), tuple(samples.binding() for _ in range(3))
    )
    filled(tmp_path, snapshot)
    (record,) = query(tmp_path, f"SELECT CAST({spoil} AS BLOB) FROM {table} WHERE rowid = 2")  # noqa: S608
    query(tmp_path, f"UPDATE {table} SET record = {spoil} WHERE rowid = 2")  # noqa: S608
    store = kept_in(tmp_path)

    seen = store.load()

    assert store.problem is None
    lost = {"endpoints" if table == "lease" else f"{table}s"}
    for name in ("networks", "endpoints", "bindings"):
        first, second, third = getattr(snapshot, name)
        assert getattr(seen, name) == ((first, third) if name in lost else (first, second, third))
    quarantined = query(tmp_path, "SELECT CAST(record AS BLOB) FROM quarantine")
    assert record in quarantined
    assert len(quarantined) == (2 if "endpoints" in lost else 1)  # an endpoint goes with its lease
    assert len(store.problems) == len(quarantined) == len(caplog.messages)
    again = kept_in(tmp_path)
    assert_same(again.load(), seen)
    assert again.problems == ()


def test_row_that_cannot_be_read_on_a_disk_that_cannot_be_written(disk: Path) -> None:
    """It is told of at once, and is in quarantine once the disk can be written."""
    filled(disk, Snapshot((Samples(8).network(), Samples(9).network())))._close()
    query(disk, "UPDATE network SET record = '{' WHERE rowid = 1")
    run("mount", "-o", "remount,ro", disk)
    store = kept_in(disk)
    assert len(store.load().networks) == 1
    assert [str(disk) in text for text in store.problems] == [True, True]
    run("mount", "-o", "remount,rw", disk)
    assert store.heal()
    assert query(disk, "SELECT record FROM quarantine") == [("{",)]
    assert len(store.problems) == 1


def test_file_that_becomes_unreadable(tmp_path: Path) -> None:
    """Damage under a running service is said, set aside, and all that is in memory is written anew."""
    snapshot = Samples(8).snapshot()
    store = filled(tmp_path, snapshot)
    for suffix in ("", "-wal", "-shm"):
        corrupt(tmp_path / f"state.db{suffix}")

    store.put(Samples(9).network())
    assert store.problem is not None
    tries = [store.heal() for _ in range(2)]  # the first one finds out, the second one writes
    assert tries == [False, True]

    assert list(tmp_path.glob("state.db.unreadable-*"))
    assert_same(kept_in(tmp_path).load(), snapshot)


def test_full_disk(disk: Path) -> None:
    """It is said which disk is full; the service goes on, and once there is space, all of it is written anew."""
    snapshot = Samples(10).snapshot()
    store = filled(disk, snapshot)
    ballast = disk / "ballast"
    with pytest.raises(OSError, match="No space left"):
        ballast.write_bytes(bytes(2 * DISK_BYTES))
    for _ in range(1000):
        store.add_event(event(time.time()))
    assert store.problem is not None
    assert "full" in store.problem
    assert str(disk) in store.problem
    assert not store.heal()

    ballast.unlink()

    assert store.heal()
    assert_same(kept_in(disk).load(), snapshot)
    store.put(Samples(14).network())
    assert len(kept_in(disk).load().networks) == len(snapshot.networks) + 1


def test_locked_by_somebody_else(tmp_path: Path) -> None:
    """An operator who forgets an open transaction in it stops nothing: what changes is kept in memory meanwhile, a new
    instance reads what is there, and all is on disk as soon as the file is free."""
    seen = Samples(1).snapshot()
    store = filled(tmp_path, seen)
    with closing(sqlite3.connect(tmp_path / "state.db", isolation_level=None)) as forgotten:
        forgotten.execute("BEGIN IMMEDIATE")
        begun = time.monotonic()
        store.put(seen.networks[0])
        assert not store.heal()
        successor = kept_in(tmp_path)
        assert_same(successor.load(), seen)
        assert time.monotonic() - begun < SQLITE_WAITS_SECONDS
        for one in (store, successor):
            assert one.problem is not None
            assert "database is locked" in one.problem
    assert store.heal()
    assert_same(kept_in(tmp_path).load(), seen)


def test_full_disk_at_the_start(disk: Path) -> None:
    """A disk without space even for an empty database keeps nobody from starting."""
    with pytest.raises(OSError, match="No space left"):
        (disk / "ballast").write_bytes(bytes(2 * DISK_BYTES))
    snapshot = Samples(11).snapshot()
    store = Store(disk, lambda: snapshot, never)
    assert store.load() == Snapshot()
    assert store.problem is not None
    (disk / "ballast").unlink()
    assert store.heal()
    assert_same(kept_in(disk).load(), snapshot)


def test_log_on_a_full_disk(disk: Path) -> None:
    """What only the log holds is found although its index cannot be made, and is still there once there is space."""
    filled(disk, Snapshot())._close()
    before = Samples(21).snapshot()
    killed_after_filling(disk, before)
    (disk / "state.db-shm").unlink()
    with pytest.raises(OSError, match="No space left"):
        (disk / "ballast").write_bytes(bytes(2 * DISK_BYTES))
    store = Store(disk, lambda: before, never)

    found = store.load()
    assert store.problem is not None
    assert not store.heal()
    (disk / "ballast").unlink()

    assert_same(found, before)
    assert store.heal()
    assert_same(kept_in(disk).load(), before)
    assert not list(disk.glob("state.db.unreadable-*"))


@pytest.mark.parametrize("orderly", [False, True], ids=["killed", "closed"])
def test_read_only_disk(disk: Path, orderly: bool) -> None:
    """What is there is found, new things are served from memory with the reason told; writable again, all is kept."""
    program = Program("7 8", "29.7.1")
    begun = Reconnection("c" * 64, "web", "1" * 64, "lan", "e" * 64, "02:00:00:00:00:01", {"DriverOpts": {"id": "c"}})
    before = Samples(13).snapshot()
    now = replace(Samples(12).snapshot(), data_root="/srv", program=program, reconnection=begun)
    if orderly:
        filled(disk, before)._close()
    else:
        killed_after_filling(disk, before)
    run("mount", "-o", "remount,ro", disk)
    lock = lock_state(disk)
    store = Store(disk, lambda: now, never)

    assert_same(store.load(), before)
    store.put(Samples(14).network())
    assert store.problem is not None
    assert str(disk) in store.problem
    assert not store.heal()
    run("mount", "-o", "remount,rw", disk)

    assert lock is None
    assert store.heal()
    assert_same(kept_in(disk).load(), now)
    assert not list(disk.glob("state.db.unreadable-*"))


def test_state_that_could_not_be_read_at_the_start(tmp_path: Path) -> None:
    """A database that was out of reach at the start is not replaced by the nothing that was read of it."""
    kept, now = Samples(18).snapshot(), Samples(19).snapshot()
    filled(tmp_path, kept)._close()
    query(tmp_path, "PRAGMA journal_mode = DELETE")
    database = tmp_path / "state.db"
    content = database.read_bytes()
    database.rename(tmp_path / "away")
    database.symlink_to(tmp_path / "missing" / "away")  # as on a disk that is mounted late
    store = Store(tmp_path, lambda: now, never)
    assert store.load() == Snapshot()
    assert store.problem is not None
    database.unlink()
    (tmp_path / "away").rename(database)

    assert store.heal()

    (aside,) = tmp_path.glob("state.db.unreadable-*")
    assert aside.read_bytes() == content
    assert_same(kept_in(tmp_path).load(), now)


def test_only_one_line(disk: Path, caplog: pytest.LogCaptureFixture) -> None:
    """However often it is tried, a disk that fails costs one line in the log, and its return another."""
    store = Store(disk, Snapshot, never)
    run("mount", "-o", "remount,ro", disk)
    with caplog.at_level("INFO", logger=storing.log.name):
        store.load()
        for _ in range(3):
            store.put(Samples(15).network())
            store.heal()
        run("mount", "-o", "remount,rw", disk)
        assert store.heal()
        assert store.heal()
    assert len(caplog.messages) == 2


def test_second_instance(tmp_path: Path) -> None:
    """It is told which directory is in use, and gets it once the first one has ended."""
    first = locked(tmp_path)
    with pytest.raises(StateInUse, match=str(tmp_path)):
        lock_state(tmp_path)
    os.close(first)
    os.close(locked(tmp_path))


def test_lock_of_one_that_was_killed(tmp_path: Path) -> None:
    """Nothing of a `kill -9` keeps the next instance from starting."""
    ready, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        lock_state(tmp_path)
        os.write(told, b"1")
        signal.pause()
    assert os.read(ready, 1)
    with pytest.raises(StateInUse):
        lock_state(tmp_path)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(locked(tmp_path))
    os.close(ready)
    os.close(told)


def stay(channel: Connection) -> None:
    """Says that it is there, and waits for its end."""
    channel.send("there")
    signal.pause()


def test_children_hold_nothing(tmp_path: Path) -> None:
    """A child has neither the database nor the lock, while the parent goes on writing and stays the only owner."""
    lock = locked(tmp_path)
    network = Samples(16).network()
    store = filled(tmp_path, Samples(17).snapshot())
    home = Home()
    child, diary = home.child()
    home.spawn(child, stay)
    home.wait_for(lambda: diary.entries)
    assert diary.entries == ["there"]

    files = [str(link.readlink()) for link in Path(f"/proc/{child.pid}/fd").iterdir()]
    assert files
    assert not [path for path in files if path.startswith(str(tmp_path))]
    store.put(network)
    assert store.problem is None
    assert network in kept_in(tmp_path).load().networks
    with (tmp_path / "lock").open() as again, pytest.raises(BlockingIOError):
        fcntl.flock(again, fcntl.LOCK_EX | fcntl.LOCK_NB)
    home.close()
    os.close(lock)


def test_history_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Old lines go by their age and by their number, and the latest ones stay."""
    monkeypatch.setattr(storing, "PRUNE_EVERY", 2)
    monkeypatch.setattr(tables, "EVENT_ROWS", 10)
    store = kept_in(tmp_path)
    store.load()
    store.add_event(event(time.time() - tables.EVENT_DAYS * DAY - 1, "old"))
    store.add_event(event(time.time(), "young"))
    store.add_event(event(time.time(), "young"))
    assert query(tmp_path, "SELECT kind FROM event") == [("young",), ("young",)]
    for number in range(30):
        store.add_event(event(time.time(), str(number)))
    kinds = [row[0] for row in query(tmp_path, "SELECT kind FROM event ORDER BY id")]
    assert 10 <= len(kinds) <= 12
    assert kinds[-1] == "29"
