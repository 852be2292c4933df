"""How a request becomes an endpoint: whose it is, with which MAC, address and lease. The identifier is played."""

from collections.abc import Sequence, Set
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path
from typing import Any, cast

import pytest

from supervisor.contract.errors import Conflict, InvalidRequest
from supervisor.contract.messages import CreateEndpoint
from supervisor.domain.options import NetworkOptions
from supervisor.driver.admission import Admission, NotYet
from supervisor.endpoint.endpoint import Endpoint
from supervisor.engine.container_files import Identity
from supervisor.engine.facts import Engine
from supervisor.engine.identity import COMEBACK_SECONDS, Identifier
from supervisor.state import bindings as bindings_module
from supervisor.state.bindings import Bindings, Client, mac_of_name
from supervisor.state.records import Origin
from supervisor.state.store import Store
from supervisor.state.tables import Snapshot
from tests.supervisor.puppet import LEASE, NETWORK
from tests.supervisor.samples import never
from workers.contract.client_identity import ClientIdentity
from workers.contract.link import LinkKind, LinkSpec
from workers.contract.messages import PARENTS_MTU, EndpointSpec
from workers.system.clock import boottime

BR0 = LinkSpec(LinkKind.BRIDGE, "br0")
GIVEN = "02:11:22:33:44:55"
FORMER = "02:00:00:00:00:77"
WEB, MAIL = Identity("c1", "web", "web-host"), Identity("c2", "mail", "mail_host")
LIVE = replace(LEASE, obtained=boottime())
ADDRESS = LIVE.address.ip
BY_NAME = NetworkOptions("br0", mac_by_name=True)
TASK, SWARM_NODE = "x9s9uirs4pslp36d33ce9zx5v", "pueqfqurieyhtsmgwkna2fuho"


class Found(Identifier):
    """Finds what the test says, unless that is excluded, and notes who first was."""

    def __init__(self) -> None:
        super().__init__(Engine())
        self.identity: Identity | None = None
        self.taken: Set[str] = set()
        self.in_store: frozenset[str] = frozenset()

    def stored(self, network_id: str) -> frozenset[str]:
        """As the test says."""
        return self.in_store

    def at_create(self, request: CreateEndpoint, taken: Set[str], unknown: Set[str] = frozenset()) -> Identity | None:
        """As the test says."""
        self.taken = self.taken or taken
        return None if self.identity and self.identity.id in taken else self.identity


def spec_of(mac: str) -> EndpointSpec:
    """Of another endpoint on the network."""
    return EndpointSpec(NETWORK, "f" * 64, BR0, mac, ClientIdentity.of_mac(mac), 10.0)


@dataclass
class Other:
    """Another endpoint on the network, as far as admission looks at it."""

    origin: Origin
    identity: Identity | None
    may_be_forgotten: bool = False
    is_being_made: bool = False
    retired: bool = False
    spec: EndpointSpec = field(default_factory=lambda: spec_of(GIVEN))
    is_ending: bool = False
    is_awaited: bool = False
    asked: int = 0
    patience: int = 0

    @property
    def name(self) -> str:
        """Its name in messages."""
        return self.identity.name if self.identity else "unknown"

    @property
    def client(self) -> Client:
        """Its client."""
        return Client(self.spec.mac, self.spec.client_identity)

    def gives_way(self) -> bool:
        """After it was asked so many times."""
        self.asked += 1
        return self.asked > self.patience

    def retire(self, reason: str) -> None:
        """Notes it."""
        self.retired = bool(reason)


def endpoint_with(key: str | None, identity: Identity | None) -> Endpoint:
    """As Endpoint's type."""
    return cast(Endpoint, Other(Origin(key=key), identity))


