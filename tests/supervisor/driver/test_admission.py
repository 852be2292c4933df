"""How a request becomes an endpoint: whose it is, with which MAC, address and lease. The identifier is played."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path
from typing import Any, cast

import pytest

from supervisor.contract.errors import Conflict, InvalidRequest
from supervisor.contract.messages import CreateEndpoint
from supervisor.domain.options import NetworkOptions
from supervisor.driver.admission import admit
from supervisor.endpoint.endpoint import Endpoint
from supervisor.engine.container_files import Identity
from supervisor.engine.facts import Engine
from supervisor.engine.identity import Identifier
from supervisor.state.bindings import Bindings, mac_of_name
from supervisor.state.records import Origin
from supervisor.state.store import Store
from supervisor.state.tables import Snapshot
from tests.supervisor.puppet import LEASE, NETWORK
from tests.supervisor.samples import never
from workers.contract.client_identity import ClientIdentity
from workers.contract.link import LinkKind, LinkSpec
from workers.contract.messages import EndpointSpec
from workers.system.clock import boottime

BR0 = LinkSpec(LinkKind.BRIDGE, "br0")
GIVEN = "02:11:22:33:44:55"
FORMER = "02:00:00:00:00:77"
WEB, MAIL = Identity("c1", "web", "web-host"), Identity("c2", "mail", "mail_host")
LIVE = replace(LEASE, obtained=boottime())
ADDRESS = LIVE.address.ip
BY_NAME = NetworkOptions("br0", mac_by_name=True)


class Found(Identifier):
    """Finds what the test says, unless that is excluded, and notes who first was."""

    def __init__(self) -> None:
        super().__init__(Engine())
        self.identity: Identity | None = None
        self.taken: set[str] = set()

    def at_create(self, request: CreateEndpoint, taken: set[str]) -> Identity | None:
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
    retired: bool = False
    spec: EndpointSpec = field(default_factory=lambda: spec_of(GIVEN))

    def retire(self) -> None:
        """Notes it."""
        self.retired = True


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
        spec, origin, seen = admit(body, self.options, self.others, identifier=self.identifier, bindings=self.memory)
        assert seen == identity
        return spec, origin

    def remember(self, key: str, *, waits: bool = False) -> None:
        """A container of this key was here before, with FORMER and ADDRESS."""
        self.memory.keep(spec_of(FORMER), key, LIVE)
        if waits:
            self.memory.set_aside(spec_of(FORMER), key, LIVE, give_back=True)


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
    ("key", "options", "identity"),
    [("id:web", NetworkOptions("br0"), None), ("name:web", BY_NAME, WEB)],
)
def test_identity_in_use(gate: Gate, key: str, options: NetworkOptions, identity: Identity | None) -> None:
    """One identity has one endpoint at a time: who comes second is told who has it, and takes nothing with it."""
    gate.options, gate.others = options, [endpoint_with(key, MAIL)]
    gate.remember(key, waits=True)
    chosen = {"id": "web"} if key == "id:web" else {}
    with pytest.raises(Conflict, match="'web' is in use on this network, by container mail"):
        gate.admit(identity, options=chosen)
    gate.others = []
    assert gate.admit(identity, options=chosen)[0].remembered == LIVE


@pytest.mark.parametrize(
    ("key", "may_be_forgotten", "request_of_it"),
    [
        (f"mac:{GIVEN}", False, {"mac": GIVEN}),
        ("id:web", False, {"options": {"id": "web"}}),
        ("container:c1", True, {}),
    ],
)
def test_started_again(gate: Gate, key: str, may_be_forgotten: bool, request_of_it: dict[str, Any]) -> None:
    """The answer to a container's request was lost: its endpoint gives way to the one of its next start."""
    other = Other(Origin(key=key), WEB, may_be_forgotten)
    gate.others = [cast(Endpoint, other)]
    _, origin = gate.admit(WEB, **request_of_it)
    assert (origin.key, other.retired) == (key, True)


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
