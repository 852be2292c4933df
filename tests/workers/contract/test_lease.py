"""What follows from a lease: its end, its gateway, its routes."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

import pytest

from workers.contract.lease import DEFAULT_DESTINATION, Lease, Route
from workers.system.clock import boottime

OWN = IPv4Address("192.0.2.10")
ROUTER, OTHER = IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2")
OFFICE, LAB = IPv4Network("10.1.0.0/16"), IPv4Network("10.2.0.0/16")


def _lease(
    *,
    duration: int | None = 600,
    routers: tuple[IPv4Address, ...] = (),
    classless: tuple[Route, ...] = (),
    static: tuple[Route, ...] = (),
) -> Lease:
    return Lease(IPv4Interface((OWN, 24)), ROUTER, duration, 100.0, routers, classless, static)


@pytest.mark.parametrize(("duration", "expires"), [(600, 700.0), (None, None)])
def test_expires(duration: int | None, expires: float | None) -> None:
    """The end is the duration after the ACK; a lease without end has none."""
    assert _lease(duration=duration).expires == expires


@pytest.mark.parametrize(
    ("routers", "classless", "gateway"),
    [
        ((), (), None),
        ((ROUTER, OTHER), (), ROUTER),
        ((OWN, OTHER), (), OTHER),
        ((OWN,), (), None),
        ((ROUTER,), (Route(DEFAULT_DESTINATION, OTHER),), OTHER),
        ((ROUTER,), (Route(OFFICE, OTHER),), None),
        ((ROUTER,), (Route(DEFAULT_DESTINATION),), None),
        ((), (Route(DEFAULT_DESTINATION, OWN), Route(DEFAULT_DESTINATION, OTHER)), OTHER),
    ],
)
def test_gateway(routers: tuple[IPv4Address, ...], classless: tuple[Route, ...], gateway: IPv4Address | None) -> None:
    """Option 121 replaces option 3, default or not (RFC 3442); our own address leads nowhere."""
    assert _lease(routers=routers, classless=classless).gateway == gateway


def test_search_list() -> None:
    """Option 119 replaces the domain (option 15), and without either nothing is searched."""
    plain = _lease()
    assert plain.search_list == ()
    assert replace(plain, domain="lan").search_list == ("lan",)
    assert replace(plain, domain="lan", search=("attic", "lan")).search_list == ("attic", "lan")


@pytest.mark.parametrize(
    ("classless", "static", "routes"),
    [
        ((), (), ()),
        ((), (Route(OFFICE, ROUTER),), (Route(OFFICE, ROUTER),)),
        ((Route(LAB, ROUTER),), (Route(OFFICE, ROUTER),), (Route(LAB, ROUTER),)),
        ((Route(DEFAULT_DESTINATION, ROUTER), Route(LAB)), (), (Route(LAB),)),
        ((Route(LAB, OWN), Route(OFFICE, ROUTER)), (), (Route(OFFICE, ROUTER),)),
        ((Route(DEFAULT_DESTINATION, ROUTER),), (Route(OFFICE, ROUTER),), ()),
    ],
)
def test_routes(classless: tuple[Route, ...], static: tuple[Route, ...], routes: tuple[Route, ...]) -> None:
    """Option 121 replaces option 33 (RFC 3442); the default route is the gateway's matter."""
    assert _lease(classless=classless, static=static).routes == routes


def test_boottime() -> None:
    """It goes on."""
    first = boottime()
    assert boottime() >= first > 0


@pytest.mark.parametrize(
    ("duration", "now", "overdue"),
    [(16, 100.0, 115.0), (800, 100.0, 805.0), (80, 178.0, 183.0), (None, 100.0, None)],
    ids=["short", "long", "taken over late", "infinite"],
)
def test_overdue(duration: int | None, now: float, overdue: float | None) -> None:
    """Five seconds after T2, or half of what is left; a successor has as long for its own question."""
    assert _lease(duration=duration).overdue_at(now) == overdue


@pytest.mark.parametrize("gateway", [OTHER, None])
@pytest.mark.parametrize(
    ("classless", "static"),
    [
        ((), ()),
        ((), (Route(OFFICE, ROUTER),)),
        ((Route(DEFAULT_DESTINATION, ROUTER),), (Route(OFFICE, ROUTER),)),
        ((Route(DEFAULT_DESTINATION, ROUTER), Route(LAB)), (Route(OFFICE, ROUTER),)),
        ((Route(LAB),), ()),
    ],
)
def test_with_gateway(gateway: IPv4Address | None, classless: tuple[Route, ...], static: tuple[Route, ...]) -> None:
    """The user's gateway replaces option 3's and option 121's; the routes stay those that they were."""
    lease = _lease(routers=(ROUTER,), classless=classless, static=static)
    changed = lease.with_gateway(gateway)
    assert (changed.gateway, changed.routes) == (gateway, lease.routes)