@dataclass
class Gate:
    """Admits requests."""

    memory: Bindings = field(default_factory=lambda: Bindings(_nowhere()))
    identifier: Found = field(default_factory=Found)
    options: NetworkOptions = field(default_factory=lambda: NetworkOptions("br0"))
    others: Sequence[Endpoint] = ()

    def admit(
        self,
        identity: Identity | None = None,
        *,
        mac: str | None = None,
        address: IPv4Interface | None = None,
        options: dict[str, str] | None = None,
    ) -> tuple[EndpointSpec, Origin]:
        """What a container with this identity gets."""
        self.identifier.identity = identity
        body = CreateEndpoint(NETWORK, "e" * 64, mac, address, options or {})
        spec, origin, seen = Admission(self.identifier, self.memory).admit(body, self.options, self.others)
        assert seen == identity
        return spec, origin

    def remember(self, key: str, *, waits: bool = False, mac: str = FORMER) -> None:
        """A container of this key was here before, with this MAC and ADDRESS."""
        self.memory.keep(spec_of(mac), key, LIVE)
        if waits:
            self.memory.set_aside(spec_of(mac), key, LIVE, give_back=True)


def _nowhere() -> Store:
    store = Store(Path("/nowhere"), Snapshot, never)
    store.problem = "no disk in this test"
    return store


@pytest.fixture(name="gate")
def _gate() -> Gate:
    return Gate()


def test_unknown_container(gate: Gate) -> None:
    """It gets a fresh MAC of our range, asks for no address, and nothing will be remembered of it."""
    gate.remember("container:c1")
    first, second = gate.admit()[0], gate.admit()[0]
    assert len({first.mac, second.mac, FORMER}) == 3
    assert first.mac.startswith("02:")
    assert (first.requested, first.remembered, first.client_identity.hostname) == (None, None, None)
    assert gate.admit()[1] == Origin()


def test_same_container_again(gate: Gate) -> None:
    """It has its MAC again, asks for its address, and tells its host name."""
    gate.remember("container:c1")
    spec, origin = gate.admit(WEB)
    assert (spec.mac, spec.requested, spec.remembered) == (FORMER, ADDRESS, None)
    assert spec.client_identity == ClientIdentity.of_mac(FORMER, "web-host")
    assert origin == Origin(key="container:c1")


def test_another_container(gate: Gate) -> None:
    """It gets nothing of what its neighbour had, whose lease goes on waiting."""
    gate.remember("container:c1", waits=True)
    spec, _ = gate.admit(MAIL)
    assert (spec.mac == FORMER, spec.requested, spec.remembered) == (False, None, None)
    assert gate.admit(WEB)[0].remembered == LIVE


def test_waiting_lease(gate: Gate) -> None:
    """It is handed to its owner, once."""
    gate.remember("container:c1", waits=True)
    assert gate.admit(WEB)[0].remembered == LIVE
    assert gate.admit(WEB)[0].remembered is None


def test_waiting_lease_of_another_address(gate: Gate) -> None:
    """Who asks for another address now does not begin with the lease of the former one."""
    gate.remember("container:c1", waits=True)
    spec, _ = gate.admit(WEB, options={"ip": "192.0.2.77"})
    assert (spec.mac, spec.requested, spec.remembered) == (FORMER, IPv4Address("192.0.2.77"), None)


def test_given_address(gate: Gate) -> None:
    """An address that Docker has filled in is asked for, and known not to be told back."""
    spec, origin = gate.admit(address=IPv4Interface("192.0.2.78/24"))
    assert (spec.requested, origin.given_address, origin.given_mac) == (IPv4Address("192.0.2.78"), True, False)


@pytest.mark.parametrize("options", [{}, {"id": "web"}], ids=["alone", "beside an id"])
def test_given_mac_wins(gate: Gate, options: dict[str, str]) -> None:
    """Whatever is remembered, named or derived, a MAC that the user gave is used, under a key of its own."""
    gate.options = BY_NAME
    for key in ("id:web", "name:web", "container:c1"):
        gate.remember(key, waits=True)
    spec, origin = gate.admit(WEB, mac=GIVEN, options=options)
    assert (spec.mac, spec.requested, spec.remembered) == (GIVEN, None, None)
    assert (origin.given_mac, origin.key) == (True, f"mac:{GIVEN}")


