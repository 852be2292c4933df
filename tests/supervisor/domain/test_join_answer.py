"""Join's answer: what the engine will accept of what the server and the bridge offer."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

import pytest

from supervisor.contract.messages import Joined
from supervisor.domain.join_answer import join_answer
from workers.contract.client_identity import ClientIdentity
from workers.contract.lease import Lease, Route
from workers.contract.link import LinkKind, LinkSpec
from workers.contract.messages import NO_GATEWAY, EndpointSpec

BR0 = LinkSpec(LinkKind.BRIDGE, "br0")
ROUTER = IPv4Address("192.0.2.1")
OTHER_ROUTER = IPv4Address("192.0.2.2")
FAR_ROUTER = IPv4Address("198.51.100.1")
STRANGER = IPv4Address("203.0.113.1")
OFFICE = IPv4Network("10.1.0.0/16")
LAB = IPv4Network("10.2.0.0/16")
DEFAULT = IPv4Network("0.0.0.0/0")
SUBNET = IPv4Network("192.0.2.0/24")


def _answer(
    *,
    routers: tuple[IPv4Address, ...] = (),
    classless: tuple[Route, ...] = (),
    static: tuple[Route, ...] = (),
    parent_routes: tuple[Route, ...] = (),
    skip_routes: bool = False,
    gateway: IPv4Address | None = None,
    interface: str | None = None,
) -> Joined:
    mac = "02:00:00:00:00:01"
    spec = EndpointSpec("n" * 64, "e" * 64, BR0, mac, ClientIdentity.of_mac(mac), 10.0, skip_routes=skip_routes)
    spec = replace(spec, gateway=gateway)
    lease = Lease(IPv4Interface("192.0.2.10/24"), ROUTER, 600, 0.0, routers=routers, classless=classless, static=static)
    return join_answer(spec, lease, parent_routes, interface)


def test_link() -> None:
    """The link to be moved is the container end, and is called ethN in the container."""
    answer = _answer()
    assert (answer.source, answer.prefix) == ("dc-eeeeeeeeeeee", "eth")


@pytest.mark.parametrize(
    ("wanted", "prefix"),
    [("lan0", "lan"), ("br-0", "br-"), ("eth0", "eth")]
    + [(other, "eth") for other in ("lan", "lan1", "lan10", "lan00", "0", "eth3", "\N{GREEK SMALL LETTER LAMDA}1")],
)
def test_wanted_name(wanted: str, prefix: str) -> None:
    """An engine that takes a whole name gets it; others the beginning of one that they surely make of it."""
    answer = _answer(interface=wanted)
    assert (answer.name, answer.prefix) == (wanted, prefix)


@pytest.mark.parametrize(
    ("routers", "classless", "gateway"),
    [
        ((), (), None),
        ((ROUTER, OTHER_ROUTER), (), ROUTER),
        ((ROUTER,), (Route(DEFAULT, OTHER_ROUTER),), OTHER_ROUTER),
        ((ROUTER,), (Route(OFFICE, OTHER_ROUTER),), None),
        ((IPv4Address("192.0.2.10"), OTHER_ROUTER), (), OTHER_ROUTER),
    ],
    ids=["none", "the first of option 3", "option 121 wins", "option 121 without a default", "not our own address"],
)
def test_gateway(routers: tuple[IPv4Address, ...], classless: tuple[Route, ...], gateway: IPv4Address | None) -> None:
    """The gateway is option 3's first, unless there is an option 121, which replaces it altogether (RFC 3442)."""
    assert _answer(routers=routers, classless=classless).gateway == gateway


@pytest.mark.parametrize("classless", [(), (Route(DEFAULT, ROUTER), Route(OFFICE, ROUTER))])
def test_gateway_of_the_user(classless: tuple[Route, ...]) -> None:
    """It replaces the server's of either option, and outside of the subnet it has a route; or there is none."""
    routes = tuple(route for route in classless if route.destination != DEFAULT)
    answer = _answer(routers=(ROUTER,), classless=classless, gateway=FAR_ROUTER)
    assert answer.gateway == FAR_ROUTER
    assert answer.routes == (Route(IPv4Network("198.51.100.1/32")), *routes)
    answer = _answer(routers=(ROUTER,), classless=classless, gateway=NO_GATEWAY)
    assert (answer.gateway, answer.routes) == (None, routes)


def test_gateway_off_link() -> None:
    """A gateway outside of the subnet comes with a route to itself, on the link."""
    answer = _answer(routers=(FAR_ROUTER,))
    assert answer.gateway == FAR_ROUTER
    assert answer.routes == (Route(IPv4Network("198.51.100.1/32")),)


def test_gateway_off_link_without_routes() -> None:
    """skip_routes drops the lease's routes but not the one without which the gateway is out of reach."""
    answer = _answer(classless=(Route(DEFAULT, FAR_ROUTER), Route(OFFICE, ROUTER)), skip_routes=True)
    assert answer.gateway == FAR_ROUTER
    assert answer.routes == (Route(IPv4Network("198.51.100.1/32")),)


@pytest.mark.parametrize(
    ("classless", "expected"),
    [
        ((Route(OFFICE, ROUTER),), (Route(OFFICE, ROUTER),)),
        ((Route(OFFICE),), (Route(OFFICE),)),
        ((Route(OFFICE, STRANGER),), ()),
        ((Route(OFFICE, FAR_ROUTER), Route(SUBNET)), ()),
        ((Route(LAB, IPv4Address("10.1.2.3")), Route(OFFICE)), (Route(LAB, IPv4Address("10.1.2.3")), Route(OFFICE))),
        ((Route(OFFICE, IPv4Address("192.0.2.10")),), ()),
        ((Route(SUBNET), Route(OFFICE, ROUTER)), (Route(OFFICE, ROUTER),)),
        ((Route(OFFICE, ROUTER), Route(OFFICE, ROUTER)), (Route(OFFICE, ROUTER),)),
    ],
    ids=[
        "over a router",
        "on the link",
        "out of reach",
        "out of reach, beside the subnet",
        "reached over another route",
        "over ourselves",
        "the subnet is not repeated",
        "said twice",
    ],
)
def test_routes(classless: tuple[Route, ...], expected: tuple[Route, ...]) -> None:
    """The engine is told of the routes whose next hop the link leads to, and of no other: it would fail the start."""
    assert _answer(classless=classless).routes == expected


def test_classless_replaces_static() -> None:
    """Option 33 counts only where there is no option 121 (RFC 3442)."""
    static = (Route(LAB, ROUTER),)
    assert _answer(static=static).routes == static
    assert _answer(static=static, classless=(Route(OFFICE, ROUTER),)).routes == (Route(OFFICE, ROUTER),)


def test_skip_routes() -> None:
    """skip_routes drops the lease's routes; the gateway stays."""
    answer = _answer(routers=(ROUTER,), static=(Route(LAB, ROUTER),), skip_routes=True)
    assert answer.gateway == ROUTER
    assert answer.routes == ()


def test_parent_routes() -> None:
    """The bridge's static routes follow the lease's, once each, and under the same rule of reach."""
    parent_routes = (Route(OFFICE, ROUTER), Route(LAB, OTHER_ROUTER), Route(IPv4Network("10.3.0.0/16"), STRANGER))
    answer = _answer(static=(Route(OFFICE, ROUTER),), parent_routes=parent_routes)
    assert answer.routes == (Route(OFFICE, ROUTER), Route(LAB, OTHER_ROUTER))
