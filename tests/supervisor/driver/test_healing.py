"""Lost state: what is learnt again from the engine's facts, what is refused, and which requests wait for it."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Interface, IPv6Interface
from pathlib import Path

import pytest
from msgspec import structs

from supervisor.contract.errors import Failed, NotFound, RequestError
from supervisor.contract.messages import CreateEndpoint
from supervisor.domain.options import NetworkOptions
from supervisor.domain.phases import Phase
from supervisor.driver.admission import Admission
from supervisor.driver.healing import AGAIN_SECONDS, OLD_SECONDS, WAIT_SECONDS, Healing
from supervisor.driver.networks import Networks
from supervisor.driver.orphans import Orphans
from supervisor.driver.registry import Registry
from supervisor.endpoint.context import EndpointContext
from supervisor.engine.container_files import Identity
from supervisor.engine.facts import (
    ContainerSeen,
    ContainersListed,
    EndpointSeen,
    Engine,
    EngineConnected,
    EngineFound,
    EngineLost,
    Fact,
    NetworkGone,
    NetworkSeen,
    NetworksListed,
)
from supervisor.engine.identity import COMEBACK_SECONDS, Identifier
from supervisor.runtime.jobs import Jobs
from supervisor.state import bindings as bindings_module
from supervisor.state.bindings import Bindings
from supervisor.state.records import Network
from supervisor.state.store import Store
from supervisor.state.tables import Snapshot
from tests.supervisor.driver.test_admission import Found, spec_of
from tests.supervisor.puppet import (
    ENDPOINT,
    LEASE,
    MAC,
    NETWORK,
    PID,
    SANDBOX,
    Answers,
    NoSpare,
    PlayedLoop,
    PlayedProcessManager,
)
from tests.supervisor.samples import never
from workers.contract.lease import Family, Lease, Lease6
from workers.contract.link import LinkKind
from workers.contract.messages import Attach, Ipv6, LeaseObtained, Resume
from workers.system.clock import boottime

OWN = "net-dhcp:latest"
CONNECTED = EngineConnected("/data", "overlay2", OWN)
LAN = NetworkSeen(NETWORK, "lan", None, (), OWN, "null", {"bridge": "br0"})
WEB = ContainerSeen("c1", "web", "web-host", (ENDPOINT,))
ADDRESS, GATEWAY = IPv4Interface("192.0.2.77/24"), IPv4Address("192.0.2.1")
LEASED6, OF_MAC = IPv6Interface("2001:db8::7/128"), IPv6Interface("2001:db8::ff:fe00:1/128")
SEEN = EndpointSeen(WEB, NETWORK, ENDPOINT, SANDBOX, MAC, ADDRESS, None, GATEWAY, {})


@dataclass
class Played:
    """A plugin without state. Its processes and its clock are played."""

    loop: PlayedLoop = field(default_factory=PlayedLoop)
    engine: Engine = field(default_factory=Engine)

    def __post_init__(self) -> None:
        self.processes = PlayedProcessManager(self.loop)
        store = Store(Path("/nowhere"), Snapshot, never)
        store.problem = "no disk in this test"
        self.bindings = Bindings(store)
        self.networks = Networks(Jobs(self.processes, self.loop), self.engine, store, 0)
        orphans = Orphans(Jobs(self.processes, self.loop), self.loop, self.bindings, 0)
        spare = NoSpare(self.processes, PlayedLoop())
        context = EndpointContext(
            self.processes, spare, self.loop, self.engine, Identifier(self.engine), store, self.bindings
        )
        self.endpoints = Registry(context, orphans, 0)
        self.healing = Healing(self.loop, self.engine, self.networks, self.endpoints)

    def learn(self, *facts: Fact) -> None:
        """As from the watcher."""
        for fact in facts:
            self.engine.learn(fact)
            self.endpoints.learn(fact)
            self.healing.learn(fact)

    def wanted(self, network_id: str = NETWORK) -> tuple[list[Network], Answers]:
        """The networks that a request for this one gets, and the answers to it, both so far."""
        got: list[Network] = []
        answers = Answers()
        self.healing.with_network(network_id, got.append, answers)
        return got, answers


@pytest.fixture(name="played")
def _played() -> Iterator[Played]:
    played = Played()
    yield played
    for spawned in played.processes.spawned:
        spawned.channel.close()


def test_networks(played: Played) -> None:
    """The plugin's own ones are learnt, with their options; another driver's are none of its business."""
    other = NetworkSeen("o" * 64, "other", None, (), "other:latest", "null", {"bridge": "br1"})
    played.learn(CONNECTED, LAN, other, NetworksListed())
    assert [(one.id, one.options) for one in played.networks] == [(NETWORK, NetworkOptions("br0"))]
    assert played.healing.healed == ("network lan was lost and learnt from the engine",)
    assert played.healing.problems == ()
    played.learn(CONNECTED, LAN)
    assert len(played.healing.healed) == 1


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (structs.replace(LAN, options={"bridge": "br0", "futuristic": "1"}), "unknown option 'futuristic'"),
        (structs.replace(LAN, options={}), "option bridge or parent is missing"),
        (structs.replace(LAN, ipam="default"), "use the null IPAM driver"),
    ],
)
def test_network_that_cannot_be_learnt(played: Played, seen: NetworkSeen, words: str) -> None:
    """The reason is a problem until the engine has the network no more, and the answer to who asks for it."""
    played.learn(CONNECTED, seen, NetworksListed())
    (problem,) = played.healing.problems
    assert problem.startswith("network lan was lost and cannot be learnt from the engine: ")
    assert words in problem
    with pytest.raises(Failed) as refusal:
        played.wanted()
    assert str(refusal.value) == problem
    assert len(played.networks) == 0
    played.learn(NetworkGone(NETWORK))
    assert played.healing.problems == ()


def test_request_waits_for_the_list(played: Played) -> None:
    """Who asks before the engine has told gets the network as soon as it is told."""
    got, answers = played.wanted()
    played.learn(CONNECTED)
    assert not got
    played.learn(LAN)
    assert ([one.id for one in got], answers) == ([NETWORK], [])
    played.loop.pass_time(2 * WAIT_SECONDS)
    assert len(got) == 1


@pytest.mark.parametrize("listed", [True, False])
def test_request_waits_in_vain(played: Played, listed: bool) -> None:
    """It is told what to do when the list does not have the network, and without a list in two seconds."""
    got, answers = played.wanted()
    if listed:
        played.learn(CONNECTED, NetworksListed())
    else:
        played.loop.pass_time(WAIT_SECONDS)
    assert not got
    (answer,) = answers
    assert isinstance(answer, NotFound)
    assert "remove its containers and the network" in str(answer)


def test_request_tells_the_driver(played: Played) -> None:
    """If the engine does not tell which plugin this is, a request tells of its network; else the engine is right."""
    played.learn(structs.replace(CONNECTED, own_name=None), LAN, NetworksListed())
    assert len(played.networks) == 0
    got, _ = played.wanted()
    assert [one.id for one in got] == [NETWORK]

    other = structs.replace(LAN, id="o" * 64, name="other", driver="bridge")
    played.learn(CONNECTED, other, NetworksListed())
    with pytest.raises(Failed, match=f"it is one of the driver bridge, and this one is {OWN}"):
        played.wanted(other.id)


@pytest.mark.parametrize("granted", [ADDRESS, LEASE.address])
def test_adopted(played: Played, granted: IPv4Interface) -> None:
    """The worker of a running container's endpoint goes on in its sandbox with a lease that any server may renew; it is
    held from the first answer on. The container's next start finds MAC address and address."""
    played.learn(EngineFound(PID), CONNECTED, LAN, NetworksListed(), WEB, SEEN, ContainersListed())
    endpoint = played.endpoints.known(ENDPOINT)
    assert (endpoint.phase, endpoint.name, endpoint.spec.mac) == (Phase.JOINED, "web", MAC)
    (spawned,) = played.processes.spawned
    lease = endpoint.leases[Family.IPV4].lease
    assert isinstance(lease, Lease)
    assert (lease.address, lease.gateway, lease.server) == (ADDRESS, GATEWAY, None)
    assert lease.t2 is not None
    assert lease.t2 <= boottime() < (lease.expires or 0)
    assert spawned.begin.resume == Resume((lease,), frozenset())
    assert spawned.told() == [Attach(f"/proc/{PID}/root{SANDBOX}", "web-host", GATEWAY, arrived=True)]
    assert played.healing.healed[1:] == ("container web on network lan was lost and taken over from the engine",)
    binding = played.bindings.recall(NETWORK, "container:c1")
    assert binding is not None
    assert (binding.mac, binding.addresses) == (MAC, {Family.IPV4: str(ADDRESS.ip)})

    played.learn(CONNECTED, LAN, WEB, SEEN)
    assert len(played.processes.spawned) == 1
    child = endpoint.worker.child
    child.on_message(LeaseObtained(replace(LEASE, address=granted, obtained=boottime())))
    assert [record.held for record in endpoint.leases.values()] == [True]
    assert not endpoint.troubles


