"""From udhcpc's variables to addresses and routes: lists as they should be, and as they should not."""

from ipaddress import IPv4Address, IPv4Network

import pytest

from workers.contract.lease import Lease, Route
from workers.dhcp4.lease_parser import MAX_ITEMS, parse_lease


def _ip(*texts: str) -> tuple[IPv4Address, ...]:
    return tuple(IPv4Address(text) for text in texts)


def _route(destination: str, hop: str | None) -> Route:
    return Route(IPv4Network(destination), IPv4Address(hop) if hop else None)


def _parsed(**values: str) -> Lease:
    return parse_lease({"ip": "192.0.2.10", **values}, 0.0)


@pytest.mark.parametrize("field", ["router", "dns"])
@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        ("", ()),
        ("192.0.2.1", ("192.0.2.1",)),
        ("192.0.2.2 192.0.2.1", ("192.0.2.2", "192.0.2.1")),
        ("192.0.2.1 192.0.2.1", ("192.0.2.1",)),
        ("0.0.0.0 192.0.2.1 224.0.0.1 x 127.0.0.1 255.255.255.255", ("192.0.2.1",)),
        ("192.0.2.1\t\n192.0.2.2", ("192.0.2.1", "192.0.2.2")),
        ("192.0.2.1,192.0.2.2", ()),
        ("$(reboot) ;192.0.2.1", ()),
    ],
)
def test_addresses(field: str, text: str, addresses: tuple[str, ...]) -> None:
    """Of a list of addresses those that can be are taken, in their order and once each."""
    lease = _parsed(**{field: text})
    assert (lease.routers if field == "router" else lease.dns) == _ip(*addresses)


@pytest.mark.parametrize(
    ("text", "routes"),
    [
        ("", ()),
        ("10.1.0.0/16 192.0.2.1", (_route("10.1.0.0/16", "192.0.2.1"),)),
        ("0.0.0.0/0 192.0.2.1", (_route("0.0.0.0/0", "192.0.2.1"),)),
        ("10.1.0.0/16 0.0.0.0", (_route("10.1.0.0/16", None),)),
        ("10.1.2.3/16 192.0.2.1", (_route("10.1.0.0/16", "192.0.2.1"),)),
        ("10.1.0.0/16 192.0.2.1 10.1.0.0/16 192.0.2.1", (_route("10.1.0.0/16", "192.0.2.1"),)),
        ("10.1.0.0/33 192.0.2.1 10.2.0.0/16 192.0.2.1", (_route("10.2.0.0/16", "192.0.2.1"),)),
        ("10.1.0.0/16 224.0.0.1 10.2.0.0/16 192.0.2.1", (_route("10.2.0.0/16", "192.0.2.1"),)),
        ("10.1.0.0/16 192.0.2.1 10.2.0.0/16", (_route("10.1.0.0/16", "192.0.2.1"),)),
        ("10.1.0.0/16 via 192.0.2.1", ()),
        ("x", ()),
    ],
)
@pytest.mark.parametrize("field", ["staticroutes", "msstaticroutes"])
def test_classless(field: str, text: str, routes: tuple[Route, ...]) -> None:
    """Pairs of destination and hop, 0.0.0.0 for the link itself (RFC 3442); one that is malformed costs itself only."""
    assert _parsed(**{field: text}).classless == routes


def test_classless_before_microsofts() -> None:
    """Option 249 counts only where there is no option 121."""
    lease = _parsed(staticroutes="10.1.0.0/16 192.0.2.1", msstaticroutes="10.2.0.0/16 192.0.2.1")
    assert lease.classless == (_route("10.1.0.0/16", "192.0.2.1"),)


@pytest.mark.parametrize(
    ("text", "routes"),
    [
        ("10.0.0.0/192.0.2.1", (_route("10.0.0.0/8", "192.0.2.1"),)),
        ("172.16.0.0/192.0.2.1", (_route("172.16.0.0/16", "192.0.2.1"),)),
        ("198.51.100.0/192.0.2.1", (_route("198.51.100.0/24", "192.0.2.1"),)),
        ("198.51.100.7/192.0.2.1", (_route("198.51.100.7/32", "192.0.2.1"),)),
        ("0.0.0.0/192.0.2.1", ()),
        (
            "198.51.100.7/192.0.2.1 198.51.100.8/192.0.2.2",
            (_route("198.51.100.7/32", "192.0.2.1"), _route("198.51.100.8/32", "192.0.2.2")),
        ),
        ("198.51.100.7/255.255.255.255 x/192.0.2.1 198.51.100.8/", ()),
        ("198.51.100.7 192.0.2.1", ()),
    ],
)
def test_static(text: str, routes: tuple[Route, ...]) -> None:
    """Pairs of host and hop; a network of its class where the host part is zero; never the default (RFC 2132)."""
    assert _parsed(routes=text).static == routes


@pytest.mark.parametrize(
    ("field", "item"),
    [
        ("router", "10.{}.{}.1"),
        ("dns", "10.{}.{}.1"),
        ("staticroutes", "10.{}.{}.0/24 192.0.2.1"),
        ("routes", "10.{}.{}.1/192.0.2.1"),
    ],
)
def test_long_lists(field: str, item: str) -> None:
    """A list is taken no further than any sane server goes."""
    lease = _parsed(**{field: " ".join(item.format(n // 250, n % 250) for n in range(5000))})
    taken = {"router": lease.routers, "dns": lease.dns, "staticroutes": lease.classless, "routes": lease.static}
    assert len(taken[field]) == MAX_ITEMS
