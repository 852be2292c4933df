"""Who held which address: what is written while endpoints come and go, and what can be asked of it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from supervisor.domain.phases import Phase
from supervisor.engine.container_files import Identity
from supervisor.state import holdings
from supervisor.state.holdings import Found, Holding, Wanted
from supervisor.state.records import EndpointRecord, LeaseRecord
from supervisor.state.store import Store
from supervisor.state.tables import Snapshot
from tests.supervisor.puppet import LEASE
from tests.supervisor.samples import never
from tests.supervisor.state.test_migrations import JOINED

WEB = Holding("e1", "n1", "c" * 64, "web", "02:00:00:00:00:01", "ipv4", "192.0.2.10", "192.0.2.1", 1000.0)
ANY = Wanted()


@pytest.fixture(name="store")
def _store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path, Snapshot, never)
    store.load()
    yield store
    store._close()


def all_of(store: Store, wanted: Wanted = ANY) -> list[Holding]:
    """As a reader collects them."""
    rows, after, complete = [], 0, False
    while not complete:
        found = store.holdings(wanted, after, 2)
        rows += [one for _, one in found.rows]
        after, complete = found.last, found.complete
    return rows


def test_once(store: Store) -> None:
    """A renewal of what is held already adds nothing."""
    store.hold(WEB)
    store.hold(replace(WEB, began=2000.0))
    assert all_of(store) == [WEB]


def test_another_address(store: Store) -> None:
    """It ends the former one of the family; the other family goes on."""
    six = replace(WEB, family="ipv6", address="2001:db8::10")
    store.hold(WEB)
    store.hold(six)
    store.hold(replace(WEB, address="192.0.2.11", began=3000.0))
    former, other, now = all_of(store)
    assert (former.ended, former.ended_by) == (3000.0, "changed")
    assert other == six
    assert (now.address, now.began, now.ended) == ("192.0.2.11", 3000.0, None)


def test_end(store: Store) -> None:
    """The first reason stays, and a later hold is another row."""
    store.hold(WEB)
    store.end_hold("e1", "released")
    store.end_hold("e1", "deleted")
    store.hold(WEB)
    first, second = all_of(store)
    assert (first.ended_by, second.ended) == ("released", None)


def test_name(store: Store) -> None:
    """A container that becomes known late is in the row."""
    store.hold(replace(WEB, container=None, container_id=None))
    store.name_holder("e1", "d" * 64, "db")
    (one,) = all_of(store)
    assert (one.container, one.container_id) == ("db", "d" * 64)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Wanted(address="192.0.2.10"), ["a", "c"]),
        (Wanted(address="192.0.2.10", since=1500.0, until=1500.0), ["a"]),
        (Wanted(address="192.0.2.10", since=2500.0, until=2500.0), []),
        (Wanted(address="192.0.2.10", since=9000.0, until=9000.0), ["c"]),
        (Wanted(since=1500.0), ["a", "b", "c"]),
        (Wanted(since=2000.0, until=2999.0), ["b"]),
        (Wanted(mac="02:00:00:00:00:0b"), ["b"]),
        (Wanted(container="b"), ["b"]),
        (Wanted(container="B" * 12), ["b"]),
        (Wanted(container="B" * 11), []),
        (Wanted(networks=frozenset(("n1", "n9"))), ["a", "b", "c"]),
        (Wanted(networks=frozenset(("n9",))), []),
        (Wanted(container="' OR 1=1 --"), []),
    ],
)
def test_questions(store: Store, wanted: Wanted, expected: list[str]) -> None:
    """Each part narrows the answer; a time finds what was held then, and its end does not count any more."""
    store.hold(replace(WEB, endpoint="a", container="a", container_id="A" * 64, began=1000.0))
    store._do(("UPDATE holding SET ended = 2000.0, ended_by = 'released'", ()))
    other = replace(WEB, endpoint="b", container="b", container_id="B" * 64, mac="02:00:00:00:00:0b")
    store.hold(replace(other, address="192.0.2.11", began=1000.0))
    store.hold(replace(WEB, endpoint="c", container="c", container_id="C" * 64, began=3000.0))
    assert [one.container for one in all_of(store, wanted)] == expected


def test_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """One call reads so many rows and no more, and says where the next one goes on."""
    monkeypatch.setattr(holdings, "STEP_ROWS", 3)
    with store.together():
        for number in range(7):
            store.hold(replace(WEB, endpoint=f"e{number}", address=f"192.0.2.{number}"))
    last = Wanted(address="192.0.2.6")
    assert store.holdings(last, 0, 100) == Found((), 3, complete=False)
    assert store.holdings(last, 3, 100) == Found((), 6, complete=False)
    found = store.holdings(last, 6, 100)
    assert ([number for number, _ in found.rows], found.complete) == ([7], True)
    assert len(all_of(store)) == 7


def test_start(tmp_path: Path) -> None:
    """A new instance goes on with what is held, begins what no row says, and ends what was lost."""
    lease = LeaseRecord(replace(LEASE, duration=None), obtained=1000.0, renewed=1000.0)
    web = replace(JOINED, leases=(lease,), identity=Identity("c" * 64, "web", "web"))
    left = EndpointRecord(replace(web.spec, endpoint_id="e2"), Phase.LEFT, leases=(lease,))
    store = Store(tmp_path, Snapshot, never)
    store.load()
    store.put_endpoint(web)
    store.put_endpoint(left)
    store.hold(replace(WEB, endpoint="lost"))
    store._close()
    store = Store(tmp_path, Snapshot, never)
    store.load()
    assert [(one.endpoint, one.began, one.ended_by) for one in all_of(store)] == [
        ("lost", 1000.0, "lost"),
        ("e1", 1000.0, None),
    ]
    store._close()


def test_old_rows_go(store: Store) -> None:
    """What ended too long ago is dropped with the other history; what is held stays, however old."""
    store.hold(WEB)
    store.hold(replace(WEB, endpoint="e2", began=1.0))
    store._do(("UPDATE holding SET ended = 2000.0 WHERE endpoint = 'e2'", ()))
    store._do(*holdings.prune())
    assert [one.endpoint for one in all_of(store)] == ["e1"]
