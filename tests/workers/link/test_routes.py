"""The difference between a link and a lease, as a table."""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

import pytest
from msgspec.structs import replace

from workers.contract.lease import DEFAULT_DESTINATION, Lease, Route
from workers.link.routes import Difference, LinkState, difference, lost, wanted_routes
from workers.netlink.rtnetlink import RTPROT_DHCP, RTPROT_KERNEL, KernelRoute, describe

RTPROT_BOOT = 3  # the engine's routes and those of a plain `ip route add`
LINK = 7


def lease(address: str = "10.0.0.5/24", router: str | None = "10.0.0.1", *routes: Route) -> Lease:
    default = () if router is None else (route("0.0.0.0/0", router),)
    return Lease(
        address=IPv4Interface(address),
        server=IPv4Address("10.0.0.1"),
        duration=120,
        obtained=0.0,
        routers=() if router is None else (IPv4Address(router),),
        classless=(*routes, *default) if routes else (),
    )


def route(destination: str, next_hop: str | None = None) -> Route:
    return Route(IPv4Network(destination), IPv4Address(next_hop) if next_hop else None)


def has(destination: str, next_hop: str | None = None, protocol: int = RTPROT_BOOT) -> KernelRoute:
    return KernelRoute(route(destination, next_hop), index=LINK, protocol=protocol)


def state(*routes: KernelRoute, addresses: tuple[str, ...] = ("10.0.0.5/24",), elsewhere: str = "") -> LinkState:
    """A link with these routes, and with the connected one of each address."""
    interfaces = tuple(IPv4Interface(a) for a in addresses)
    connected = tuple(has(str(a.network), None, RTPROT_KERNEL) for a in interfaces if a.network.prefixlen < 32)
    return LinkState(interfaces, connected + routes, frozenset(IPv4Network(e) for e in elsewhere.split()))


GATEWAY = has("0.0.0.0/0", "10.0.0.1")
FORMER, NOTHING = lease(), Difference()
USERS = has("172.20.0.0/16", "10.0.0.9")
FAR, NEAR = route("10.9.0.0/16", "10.0.0.2"), route("10.8.0.0/16")


@dataclass(frozen=True)
class Case:
    """`expected` is what has to be done; by default nothing."""

    name: str
    state: LinkState
    lease: Lease
    previous: Lease | None = FORMER
    expected: Difference = NOTHING
    skip_routes: bool = False
    joined: IPv4Address | None = None


