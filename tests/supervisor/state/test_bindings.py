"""Whose identity is whose: never another's, the same again for whoever comes back; leases given back when due."""

import time
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec import structs

from supervisor.engine.identity import COMEBACK_SECONDS
from supervisor.state import bindings as module
from supervisor.state.bindings import FORGET_SECONDS, Bindings, Client, key_of, mac_of_name
from supervisor.state.records import Binding
from supervisor.state.store import Store
from supervisor.state.tables import Snapshot
from tests.supervisor.dockerfiles import create_endpoint
from tests.supervisor.puppet import IDENTITY, LEASE, MAC
from tests.supervisor.samples import never
from workers.contract.client_identity import ClientIdentity
from workers.contract.lease import Family, Lease
from workers.contract.link import LinkKind, LinkSpec
from workers.contract.messages import EndpointSpec
from workers.system.clock import boottime

BR0 = LinkSpec(LinkKind.BRIDGE, "br0")
NETWORK, OTHER, KEY = "n" * 64, "o" * 64, "id:web"
SPEC = EndpointSpec(NETWORK, "e" * 64, BR0, MAC, ClientIdentity.of_mac(MAC), 10.0)
ANOTHER = replace(SPEC, mac="02:00:00:00:00:99")
US = Client(MAC, SPEC.client_identity)
DAY = 86400.0
LIVE = replace(LEASE, obtained=boottime())
OVER = replace(LEASE, obtained=boottime() - 601)


@pytest.fixture(name="store")
def _store(tmp_path: Path) -> Store:
    store = Store(tmp_path, Snapshot, never)
    store.load()
    return store


@pytest.fixture(name="memory")
def _memory(store: Store) -> Bindings:
    return Bindings(store)


def again(store: Store, tmp_path: Path) -> Bindings:
    """What the next instance of the plugin remembers."""
    assert store.problem is None
    memory = Bindings(store)
    memory.load(Store(tmp_path, Snapshot, never).load().bindings)
    return memory


def set_aside(memory: Bindings, lease: Lease = LIVE, *, give_back: bool = True, key: str = KEY) -> None:
    memory.set_aside(SPEC, key, lease, give_back=give_back)


@pytest.mark.parametrize(
    ("mac", "chosen", "by_name", "known", "key"),
    [
        (MAC, "web", True, True, f"mac:{MAC}"),
        (MAC, None, False, False, f"mac:{MAC}"),
        (None, "web", True, True, "id:web"),
        (None, "web", False, False, "id:web"),
        (None, None, True, True, "name:web"),
        (None, None, False, True, "container:c1"),
        (None, None, True, False, None),
        (None, None, False, False, None),
    ],
)
def test_key(mac: str | None, chosen: str | None, by_name: bool, known: bool, key: str | None) -> None:
    """A MAC that the user gave comes first, then an id, then a name or a container; nothing is made of nothing."""
    request = structs.replace(create_endpoint(), mac=mac)
    assert key_of(request, chosen, by_name, IDENTITY if known else None) == key


def test_mac_of_name() -> None:
    """The same for the same name, another on another network or for another name, always one of our own range."""
    first = mac_of_name(NETWORK, "web")
    assert mac_of_name(NETWORK, "web") == first
    assert len({first, mac_of_name(OTHER, "web"), mac_of_name(NETWORK, "db")}) == 3
    assert first.startswith("02:")
    assert len(first) == 17


def test_nobody_else(memory: Bindings) -> None:
    """What is remembered under a key is given to no other key, to no other network, and not to the unknown."""
    memory.keep(SPEC, KEY, LIVE)
    memory.keep(ANOTHER, None, LIVE)
    assert memory.recall(NETWORK, KEY) is not None
    for network, key in ((NETWORK, "id:db"), (NETWORK, "name:web"), (OTHER, KEY), (NETWORK, None)):
        assert memory.recall(network, key) is None


