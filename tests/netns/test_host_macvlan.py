"""The host's own macvlan in a real kernel: what it does not do, its routes, and that the sweep knows it."""

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from tests.netns.lan import CARD, SPEC, run
from workers.contract.link import LinkKind, LinkSpec
from workers.link.host_macvlan import HostMacvlan, reach
from workers.link.kind import KINDS
from workers.netlink.operations import Netlink

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("machine")]

MARK = 7
NAME = "dh-host"
OWN = IPv4Address("192.0.2.9")
CONTAINERS = tuple(IPv4Address(f"192.0.2.{number}") for number in (1, 2, 3))


@pytest.fixture(name="_link", autouse=True)
def _made(machine: None) -> Iterator[None]:
    link = LinkSpec(LinkKind.MACVLAN, CARD, on_host=True)
    made = HostMacvlan(replace(SPEC, endpoint_id="host", link=link, mac="02:00:00:00:00:5f", mark=MARK))
    with Netlink() as netlink:
        made.make(netlink)
    yield
    with Netlink() as netlink:
        made.remove(netlink)
        assert netlink.link(NAME) is None


def setting(name: str) -> int:
    """The kernel's, of the link."""
    return int(Path("/proc/sys/net", name % f"conf/{NAME}").read_text())


def test_modest() -> None:
    """It makes no IPv6 address, answers ARP for its own addresses alone, and asks in the name of these."""
    assert setting("ipv6/%s/disable_ipv6") == 1
    assert "inet6" not in run(f"ip addr show dev {NAME}")
    assert setting("ipv4/%s/arp_ignore") == 1
    assert setting("ipv4/%s/arp_announce") == 2


def test_routes_to_containers() -> None:
    """They are what is wanted, whatever there was before; a route that a user has set stays."""
    one, two, three = CONTAINERS
    run(f"ip addr add {OWN}/32 dev {NAME}")
    run(f"ip route add 10.8.0.0/16 dev {NAME}")

    reach(NAME, OWN, {one, two})
    reach(NAME, OWN, {two, three})

    shown = [line.strip() for line in run(f"ip -4 route show dev {NAME}").splitlines()]
    there = [f"{address} proto static scope link src {OWN}" for address in (two, three)]
    assert sorted(shown) == ["10.8.0.0/16 scope link", *there]


def test_left_behind() -> None:
    """One that an instance has left whose state is lost makes room for the next one's."""
    link = LinkSpec(LinkKind.MACVLAN, CARD, on_host=True)
    again = HostMacvlan(replace(SPEC, endpoint_id="host", link=link, mac="02:00:00:00:00:5f", mark=MARK + 1))
    with Netlink() as netlink:
        again.make(netlink)
        assert netlink.require_link(NAME).group == MARK + 1


def test_unused() -> None:
    """The sweep removes it if its network is not in the state any more."""
    with Netlink() as netlink:
        links = netlink.links()
    assert [link.name for kind in KINDS.values() for link in kind.unused(links, MARK)] == [NAME]
    assert not [link.name for kind in KINDS.values() for link in kind.unused(links, MARK + 1)]