def test_own_id(gate: Gate) -> None:
    """A container whose own id was given as its `id`, as it was connected again as itself, is no one else."""
    gate.remember("container:c1")
    spec, origin = gate.admit(WEB, options={"id": WEB.id})
    assert (spec.mac, origin.key) == (FORMER, "container:c1")
    assert gate.admit(MAIL, options={"id": WEB.id})[1].key == "id:c1"
    gate.options = BY_NAME
    assert gate.admit(WEB, options={"id": WEB.id})[1].key == "name:web"


def test_chosen_id(gate: Gate) -> None:
    """The same id has the same MAC and lease for ever, whichever container comes with it, and however it is called."""
    gate.remember("id:web", waits=True)
    for identity, options in ((None, gate.options), (MAIL, gate.options), (MAIL, BY_NAME)):
        gate.options = options
        spec, origin = gate.admit(identity, options={"id": "web"})
        assert (spec.mac, spec.requested, origin.key) == (FORMER, ADDRESS, "id:web")


def test_mac_by_name(gate: Gate) -> None:
    """A container that is made anew under its name has the same MAC, also where nothing is remembered."""
    gate.options = BY_NAME
    anew = Identity("c9", "web", "other-host")
    assert gate.admit(WEB)[0].mac == gate.admit(anew)[0].mac == mac_of_name(NETWORK, "web")
    assert gate.admit(anew)[1].key == "name:web"
    assert gate.admit(MAIL)[0].mac == mac_of_name(NETWORK, "mail")
    assert gate.admit(None)[0].mac != gate.admit(None)[0].mac


@pytest.mark.parametrize(
    ("name", "place"),
    [
        (f"web.2.{TASK}", "web.2"),
        (f"shop_web.1.12.{TASK}", "shop_web.1.12"),
        (f"web.{SWARM_NODE}.{TASK}", f"web.{SWARM_NODE}"),
        (f"web.{TASK}", f"web.{TASK}"),
        (f"web.2.{TASK}x", f"web.2.{TASK}x"),
    ],
)
def test_task_of_a_swarm(gate: Gate, name: str, place: str) -> None:
    """The next task of a service's slot, or of a global service on a node, has the MAC and client id of the last."""
    gate.options = replace(BY_NAME, client_id="rack-{name}")
    spec, origin = gate.admit(Identity("c1", name, "c1"))
    assert (spec.mac, origin.key) == (mac_of_name(NETWORK, place), f"name:{place}")
    assert spec.client_identity.client_id == f"\0rack-{place}".encode()


@pytest.mark.parametrize(
    ("key", "options", "identity"),
    [("id:web", NetworkOptions("br0"), None), ("name:web", BY_NAME, WEB)],
)
def test_identity_in_use(gate: Gate, key: str, options: NetworkOptions, identity: Identity | None) -> None:
    """One identity has one endpoint at a time: who comes second is told who has it, and takes nothing with it."""
    gate.options, gate.others = options, [endpoint_with(key, MAIL)]
    gate.remember(key, waits=True, mac=FORMER if identity is None else mac_of_name(NETWORK, "web"))
    chosen = {"id": "web"} if key == "id:web" else {}
    with pytest.raises(Conflict, match="'web' is in use on this network, by container mail"):
        gate.admit(identity, options=chosen)
    gate.others = []
    assert gate.admit(identity, options=chosen)[0].remembered == LIVE


REQUESTS = pytest.mark.parametrize(
    ("key", "request_of_it"),
    [(f"mac:{GIVEN}", {"mac": GIVEN}), ("id:web", {"options": {"id": "web"}}), ("container:c1", {})],
)


@REQUESTS
def test_started_again(gate: Gate, key: str, request_of_it: dict[str, Any]) -> None:
    """The answer to a container's request was lost: its endpoint gives way to the one of its next start."""
    other = Other(Origin(key=key), WEB, may_be_forgotten=True)
    gate.others = [cast(Endpoint, other)]
    _, origin = gate.admit(WEB, **request_of_it)
    assert (origin.key, other.retired) == (key, True)


def test_gone_unheard(gate: Gate) -> None:
    """An engine that was killed while a container ran starts it again: its endpoint is in no store any more."""
    other = Other(Origin(key=f"mac:{GIVEN}"), WEB)
    gate.others = [cast(Endpoint, other)]
    _, origin = gate.admit(WEB, mac=GIVEN)
    assert (origin.key, other.retired) == (f"mac:{GIVEN}", True)


