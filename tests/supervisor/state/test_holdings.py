"""Who held which address: what is written while endpoints come and go, and what can be asked of it."""

import dataclasses
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from msgspec.structs import replace

from supervisor.contract.messages import LeaseView, ListLeases, Page
from supervisor.domain.phases import Phase
from supervisor.engine.container_files import Identity
from supervisor.state import holdings
from supervisor.state.records import EndpointRecord, LeaseRecord
from supervisor.state.store import Store
from supervisor.state.tables import Snapshot
from tests.supervisor.puppet import LEASE
from tests.supervisor.samples import never
from tests.supervisor.state.test_migrations import JOINED

MAC = "02:00:00:00:00:01"
WEB = LeaseView(
    1, "e1", "n1", None, "c" * 64, "web", MAC, "ipv4", "192.0.2.10", "192.0.2.1", begin=1000.0, end=None, ended_by=None
)
ANY = ListLeases()


@pytest.fixture(name="store")
def _store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path, Snapshot, never)
    store.load()
    yield store
    store._close()


def read(store: Store, asked: ListLeases, *networks: str) -> Page[LeaseView]:
    """A page."""
    return store.history(partial(holdings.read, asked=asked, networks=networks or None))


def all_of(store: Store, asked: ListLeases = ANY, *networks: str) -> list[LeaseView]:
    """As a reader collects them."""
    rows: list[LeaseView] = []
    complete = False
    while not complete:
        found = read(store, replace(asked, limit=2), *networks)
        rows += found.rows
        asked, complete = replace(asked, after=int(found.last)), found.complete
    return rows


def test_once(store: Store) -> None:
    """A renewal of what is held already adds nothing."""
    store.do(*holdings.begin(WEB))
    store.do(*holdings.begin(replace(WEB, begin=2000.0)))
    assert all_of(store) == [WEB]


def test_another_address(store: Store) -> None:
    """It ends the former one of the family; the other family goes on."""
    six = replace(WEB, family="ipv6", address="2001:db8::10")
    store.do(*holdings.begin(WEB))
    store.do(*holdings.begin(six))
    store.do(*holdings.begin(replace(WEB, address="192.0.2.11", begin=3000.0)))
    former, other, now = all_of(store)
    assert (former.end, former.ended_by) == (3000.0, "changed")
    assert other == replace(six, id=2)
    assert (now.address, now.begin, now.end) == ("192.0.2.11", 3000.0, None)


def test_end(store: Store) -> None:
    """The first reason stays, and a later hold is another row."""
    store.do(*holdings.begin(WEB))
    store.do(holdings.end("e1", "released"))
    store.do(holdings.end("e1", "deleted"))
    store.do(*holdings.begin(WEB))
    first, second = all_of(store)
    assert (first.ended_by, second.end) == ("released", None)


def test_name(store: Store) -> None:
    """A container that becomes known late is in the row."""
    store.do(*holdings.begin(replace(WEB, container=None, container_id=None)))
    store.do(holdings.name("e1", "d" * 64, "db"))
    (one,) = all_of(store)
    assert (one.container, one.container_id) == ("db", "d" * 64)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (ListLeases(address="192.0.2.10"), ["a", "c"]),
        (ListLeases(address="192.0.2.10", since=1500.0, until=1500.0), ["a"]),
        (ListLeases(address="192.0.2.10", since=2500.0, until=2500.0), []),
        (ListLeases(address="192.0.2.10", since=9000.0, until=9000.0), ["c"]),
        (ListLeases(since=1500.0), ["a", "b", "c"]),
        (ListLeases(since=2000.0, until=2999.0), ["b"]),
        (ListLeases(mac="02:00:00:00:00:0b"), ["b"]),
        (ListLeases(container="b"), ["b"]),
        (ListLeases(container="B" * 12), ["b"]),
        (ListLeases(container="B" * 11), []),
        (("n1", "n9"), ["a", "b", "c"]),
        (("n9",), []),
        (ListLeases(container="' OR 1=1 --"), []),
    ],
)
def test_questions(store: Store, asked: ListLeases | tuple[str, ...], expected: list[str]) -> None:
    """Each part narrows the answer; a time finds what was held then, and its end does not count any more."""
    store.do(*holdings.begin(replace(WEB, endpoint_id="a", container="a", container_id="A" * 64, begin=1000.0)))
    store.do(("UPDATE holding SET ended = 2000.0, ended_by = 'released'", ()))
    other = replace(WEB, endpoint_id="b", container="b", container_id="B" * 64, mac="02:00:00:00:00:0b")
    store.do(*holdings.begin(replace(other, address="192.0.2.11", begin=1000.0)))
    store.do(*holdings.begin(replace(WEB, endpoint_id="c", container="c", container_id="C" * 64, begin=3000.0)))
    found = all_of(store, ANY, *asked) if isinstance(asked, tuple) else all_of(store, asked)
    assert [one.container for one in found] == expected


def test_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """One call reads so many rows and no more, and says where the next one goes on."""
    monkeypatch.setattr(holdings, "STEP_ROWS", 3)
    with store.together():
        for number in range(7):
            store.do(*holdings.begin(replace(WEB, endpoint_id=f"e{number}", address=f"192.0.2.{number}")))
    last = ListLeases(address="192.0.2.6")
    assert read(store, last) == Page((), 3, complete=False)
    assert read(store, replace(last, after=3)) == Page((), 6, complete=False)
    found = read(store, replace(last, after=6))
    assert ([one.id for one in found.rows], found.complete) == ([7], True)
    assert len(all_of(store)) == 7


def test_start(tmp_path: Path) -> None:
    """A new instance goes on with what is held, begins what no row says, and ends what was lost."""
    lease = LeaseRecord(dataclasses.replace(LEASE, duration=None), obtained=1000.0, renewed=1000.0)
    web = dataclasses.replace(JOINED, leases=(lease,), identity=Identity("c" * 64, "web", "web"))
    left = EndpointRecord(dataclasses.replace(web.spec, endpoint_id="e2"), Phase.LEFT, leases=(lease,))
    store = Store(tmp_path, Snapshot, never)
    store.load()
    store.put(web)
    store.put(left)
    store.do(*holdings.begin(replace(WEB, endpoint_id="lost")))
    store._close()
    store = Store(tmp_path, Snapshot, never)
    store.load()
    assert [(one.endpoint_id, one.begin, one.ended_by) for one in all_of(store)] == [
        ("lost", 1000.0, "lost"),
        ("e1", 1000.0, None),
    ]
    store._close()


def test_old_rows_go(store: Store) -> None:
    """What ended too long ago is dropped with the other history; what is held stays, however old."""
    store.do(*holdings.begin(WEB))
    store.do(*holdings.begin(replace(WEB, endpoint_id="e2", begin=1.0)))
    store.do(("UPDATE holding SET ended = 2000.0 WHERE endpoint = 'e2'", ()))
    store.do(*holdings.prune())
    assert [one.endpoint_id for one in all_of(store)] == ["e1"]