CASES = [
    Case("a confirmed lease changes nothing", state(GATEWAY, USERS), lease()),
    Case(
        "a first lease brings address and gateway",
        state(addresses=()),
        lease(),
        previous=None,
        expected=Difference(IPv4Interface("10.0.0.5/24"), (GATEWAY.route,)),
    ),
    Case(
        "a new gateway replaces the old one",
        state(GATEWAY, USERS),
        lease(router="10.0.0.254"),
        expected=Difference(add_routes=(route("0.0.0.0/0", "10.0.0.254"),), delete_routes=(GATEWAY,)),
    ),
    Case(
        "a default route marked proto dhcp is ours even if no lease is known",
        state(has("0.0.0.0/0", "10.0.0.3", RTPROT_DHCP)),
        lease(),
        previous=None,
        expected=Difference(add_routes=(GATEWAY.route,), delete_routes=(has("0.0.0.0/0", "10.0.0.3", RTPROT_DHCP),)),
    ),
    Case("the user's own default route stays", state(has("0.0.0.0/0", "10.0.0.7")), lease(router="10.0.0.254")),
    Case(
        "a former gateway that Docker has set again is replaced",
        state(GATEWAY, USERS),
        lease(router="10.0.0.254"),
        previous=lease(router="10.0.0.254"),
        joined=IPv4Address("10.0.0.1"),
        expected=Difference(add_routes=(route("0.0.0.0/0", "10.0.0.254"),), delete_routes=(GATEWAY,)),
    ),
    Case(
        "a former gateway that Docker has set again goes where the new one is still there",
        state(GATEWAY, replace(has("0.0.0.0/0", "10.0.0.254", RTPROT_DHCP), priority=100)),
        lease(router="10.0.0.254"),
        previous=lease(router="10.0.0.254"),
        joined=IPv4Address("10.0.0.1"),
        expected=Difference(delete_routes=(GATEWAY,)),
    ),
    Case("a default route that the user removed does not come back", state(USERS), lease()),
    Case(
        "a gateway is added when the lease had none before",
        state(),
        lease(),
        previous=lease(router=None),
        expected=Difference(add_routes=(GATEWAY.route,)),
    ),
    Case(
        "a gateway that the lease no longer has goes",
        state(GATEWAY, USERS),
        lease(router=None),
        expected=Difference(delete_routes=(GATEWAY,)),
    ),
    Case(
        "the default route of another network is left alone",
        state(elsewhere="0.0.0.0/0"),
        lease(router="10.0.0.254"),
        previous=lease(router=None),
    ),
    Case(
        "another address of the same subnet",
        state(GATEWAY, USERS),
        lease("10.0.0.6/24"),
        expected=Difference(add_address=IPv4Interface("10.0.0.6/24"), delete_address=IPv4Interface("10.0.0.5/24")),
    ),
    Case(
        "another prefix length of the same address",
        state(GATEWAY),
        lease("10.0.0.5/16"),
        expected=Difference(add_address=IPv4Interface("10.0.0.5/16"), delete_address=IPv4Interface("10.0.0.5/24")),
    ),
    Case(
        "another subnet",
        state(GATEWAY, USERS),
        lease("10.1.0.5/24", "10.1.0.1"),
        expected=Difference(
            IPv4Interface("10.1.0.5/24"),
            (route("0.0.0.0/0", "10.1.0.1"),),
            (GATEWAY,),
            IPv4Interface("10.0.0.5/24"),
        ),
    ),
    Case(
        "the user's second address stays",
        state(GATEWAY, addresses=("10.0.0.5/24", "10.0.0.77/24")),
        lease("10.0.0.6/24"),
        expected=Difference(add_address=IPv4Interface("10.0.0.6/24"), delete_address=IPv4Interface("10.0.0.5/24")),
    ),
    Case(
        "a missing connected route comes back",
        LinkState((IPv4Interface("10.0.0.5/24"),), (GATEWAY,)),
        lease(),
        expected=Difference(add_routes=(route("10.0.0.0/24"),)),
    ),
    Case(
        "classless routes come, those on the link first",
        state(GATEWAY),
        lease("10.0.0.5/24", "10.0.0.1", FAR, NEAR),
        expected=Difference(add_routes=(NEAR, FAR)),
    ),
    Case(
        "classless routes go, those on the link last",
        state(GATEWAY, has("10.8.0.0/16"), has("10.9.0.0/16", "10.0.0.2")),
        lease(),
        previous=lease("10.0.0.5/24", "10.0.0.1", FAR, NEAR),
        expected=Difference(delete_routes=(has("10.9.0.0/16", "10.0.0.2"), has("10.8.0.0/16"))),
    ),
    Case(
        "a route of the user's for the same destination wins",
        state(GATEWAY, has("10.9.0.0/16", "10.0.0.33")),
        lease("10.0.0.5/24", "10.0.0.1", FAR),
    ),
    Case(
        "a destination that another network holds is not contested",
        state(GATEWAY, elsewhere="10.9.0.0/16"),
        lease("10.0.0.5/24", "10.0.0.1", FAR),
    ),
    Case(
        "skip_routes leaves the gateway and nothing else",
        state(GATEWAY),
        lease("10.0.0.5/24", "10.0.0.254", FAR),
        expected=Difference(add_routes=(route("0.0.0.0/0", "10.0.0.254"),), delete_routes=(GATEWAY,)),
        skip_routes=True,
    ),
    Case(
        "skip_routes does not take a route of the user's for one of ours",
        state(GATEWAY, has("10.9.0.0/16", "10.0.0.2")),
        lease(),
        previous=lease("10.0.0.5/24", "10.0.0.1", FAR),
        skip_routes=True,
    ),
    Case(
        "a /32 lease gets a host route to its gateway",
        state(addresses=("10.0.0.5/32",)),
        lease("10.0.0.5/32"),
        previous=lease("10.0.0.5/32", None),
        expected=Difference(add_routes=(route("10.0.0.1/32"), GATEWAY.route)),
    ),
    Case(
        "the host route goes with the gateway that it was for, after it",
        state(has("10.0.0.1/32"), GATEWAY, addresses=("10.0.0.5/32",)),
        lease("10.0.0.5/32", "10.0.0.2"),
        previous=lease("10.0.0.5/32"),
        expected=Difference(
            add_routes=(route("10.0.0.2/32"), route("0.0.0.0/0", "10.0.0.2")),
            delete_routes=(GATEWAY, has("10.0.0.1/32")),
        ),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_difference(case: Case) -> None:
    """Each situation leads to exactly the changes that the lease asks for."""
    assert (
        difference(case.state, case.previous, case.lease, skip_routes=case.skip_routes, joined=case.joined)
        == case.expected
    )


def test_host_route_is_spared_where_a_classless_route_covers_the_next_hop() -> None:
    """A gateway inside an on-link classless route is reachable already."""
    named = lease("10.0.0.5/32", "192.0.2.1", route("192.0.2.0/24"))

    assert wanted_routes(named, skip_routes=False) == (route("192.0.2.0/24"), route("0.0.0.0/0", "192.0.2.1"))


def test_connected_network_named_by_the_server_is_not_added_twice() -> None:
    """An on-link classless route for the lease's own subnet is the one that comes with the address."""
    named = lease("10.0.0.5/24", "10.0.0.1", route("10.0.0.0/24"))

    assert wanted_routes(named, skip_routes=False) == (route("0.0.0.0/0", "10.0.0.1"),)


def test_lost_routes_are_those_that_vanished_unasked() -> None:
    """Neither a route that was to go nor the kernel's connected one is brought back."""
    pinned = replace(USERS, source=IPv4Address("10.0.0.5"))
    before = state(GATEWAY, pinned, has("10.8.0.0/16"))
    after = state(has("10.8.0.0/16"), addresses=("10.1.0.5/24",))

    assert lost(before, after, Difference(delete_routes=(GATEWAY,))) == (pinned,)


@pytest.mark.parametrize(
    ("subject", "text"),
    [
        (Route(DEFAULT_DESTINATION, IPv4Address("10.0.0.1")), "default route via 10.0.0.1"),
        (FAR, "route to 10.9.0.0/16 via 10.0.0.2"),
        (NEAR, "route to 10.8.0.0/16 on the link"),
    ],
)
def test_description(subject: Route, text: str) -> None:
    """Messages name a route as `ip route` users know it."""
    assert describe(subject) == text