@pytest.mark.parametrize("late", [False, True])
def test_start_in_progress(gate: Gate, late: bool) -> None:
    """While a container starts, a running one is connected with its MAC address or `id`: nothing happens to that start,
    however late its Join is. The engine has stored the endpoint."""
    by_mac, by_id = (
        Other(Origin(key=key), WEB, may_be_forgotten=late, is_being_made=not late) for key in (f"mac:{GIVEN}", "id:web")
    )
    gate.identifier.in_store, gate.identifier.identity = frozenset({by_mac.spec.endpoint_id}), WEB
    admission = Admission(gate.identifier, gate.memory)
    with_mac = CreateEndpoint(NETWORK, "e" * 64, GIVEN, None, {})
    with_id = CreateEndpoint(NETWORK, "e" * 64, None, None, {"id": "web"})
    spec, origin, seen = admission.admit(with_mac, gate.options, [cast(Endpoint, by_mac)])
    assert (spec.mac, origin.key, seen) == (GIVEN, None, None)
    with pytest.raises(Conflict, match="in use on this network, by container web"):
        admission.admit(with_id, gate.options, [cast(Endpoint, by_id)])
    assert [by_mac.retired, by_id.retired] == [False, False]


def test_slow_start_excludes_its_container(gate: Gate) -> None:
    """A container whose Join is late has its endpoint in the engine's store: no other request is taken for its own."""
    gate.others = [cast(Endpoint, Other(Origin(key="container:c1"), WEB, may_be_forgotten=True))]
    gate.identifier.in_store = frozenset({"f" * 64})
    gate.identifier.identity = MAIL
    gate.admit(MAIL)
    assert gate.identifier.taken == {"c1"}


def test_before_it_is_stored(gate: Gate) -> None:
    """Whether the engine has lost an answer that it has just got shows in a moment."""
    other = Other(Origin(key=f"mac:{GIVEN}"), WEB, is_being_made=True)
    gate.others = [cast(Endpoint, other)]
    with pytest.raises(NotYet):
        gate.admit(WEB, mac=GIVEN)
    assert not other.retired


@REQUESTS
def test_back_before_the_end(gate: Gate, key: str, request_of_it: dict[str, Any]) -> None:
    """A container that comes back while its former endpoint still releases its lease waits for that, and is itself."""
    mac = GIVEN if "mac" in request_of_it else FORMER
    gate.remember(key, mac=mac)
    other = Other(Origin(key=key), WEB, spec=spec_of(mac), is_ending=True, patience=2)
    gate.others = [cast(Endpoint, other)]
    for _ in range(other.patience):
        with pytest.raises(NotYet):
            gate.admit(WEB, **request_of_it)
    spec, origin = gate.admit(WEB, **request_of_it)
    assert (spec.mac, spec.requested, origin.key, other.retired) == (mac, ADDRESS, key, False)


