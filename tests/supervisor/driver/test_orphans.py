"""Leases that nobody came for: each is released once, tried again where that failed, never taken from its owner."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from supervisor.driver.orphans import MOST_RELEASES, REMOVE_AGAIN_SECONDS, REMOVE_TRIES, Orphans
from supervisor.engine.identity import COMEBACK_SECONDS
from supervisor.runtime.forked import Target
from supervisor.runtime.jobs import Jobs
from supervisor.state import bindings as memory_module
from supervisor.state.bindings import Bindings, Client
from supervisor.state.records import Binding
from supervisor.state.store import Store
from supervisor.state.tables import Snapshot
from tests.supervisor.puppet import IPV4, LEASE, MAC, NETWORK, PlayedLoop
from tests.supervisor.samples import never
from workers.contract.client_identity import ClientIdentity
from workers.contract.lease import Family, Lease
from workers.contract.link import LinkKind, LinkSpec
from workers.contract.messages import Deleted, EndpointSpec
from workers.entry.jobs import give_back, remove
from workers.system.clock import boottime

BR0 = LinkSpec(LinkKind.BRIDGE, "br0")
KEY = "container:c1"
IDENTITY = ClientIdentity(b"\0of an older version")
SPEC = EndpointSpec(NETWORK, "e" * 64, BR0, MAC, IDENTITY, 10.0)
OWNER = Client(MAC, IDENTITY)
LIVE = replace(LEASE, obtained=boottime())


@dataclass
class Release:
    """A process that was asked for."""

    spec: EndpointSpec
    leases: dict[Family, Lease]
    answer: Callable[[object | None], None]


@dataclass
class Played(Jobs):
    """Orphans whose processes and clock the test plays."""

    memory: Bindings
    asked: list[Release] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    endpoints: list[EndpointSpec] = field(default_factory=list)
    failing: int = 0
    late: float = 0.0

    def __post_init__(self) -> None:
        self.loop = PlayedLoop()
        self.orphans = Orphans(self, self.loop, self.memory, 7)

    def ask(
        self,
        name: str,
        target: Target,
        *arguments: Any,  # noqa: ANN401  the target's
        deadline: float,
        answer: Callable[[object | None], None],
    ) -> None:
        """Notes it."""
        if target is remove:
            self.removed.extend(arguments)
            answer(None if len(self.removed) < self.failing else Deleted())
        else:
            assert target is give_back
            spec, leases = arguments
            self.asked.append(Release(spec, leases, answer))

    def pass_time(self, seconds: float) -> None:
        """The clock goes on, and it is looked at what is due."""
        self.late += seconds
        self.orphans.release_overdue(self.endpoints)

    @property
    def seen(self) -> Binding:
        """What is remembered."""
        (one,) = self.memory
        return one


@pytest.fixture(name="played")
def _played(monkeypatch: pytest.MonkeyPatch) -> Played:
    store = Store(Path("/nowhere"), Snapshot, never)
    store.problem = "no disk in this test"
    played = Played(Bindings(store))
    monkeypatch.setattr(memory_module, "boottime", lambda: boottime() + played.late)
    played.memory.set_aside(SPEC, KEY, LIVE, give_back=True)
    return played


def test_given_back_once(played: Played) -> None:
    """When its time is up one process releases it, as the client that obtained it; MAC and address stay known."""
    played.pass_time(COMEBACK_SECONDS - 10)
    assert not played.asked
    played.pass_time(11)
    played.pass_time(1)
    (release,) = played.asked
    seen = release.spec
    assert (seen.mac, seen.client_identity, seen.link, seen.network_id) == (MAC, IDENTITY, BR0, NETWORK)
    assert release.leases == {Family.IPV4: LIVE}
    release.answer(Deleted())
    played.pass_time(COMEBACK_SECONDS + 1)
    assert len(played.asked) == 1
    assert (played.seen.mac, played.seen.addresses, played.seen.leases) == (
        MAC,
        {Family.IPV4: str(LIVE.address.ip)},
        {},
    )


@pytest.mark.parametrize("report", [None, Deleted(IPV4)], ids=["process died", "server silent"])
def test_tried_again(played: Played, report: Deleted | None) -> None:
    """A lease that could not be given back is tried again later, over another link."""
    played.pass_time(COMEBACK_SECONDS + 1)
    played.asked[0].answer(report)
    assert played.seen.leases == {Family.IPV4: LIVE}
    played.pass_time(COMEBACK_SECONDS + 1)
    assert len(played.asked) == 2
    assert len({release.spec.container_link for release in played.asked}) == 2


def test_owner_came_in_time(played: Played) -> None:
    """A lease that its owner has come for is not given back."""
    assert played.memory.claim(played.memory.recall(NETWORK, KEY), OWNER) == {Family.IPV4: LIVE}
    played.pass_time(COMEBACK_SECONDS + 1)
    assert not played.asked


def test_owner_came_during_a_try_that_failed(played: Played) -> None:
    """Who has the lease again keeps it: the failed try does not make it one that nobody has."""
    played.pass_time(COMEBACK_SECONDS + 1)
    played.memory.keep(SPEC, KEY, LIVE)
    played.asked[0].answer(Deleted(IPV4))
    assert played.seen.leases == {}
    played.pass_time(COMEBACK_SECONDS + 1)
    assert len(played.asked) == 1


def test_kept_on_disk_until_it_is_released(played: Played) -> None:
    """A plugin that dies while a release is under way has forgotten nothing, and no second process releases it."""
    played.pass_time(COMEBACK_SECONDS + 1)
    assert played.seen.leases == {Family.IPV4: LIVE}
    played.pass_time(COMEBACK_SECONDS + 1)
    assert len(played.asked) == 1
    played.asked[0].answer(Deleted())
    assert played.seen.leases == {}


def test_under_way(played: Played) -> None:
    """While a lease is released, its client is known as one that must not ask for it, and nobody else is."""
    stranger = Client(MAC, ClientIdentity(b"\0another"))
    assert not played.memory.is_releasing(NETWORK, OWNER)
    played.pass_time(COMEBACK_SECONDS + 1)
    assert played.memory.is_releasing(NETWORK, OWNER)
    assert not played.memory.is_releasing(NETWORK, stranger)
    assert not played.memory.is_releasing("o" * 64, OWNER)
    played.asked[0].answer(Deleted())
    assert not played.memory.is_releasing(NETWORK, OWNER)


def test_client_has_an_endpoint(played: Played) -> None:
    """A lease is not released while its client has one in use under another key: to the server that is the same one."""
    played.endpoints = [replace(SPEC, mac="02:00:00:00:00:77")]
    played.pass_time(COMEBACK_SECONDS + 1)
    assert not played.asked
    played.endpoints = [replace(SPEC, network_id="o" * 64)]
    played.pass_time(1)
    assert len(played.asked) == 1


def test_killed_over_its_link(played: Played) -> None:
    """A process that did not answer may have left a link behind: that is removed."""
    played.pass_time(COMEBACK_SECONDS + 1)
    played.asked[0].answer(None)
    assert played.removed == [played.asked[0].spec.endpoint_id]


@pytest.mark.parametrize(("failing", "tried"), [(0, 1), (3, 3), (99, REMOVE_TRIES)])
def test_link_that_could_not_be_removed(played: Played, failing: int, tried: int) -> None:
    """Who waits for it goes on after the first try. Others follow, but not for ever."""
    done: list[bool] = []
    played.failing = failing
    played.orphans.remove_link("e" * 64, lambda: done.append(True))
    assert (done, len(played.removed)) == ([True], 1)
    for _ in range(2 * REMOVE_TRIES):
        played.loop.pass_time(REMOVE_AGAIN_SECONDS)
    assert (done, len(played.removed)) == ([True], tried)


def test_many_at_once(played: Played) -> None:
    """However many leases are overdue, only so many processes begin together; the rest follows."""
    for number in range(3 * MOST_RELEASES):
        mac = f"02:00:00:00:01:{number:02x}"
        spec = replace(SPEC, mac=mac, client_identity=ClientIdentity.of_mac(mac))
        played.memory.set_aside(spec, f"container:{number}", LIVE, give_back=True)
    played.pass_time(COMEBACK_SECONDS + 1)
    assert len(played.asked) == MOST_RELEASES
    for _ in range(3):
        played.pass_time(1)
    assert len(played.asked) == 3 * MOST_RELEASES + 1


def test_run_out(played: Played) -> None:
    """A lease that has run out meanwhile costs no process and no packet."""
    played.pass_time(601)
    assert not played.asked
    assert played.seen.leases == {}