def test_stale_record(played: Played) -> None:
    """A disk that was full has an endpoint that the engine has replaced since: it releases nothing, as the lease is now
    that of the container's other endpoint, which keeps the identity."""
    last = Played()
    former = structs.replace(SEEN, endpoint_id="f" * 64)
    web = structs.replace(WEB, endpoints=(former.endpoint_id,))
    last.learn(EngineFound(PID), CONNECTED, LAN, web, structs.replace(former, container=web))
    endpoint = last.endpoints.known(former.endpoint_id)
    endpoint.worker.child.on_message(LeaseObtained(replace(LEASE, address=ADDRESS, obtained=boottime())))
    last.processes.spawned[0].channel.close()

    played.endpoints.restore([endpoint.record()])
    played.learn(EngineFound(PID), CONNECTED, LAN, NetworksListed(), WEB, SEEN, ContainersListed())
    stale, present = played.endpoints.known(former.endpoint_id), played.endpoints.known(ENDPOINT)
    assert (stale.phase, present.phase) == (Phase.DELETING, Phase.JOINED)
    assert [record.held for record in stale.leases.values()] == [False]
    assert (present.origin.key, present.spec.mac) == ("container:c1", MAC)


@pytest.mark.parametrize(
    ("ipv6", "address6", "expected"),
    [
        ("true", LEASED6, {Family.IPV4, Family.IPV6}),
        ("only", LEASED6, {Family.IPV6}),
        ("slaac", OF_MAC, {Family.IPV4, "slaac"}),
        ("auto", OF_MAC, {Family.IPV4, "slaac"}),
        ("auto", LEASED6, {Family.IPV4, Family.IPV6}),
        ("false", LEASED6, {Family.IPV4}),
        ("true", None, {Family.IPV4}),
    ],
)
def test_families(played: Played, ipv6: str, address6: IPv6Interface | None, expected: set[object]) -> None:
    """Each family's lease is guessed; an address that the kernel has made is the kernel's to tell of."""
    network = structs.replace(LAN, options={"bridge": "br0", "ipv6": ipv6})
    played.learn(EngineFound(PID), CONNECTED, network, WEB, structs.replace(SEEN, address6=address6))
    leases = [record.lease for record in played.endpoints.known(ENDPOINT).leases.values()]
    assert {"slaac" if isinstance(one, Lease6) and one.slaac else one.family for one in leases} == expected
    assert all((isinstance(one, Lease6) and one.slaac) or one.is_guess for one in leases)


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (structs.replace(SEEN, mac=None), "Docker reports no MAC address for it"),
        (structs.replace(SEEN, address=None), "Docker reports no address for it"),
        (structs.replace(SEEN, options={"futuristic": "1"}), "unknown option 'futuristic'"),
    ],
)
def test_not_adopted(played: Played, seen: EndpointSeen, words: str) -> None:
    """The reason is a problem until the container is stopped."""
    played.learn(EngineFound(PID), CONNECTED, LAN, WEB, seen, ContainersListed())
    (problem,) = played.healing.problems
    assert problem.startswith("container web on network lan was lost and cannot be taken over: ")
    assert words in problem
    assert len(played.endpoints) == 0
    played.healing.ended(ENDPOINT)
    assert played.healing.problems == ()