def test_back_while_a_process_releases_its_lease(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits until the release is over, asks for its address anew, and nothing releases that lease later."""
    gate.remember("container:c1", waits=True)
    monkeypatch.setattr(bindings_module, "boottime", lambda: boottime() + COMEBACK_SECONDS + 1)
    (due,) = gate.memory.overdue()
    leases = gate.memory.begin_release(due)
    with pytest.raises(NotYet):
        gate.admit(WEB)
    assert gate.admit(MAIL)[1].key == "container:c2"
    gate.memory.end_release(NETWORK, "container:c1", leases, leases.keys())
    spec, _ = gate.admit(WEB)
    assert (spec.mac, spec.requested, spec.remembered) == (FORMER, ADDRESS, None)
    assert gate.memory.overdue() == ()


def test_stranger_does_not_wait(gate: Gate) -> None:
    """An endpoint that ends holds up no other container, and is no container's while the engine waits for its end."""
    other = Other(Origin(key="container:c1"), WEB, spec=spec_of(FORMER), is_ending=True, is_awaited=True, patience=9)
    gate.others = [cast(Endpoint, other)]
    assert gate.admit(MAIL)[1].key == "container:c2"
    gate.identifier.identity = WEB
    body = CreateEndpoint(NETWORK, "e" * 64, None, None, {})
    spec, _, seen = Admission(gate.identifier, gate.memory).admit(body, gate.options, gate.others)
    assert (seen, spec.mac != FORMER, other.asked) == (None, True, 0)


@pytest.mark.parametrize(("awaited", "taken"), [(False, set()), (True, {"c1"})])
def test_endpoint_that_ends_excludes_nobody(gate: Gate, awaited: bool, taken: set[str]) -> None:
    """The engine may be starting its container again, unless it waits for the end: after a start during which the
    plugin was killed, another one that is being started must not be taken for the only one."""
    other = Other(Origin(key="container:c1"), WEB, spec=spec_of(FORMER), is_ending=True, is_awaited=awaited)
    gate.others = [cast(Endpoint, other)]
    gate.admit(None)
    assert gate.identifier.taken == taken


def test_same_mac_twice(gate: Gate) -> None:
    """A MAC that the user gave to two containers is used by both, but remembered for neither of the two at once."""
    gate.others = [endpoint_with(f"mac:{GIVEN}", MAIL)]
    gate.remember(f"mac:{GIVEN}", waits=True)
    spec, origin = gate.admit(mac=GIVEN)
    assert (spec.mac, spec.remembered, origin.key) == (GIVEN, None, None)


def test_identity_that_a_stranger_has(gate: Gate) -> None:
    """Whose container's identity went to another one, as no engine told, starts all the same, with a new one."""
    gate.others = [endpoint_with("container:c1", MAIL)]
    gate.remember("container:c1", waits=True)
    spec, origin = gate.admit(WEB)
    assert (spec.remembered, origin.key) == (None, None)


def test_containers_with_an_endpoint_are_no_candidates(gate: Gate) -> None:
    """The identifier is told who has an endpoint on this network already."""
    gate.others = [endpoint_with(None, None), endpoint_with("container:c2", MAIL)]
    gate.admit(WEB)
    assert gate.identifier.taken == {"c2"}


def test_options_of_the_network(gate: Gate) -> None:
    """What the network says about leases and routes goes along."""
    gate.options = NetworkOptions("br7", 3.5, skip_routes=True, drop_expired=True, keep_lease=True)
    spec, origin = gate.admit()
    assert (spec.link.parent, spec.lease_timeout, spec.skip_routes, spec.drop_expired) == ("br7", 3.5, True, True)
    assert origin.keep_lease


def test_bad_option(gate: Gate) -> None:
    """It is refused before anything is taken out of the memory."""
    gate.remember("container:c1", waits=True)
    with pytest.raises(InvalidRequest, match="id"):
        gate.admit(WEB, options={"id": "../web"})
    assert gate.admit(WEB)[0].remembered == LIVE


def test_identity_of_the_client(gate: Gate) -> None:
    """The network's classes and the FQDN go along, the container's own vendor class before the network's."""
    gate.options = NetworkOptions("br0", vendor_class="printers", user_class="lab", register_dns=True)
    identity = gate.admit(WEB)[0].client_identity
    assert (identity.vendor_class, identity.user_class, identity.fqdn) == ("printers", "lab", True)
    assert gate.admit(WEB, options={"vendor_class": "phones"})[0].client_identity.vendor_class == "phones"


@pytest.mark.parametrize(
    ("template", "identity", "octets"),
    [
        ("rack-{name}", WEB, b"\0rack-web"),
        ("rack-{name}", None, b"\x01" + bytes.fromhex(FORMER.replace(":", ""))),
        ("ff:{mac}", None, b"\xff" + bytes.fromhex(FORMER.replace(":", ""))),
        ("{mac}/{name}", WEB, b"\0" + FORMER.encode() + b"/web"),
    ],
)
def test_client_id_of_the_network(gate: Gate, template: str, identity: Identity | None, octets: bytes) -> None:
    """Each container has its own, with its name or MAC in it; one of unknown name has its MAC."""
    gate.options = NetworkOptions("br0", client_id=template)
    assert gate.admit(identity, mac=FORMER)[0].client_identity.client_id == octets


def test_client_id_that_is_too_long(gate: Gate) -> None:
    """Only the container's name tells that a template makes too much of it."""
    gate.options = NetworkOptions("br0", client_id="rack-{name}")
    with pytest.raises(InvalidRequest, match=r"option client_id: .* 64 printable"):
        gate.admit(Identity("c1", "x" * 70, ""))


def test_client_id_in_use(gate: Gate) -> None:
    """To the server two containers with one identifier would be one: the second is refused, the same one is not."""
    chosen = {"client_id": "01:02:03"}
    other = Other(
        Origin(key="container:c2"), MAIL, True, spec=replace(spec_of(GIVEN), client_identity=ClientIdentity(b"\1\2\3"))
    )
    gate.others = [cast(Endpoint, other)]
    with pytest.raises(
        Conflict, match="option client_id: this identifier is in use on this network, by container mail"
    ):
        gate.admit(WEB, options=chosen)
    assert gate.admit(MAIL, options=chosen)[0].client_identity.client_id == b"\1\2\3"
    spec, _ = gate.admit(WEB)
    assert spec.client_identity.client_id == ClientIdentity.of_mac(spec.mac).client_id


def test_waiting_lease_of_another_client(gate: Gate) -> None:
    """With another client identifier the container's lease is no longer its own: it stays, to be given back."""
    gate.remember("container:c1", waits=True)
    spec, _ = gate.admit(WEB, options={"client_id": "web"})
    assert (spec.mac, spec.remembered) == (FORMER, None)
    assert gate.admit(WEB, options={"vendor_class": "phones"})[0].remembered == LIVE


@pytest.mark.parametrize(
    ("identity", "by_id", "options", "name"),
    [
        (Identity("c1", "web", "c1"), False, {}, "web"),
        (Identity("c1", "web", "c1"), True, {}, "c1"),
        (Identity("c1", "shop-web_1.x", "c1"), False, {}, "shop-web-1-x"),
        (Identity("c1", f"web.2.{TASK}", "c1"), False, {}, "web-2"),
        (Identity("c1", "web", "chosen.lab"), False, {}, "chosen.lab"),
        (Identity("c1", "web", "chosen.lab"), True, {}, "chosen.lab"),
        (Identity("c1", "web", "chosen"), False, {"hostname": "printer"}, "printer"),
        (None, False, {"hostname": "printer"}, "printer"),
        (None, False, {}, None),
    ],
)
def test_host_name(
    gate: Gate, identity: Identity | None, by_id: bool, options: dict[str, str], name: str | None
) -> None:
    """The endpoint's own name comes first, then --hostname, then the container's name or, by choice, its short id."""
    gate.options = NetworkOptions("br0", hostname_is_id=by_id)
    assert gate.admit(identity, options=options)[0].client_identity.hostname == name


def test_link_of_the_user(gate: Gate) -> None:
    """Gateway and MTU are the network's, unless the container has its own."""
    gate.options = NetworkOptions("br0", gateway=ADDRESS, mtu=1400)
    spec, _ = gate.admit()
    assert (spec.gateway, spec.mtu) == (ADDRESS, 1400)
    spec, _ = gate.admit(options={"gateway": "lease", "mtu": "parent"})
    assert (spec.gateway, spec.mtu) == (None, PARENTS_MTU)


@pytest.mark.parametrize(("drop", "wanted"), [(False, None), (True, None), (False, "192.0.2.77/24")])
def test_last_lease(gate: Gate, drop: bool, wanted: str | None) -> None:
    """With `expired=keep` a container may go on with its last lease, although that has run out, unless it is to have
    another address."""
    over = replace(LIVE, obtained=boottime() - 601)
    gate.memory.keep(spec_of(FORMER), "id:web", over)
    gate.options = replace(gate.options, drop_expired=drop)
    address = None if wanted is None else IPv4Interface(wanted)
    spec, _ = gate.admit(options={"id": "web"}, address=address)
    assert (spec.mac, spec.remembered) == (FORMER, None if drop or wanted else over)
