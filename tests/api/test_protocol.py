"""Docker's JSON where the recordings do not show it: optional fields, and every form of an answer."""

import json
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

import pytest

from api import protocol
from supervisor.contract.errors import InvalidRequest
from supervisor.contract.messages import (
    CreateEndpoint,
    CreateNetwork,
    Done,
    EndpointCreated,
    Join,
    Joined,
    OperValues,
    WorkerList,
)
from tests.api.fakes import ENDPOINT_ID, NETWORK_ID
from workers.contract.lease import Route

IDS = {"NetworkID": NETWORK_ID, "EndpointID": ENDPOINT_ID}


def parse(method: str, **fields: object) -> object:
    """The message for a request with these fields."""
    return protocol.parse(f"NetworkDriver.{method}", json.dumps(fields).encode())


def test_absent_and_null_are_empty() -> None:
    """Go sends null for a nil slice or map; that, and a field that is not there, are read as nothing."""
    bare = CreateEndpoint(NETWORK_ID, ENDPOINT_ID, None, None, {})
    assert parse("CreateEndpoint", **IDS) == bare
    assert parse("CreateEndpoint", **IDS, Interface=None, Options=None) == bare
    options = {"com.docker.network.generic": None}
    assert parse("CreateNetwork", NetworkID=NETWORK_ID, Options=options, IPv4Data=None) == CreateNetwork(
        NETWORK_ID, {}, ()
    )


@pytest.mark.parametrize(("own", "seen"), [({}, "true"), ({"ipv6": "slaac"}, "slaac")])
def test_ipv6_switch(own: dict[str, str], seen: str) -> None:
    """`--ipv6` is the option `ipv6=true`, unless the user gives that option another value."""
    options = {"com.docker.network.enable_ipv6": True, "com.docker.network.generic": own}
    request = parse("CreateNetwork", NetworkID=NETWORK_ID, Options=options)
    assert request == CreateNetwork(NETWORK_ID, {"ipv6": seen}, ())


def test_everything_that_an_endpoint_can_have() -> None:
    """Address, MAC (in lower case), options ("" included), ports and name servers arrive typed."""
    ports = [{"Proto": 6, "Port": 80}, {"Proto": 17, "Port": 53}]
    assert parse(
        "CreateEndpoint",
        **IDS,
        Interface={"Address": "192.0.2.7/24", "AddressIPv6": "", "MacAddress": "02:AB:00:00:00:01"},
        Options={
            "com.docker.network.endpoint.exposedports": ports,
            "com.docker.network.portmap": [{"Proto": 6, "IP": "", "Port": 80, "HostIP": "", "HostPort": 8080}],
            "com.docker.network.endpoint.dnsservers": ["192.0.2.1"],
            "ip": "192.0.2.7",
            "empty": "",
        },
    ) == CreateEndpoint(
        NETWORK_ID,
        ENDPOINT_ID,
        "02:ab:00:00:00:01",
        IPv4Interface("192.0.2.7/24"),
        {"ip": "192.0.2.7", "empty": ""},
        frozenset({(6, 80), (17, 53)}),
        frozenset({(6, 80, 8080)}),
        frozenset({"192.0.2.1"}),
    )


U_UMLAUT = "\xfc"
A_GRAVE = "\xe0"  # 0xc3 0xa0 in UTF-8, of which the kernel takes the second for a blank
IFNAME = "com.docker.network.endpoint.ifname"


@pytest.mark.parametrize("name", ["lan0", "a" * 15, "br-lan.7", U_UMLAUT, "...", ""])
def test_wanted_interface_name(name: str) -> None:
    """Compose's interface_name, whatever the kernel takes; "" is none."""
    request = parse("CreateEndpoint", **IDS, Options={IFNAME: name})
    assert request == CreateEndpoint(NETWORK_ID, ENDPOINT_ID, None, None, {}, interface=name or None)