@pytest.mark.parametrize("meanwhile", ["nothing", "the end", "another list"])
def test_not_adopted_yet(played: Played, monkeypatch: pytest.MonkeyPatch, meanwhile: str) -> None:
    """While a lease of the same client is being released, its endpoint waits, unless it ends; it is taken over once."""
    live = replace(LEASE, obtained=boottime())
    played.bindings.set_aside(spec_of(MAC), "container:c1", live, give_back=True)
    with monkeypatch.context() as late:
        late.setattr(bindings_module, "boottime", lambda: boottime() + COMEBACK_SECONDS + 1)
        (due,) = played.bindings.overdue()
    leases = played.bindings.begin_release(due)
    played.learn(EngineFound(PID), CONNECTED, LAN, NetworksListed(), WEB, SEEN, ContainersListed())
    played.loop.pass_time(AGAIN_SECONDS)
    assert (len(played.endpoints), played.healing.problems) == (0, ())

    if meanwhile == "the end":
        played.healing.ended(ENDPOINT)
    played.bindings.end_release(NETWORK, "container:c1", leases, leases.keys())
    if meanwhile == "another list":
        played.learn(CONNECTED, LAN, NetworksListed(), WEB, SEEN, ContainersListed())
    played.loop.pass_time(AGAIN_SECONDS)
    assert len(played.endpoints) == len(played.processes.spawned) == (meanwhile != "the end")