def test_known_again_after_a_restart(memory: Bindings, store: Store, tmp_path: Path) -> None:
    """MAC and latest address are the same for the next instance; a lease that an endpoint has does not wait."""
    memory.keep(SPEC, KEY, OVER)
    memory.keep(SPEC, KEY, LIVE)
    seen = again(store, tmp_path).recall(NETWORK, KEY)
    assert seen is not None
    assert (seen.mac, seen.addresses, seen.leases) == (MAC, {Family.IPV4: str(LIVE.address.ip)}, {})


@pytest.mark.parametrize("fails", [False, True])
def test_waiting_lease_of_another_client(memory: Bindings, fails: bool) -> None:
    """Who came back with another client identifier cannot have the lease: its former client gives it back."""
    set_aside(memory)
    changed = replace(SPEC, client_identity=ClientIdentity(b"\0web"))
    if fails:  # a start whose lease could not be released
        memory.set_aside(changed, KEY, LIVE, give_back=True)
    else:
        memory.keep(changed, KEY, LIVE)
    seen = memory.recall(NETWORK, KEY)
    assert seen is not None
    assert (seen.client_identity, bool(seen.leases)) == (changed.client_identity, fails)
    (left,) = (one for one in memory if one.key != KEY)
    assert (left.client_identity, left.leases) == (SPEC.client_identity, {Family.IPV4: LIVE})
    assert left.release_at is not None


def test_waiting_lease_of_another_mac(memory: Bindings) -> None:
    """Who came back as another machine leaves its former lease to be given back, under nobody's key."""
    set_aside(memory)
    memory.keep(ANOTHER, KEY, LIVE)
    seen = memory.recall(NETWORK, KEY)
    assert seen is not None
    assert (seen.mac, seen.leases) == ("02:00:00:00:00:99", {})
    assert [(one.mac, one.leases) for one in memory if one.release_at is not None] == [(MAC, {Family.IPV4: LIVE})]


def test_waiting_lease_is_claimed_once(memory: Bindings, store: Store, tmp_path: Path) -> None:
    """Its owner gets it, the second one who asks does not, nor does anybody after a restart."""
    set_aside(memory)
    assert memory.claim(memory.recall(NETWORK, KEY), US) == {Family.IPV4: LIVE}
    assert memory.claim(memory.recall(NETWORK, KEY), US) == {}
    later = again(store, tmp_path)
    assert later.claim(later.recall(NETWORK, KEY), US) == {}
    assert memory.claim(None, US) == {}


def test_lease_that_has_run_out(memory: Bindings) -> None:
    """It is neither set aside nor handed out."""
    set_aside(memory, OVER)
    assert memory.recall(NETWORK, KEY) is None
    waiting = Binding(NETWORK, KEY, MAC, SPEC.client_identity, BR0, time.time(), {}, {Family.IPV4: OVER}, boottime())
    assert memory.claim(waiting, US) == {}


@pytest.mark.parametrize("give_back", [False, True], ids=["keep", "leave"])
def test_overdue(memory: Bindings, monkeypatch: pytest.MonkeyPatch, give_back: bool) -> None:
    """A lease that nobody came for is due after its time, if it is to be given back at all."""
    set_aside(memory, give_back=give_back)
    assert memory.overdue() == ()
    monkeypatch.setattr(module, "boottime", lambda: boottime() + COMEBACK_SECONDS + 1)
    due = memory.overdue()
    assert [one.key for one in due] == ([KEY] if give_back else [])
    for one in due:
        memory.begin_release(one)
    assert memory.overdue() == ()


@pytest.mark.parametrize("step", [DAY, -DAY])
def test_wall_clock_that_steps(memory: Bindings, monkeypatch: pytest.MonkeyPatch, step: float) -> None:
    """A step of the wall clock neither takes a lease from the container that is to come back, nor keeps it longer."""
    set_aside(memory)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + step)
    assert memory.overdue() == ()
    monkeypatch.setattr(module, "boottime", lambda: boottime() + COMEBACK_SECONDS + 1)
    assert len(memory.overdue()) == 1