@pytest.mark.parametrize(
    "name",
    ["a" * 16, U_UMLAUT * 8, A_GRAVE, "a/b", "a:1", "a b", " ", ".", "..", "lan%d"],
)
def test_name_that_no_interface_can_have(name: str) -> None:
    """It is refused here, with the option's name, as the kernel would refuse it after the lease."""
    with pytest.raises(InvalidRequest, match=f"Options.{IFNAME} must be the name of an interface"):
        parse("CreateEndpoint", **IDS, Options={IFNAME: name})


def test_unknown_options_of_the_engine() -> None:
    """What an engine adds one day refuses no start, whatever its form."""
    options = {"com.docker.network.endpoint.new": {"a": [1]}, "com.docker.network.other": None}
    request = parse("CreateEndpoint", **IDS, Options=options)
    assert request == CreateEndpoint(NETWORK_ID, ENDPOINT_ID, None, None, {})


@pytest.mark.parametrize(
    "key", ["/var/run/docker/netns/0123456789ab", "/srv/exec root/netns/0123456789ab", "/netns/1-abcdef.x"]
)
def test_sandbox_key_with_any_exec_root(key: str) -> None:
    """The namespace's folder depends on --exec-root, so only the path's end is fixed."""
    assert parse("Join", **IDS, SandboxKey=key) == Join(NETWORK_ID, ENDPOINT_ID, key)


def test_nothing_to_tell() -> None:
    """An answer without content is an object, as an empty body is an error to the engine."""
    assert protocol.encode(Done()) == {}


@pytest.mark.parametrize(
    ("answer", "interface"),
    [
        (EndpointCreated(None, None), {}),
        (EndpointCreated(IPv4Interface("192.0.2.7/24"), None), {"Address": "192.0.2.7/24"}),
        (EndpointCreated(None, "02:00:00:00:00:01"), {"MacAddress": "02:00:00:00:00:01"}),
    ],
)
def test_a_field_that_docker_filled_is_not_echoed(answer: EndpointCreated, interface: dict[str, str]) -> None:
    """The engine refuses an answer with a field that it had filled in itself."""
    assert protocol.encode(answer) == {"Interface": interface}


def test_joined_with_routes() -> None:
    """A route has its next hop (type 0) or is on the link (type 1); the gateway stands by itself."""
    routes = (
        Route(IPv4Network("198.51.100.0/24"), IPv4Address("192.0.2.9")),
        Route(IPv4Network("203.0.113.0/24")),
    )
    assert protocol.encode(Joined("dh-e", "eth", IPv4Address("192.0.2.1"), routes)) == {
        "InterfaceName": {"SrcName": "dh-e", "DstPrefix": "eth"},
        "Gateway": "192.0.2.1",
        "StaticRoutes": [
            {"Destination": "198.51.100.0/24", "RouteType": 0, "NextHop": "192.0.2.9"},
            {"Destination": "203.0.113.0/24", "RouteType": 1},
        ],
    }


def test_joined_under_a_name() -> None:
    """An engine that takes the whole name ignores the beginning, and an older one the name."""
    answer = protocol.encode(Joined("dh-e", "lan", IPv4Address("192.0.2.1"), (), "lan0"))
    assert answer["InterfaceName"] == {"SrcName": "dh-e", "DstPrefix": "lan", "DstName": "lan0"}


def test_joined_without_gateway() -> None:
    """The engine is told not to add an interface of its own when there is no gateway."""
    assert protocol.encode(Joined("dh-e", "eth", None, ())) == {
        "InterfaceName": {"SrcName": "dh-e", "DstPrefix": "eth"},
        "StaticRoutes": [],
        "DisableGatewayService": True,
    }


def test_oper_values() -> None:
    """Free text goes where `docker network inspect -v` looks for it."""
    assert protocol.encode(OperValues({"mac": "02:00:00:00:00:01"})) == {"Value": {"mac": "02:00:00:00:00:01"}}


def test_an_answer_of_the_ops_surface_is_a_bug() -> None:
    """An answer that belongs to another kind of call is not sent to the engine."""
    with pytest.raises(TypeError, match="WorkerList"):
        protocol.encode(WorkerList(()))