@pytest.mark.parametrize(("age", "adopted"), [(OLD_SECONDS - 1, 0), (OLD_SECONDS + 1, 1)])
def test_api_that_does_not_answer_for_long(
    played: Played, monkeypatch: pytest.MonkeyPatch, age: float, adopted: int
) -> None:
    """What ends meanwhile is remembered only as long as a list could still have it: it may be much."""
    now = time.monotonic()
    played.learn(CONNECTED, NetworksListed(), ContainersListed(), EngineLost("it is slow"))
    played.healing.ended(ENDPOINT)
    monkeypatch.setattr(time, "monotonic", lambda: now + age)
    played.healing.ended("f" * 64)
    played.learn(EngineFound(PID), CONNECTED, LAN, WEB, SEEN, ContainersListed())
    assert len(played.endpoints) == adopted


@pytest.mark.parametrize("before", [False, True])
def test_ended_meanwhile(played: Played, *, before: bool) -> None:
    """What the engine has ended before or while it is asked is not brought back by what it had told before."""
    if before:
        played.healing.ended(ENDPOINT)
    played.learn(EngineFound(PID), CONNECTED)
    if not before:
        played.healing.ended(ENDPOINT)
    played.learn(LAN, WEB, SEEN, ContainersListed())
    assert len(played.endpoints) == 0
    played.learn(NetworkGone(NETWORK))
    played.networks.delete(NETWORK)
    played.learn(LAN)
    assert len(played.networks) == 0


@pytest.mark.parametrize("options", [{}, {"id": "db"}])
def test_same_client_without_a_mac_of_its_own(played: Played, options: dict[str, str]) -> None:
    """An ipvlan's client identity, which no link keeps, is the one that the container's start had made up; by its token
    an address is known to be the kernel's."""
    network = NetworkOptions(parent="eth0", mode=LinkKind.IPVLAN, ipv6=Ipv6.AUTO)
    found = Found()
    found.identity = Identity("c1", "web", "web-host")
    body = CreateEndpoint(NETWORK, ENDPOINT, None, None, options)
    started, origin, _ = Admission(found, Played().bindings).admit(body, network, ())

    assert started.token is not None
    made = IPv6Interface((int(LEASED6.network.supernet(new_prefix=64)[0]) + int(started.token), 128))
    on_card = structs.replace(LAN, options={"parent": "eth0", "mode": "ipvlan", "ipv6": "auto"})
    played.learn(
        EngineFound(PID), CONNECTED, on_card, WEB, structs.replace(SEEN, mac=None, address6=made, options=options)
    )

    endpoint = played.endpoints.known(ENDPOINT)
    assert endpoint.origin.key == origin.key
    assert endpoint.spec.client_identity == started.client_identity
    lease = endpoint.leases[Family.IPV6].lease
    assert isinstance(lease, Lease6)
    assert (lease.address, lease.slaac) == (made, True)
    elsewhere = structs.replace(body, network_id="m" * 64)
    other, _, _ = Admission(found, played.bindings).admit(elsewhere, network, ())
    assert other.client_identity.client_id != started.client_identity.client_id


def test_refusal_after_a_wait(played: Played) -> None:
    """An error of the request itself is its answer, also if it comes after the wait."""
    answers = Answers()

    def refuse(_: Network) -> None:
        raise RequestError("a reason")

    played.healing.with_network(NETWORK, refuse, answers)
    played.learn(CONNECTED, LAN)
    assert [str(answer) for answer in answers] == ["a reason"]