def test_time_begins_anew_at_the_start(memory: Bindings, store: Store, tmp_path: Path) -> None:
    """A container that comes back with the engine has its whole time from the plugin's start on."""
    long_ago = boottime() - COMEBACK_SECONDS - 1
    store.put(Binding(NETWORK, KEY, MAC, SPEC.client_identity, BR0, long_ago, {}, {Family.IPV4: LIVE}, long_ago))
    later = again(store, tmp_path)
    assert later.overdue() == ()
    seen = later.recall(NETWORK, KEY)
    assert seen is not None
    assert seen.release_at is not None
    assert abs(seen.release_at - boottime() - COMEBACK_SECONDS) < 5


@pytest.mark.parametrize("release_at", [None, boottime()], ids=["kept", "to be given back"])
def test_expired_while_the_plugin_was_away(store: Store, tmp_path: Path, release_at: float | None) -> None:
    """A lease that has run out does not wait any more; its owner is known until it is forgotten for good, and what has
    no owner goes with it."""
    one = Binding(NETWORK, KEY, MAC, SPEC.client_identity, BR0, time.time(), {}, {Family.IPV4: OVER}, release_at)
    for left in (one, replace(one, key="left:192.0.2.10"), replace(one, key="container:c1", ownerless=True)):
        store.put(left)
    ancient = time.time() - FORGET_SECONDS - 1
    store.put(Binding(NETWORK, "id:old", MAC, SPEC.client_identity, BR0, ancient, {}, {Family.IPV4: OVER}, release_at))
    later = again(store, tmp_path)
    later.prune(())
    (seen,) = later
    assert (seen.key, seen.mac, seen.leases, seen.release_at) == (KEY, MAC, {}, None)
    assert [one.key for one in Store(tmp_path, Snapshot, never).load().bindings] == [KEY]


def test_removed_container(memory: Bindings, store: Store, tmp_path: Path) -> None:
    """It is forgotten, on disk too; not while its lease still has to be given back, and nobody else is."""
    for container in ("c1", "c2"):
        memory.keep(SPEC, f"container:{container}", LIVE)
    set_aside(memory, key="container:c3")
    memory.forget_container("c1")
    memory.forget_container("c3")
    for seen in (memory, again(store, tmp_path)):
        assert {one.key for one in seen} == {"container:c2", "container:c3"}


def test_removed_network(memory: Bindings, store: Store, tmp_path: Path) -> None:
    """What was known on it is forgotten, but for leases that still have to be given back."""
    memory.keep(SPEC, "id:a", LIVE)
    memory.keep(replace(SPEC, network_id=OTHER), "id:b", LIVE)
    set_aside(memory, key="id:c")
    memory.forget_network(NETWORK)
    for seen in (memory, again(store, tmp_path)):
        assert {one.key for one in seen} == {"id:b", "id:c"}


def test_last_lease(memory: Bindings, store: Store, tmp_path: Path) -> None:
    """A lease that ran out is known to the next instance as its owner's last one; to another client it is not."""
    memory.keep(SPEC, KEY, OVER)
    for seen in (memory, again(store, tmp_path)):
        last = seen.recall(NETWORK, KEY)
        assert seen.run_out(last, US) == {Family.IPV4: OVER}
        assert seen.run_out(last, Client(MAC, ClientIdentity(b"\0web"))) == {}
        assert seen.claim(last, US) == {}
    assert memory.run_out(None, US) == {}


def test_last_lease_was_released(memory: Bindings, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was released while it ran is nobody's any more; a release of what had run out changes nothing."""
    for released in (LIVE, OVER):
        memory.keep(SPEC, KEY, released)
        memory.given_back(NETWORK, KEY, [released])
        with monkeypatch.context() as later:
            later.setattr(module, "boottime", lambda: boottime() + 601)
            assert memory.run_out(memory.recall(NETWORK, KEY), US) == ({} if released is LIVE else {Family.IPV4: OVER})


def test_last_lease_that_nobody_came_for(memory: Bindings, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is released, and not used any more."""
    set_aside(memory)
    (waiting,) = memory
    memory.end_release(NETWORK, KEY, memory.begin_release(waiting), [Family.IPV4])
    monkeypatch.setattr(module, "boottime", lambda: boottime() + 601)
    assert memory.run_out(memory.recall(NETWORK, KEY), US) == {}
