"""Router advertisements, and the address that follows from one."""

from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network

import pytest

from tests.netns.process.wire6 import INFINITE, Advertisement, dnssl, mtu, prefix, rdnss
from workers.dhcp.errors import Malformed
from workers.dhcp6.router_advertisement import RouterAdvertisement, decode, identifier_of, slaac_lease

ROUTER = IPv6Address("fe80::1")
PUBLIC, PRIVATE = IPv6Network("2001:4860:0:1::/64"), IPv6Network("fd00:77::/64")
DNS = IPv6Address("2001:db8::53")
IDENTIFIER = identifier_of("02:42:c0:a8:4d:05")
BOTH = 0xC0  # on-link and autonomous


def advertised(*options: bytes, flags: int = 0, lifetime: int = 1800) -> RouterAdvertisement:
    """As it came from the router."""
    return decode(Advertisement(flags, lifetime, options).encode(), ROUTER, 255)


def test_all_of_it() -> None:
    """Every value that is read."""
    found = advertised(
        prefix(PUBLIC, 0x80, 600, 300), mtu(1480), rdnss(60, DNS), dnssl(60, "lan.test", "example.org"), flags=0xC8
    )
    assert (found.source, found.managed, found.other, found.lifetime, found.preference) == (ROUTER, True, True, 1800, 1)
    (public,) = found.prefixes
    assert (public.network, public.on_link, public.autonomous, public.valid, public.preferred) == (
        PUBLIC,
        True,
        False,
        600,
        300,
    )
    assert (found.mtu, found.dns, found.search) == (1480, (DNS,), ("lan.test", "example.org"))


@pytest.mark.parametrize(("flags", "managed", "other"), [(0, False, False), (0x40, False, True), (0x80, True, False)])
def test_flags(flags: int, managed: bool, other: bool) -> None:
    """M and O."""
    found = advertised(flags=flags)
    assert (found.managed, found.other) == (managed, other)


@pytest.mark.parametrize(("bits", "preference"), [(0, 0), (0x08, 1), (0x18, -1), (0x10, 0)])
def test_preference(bits: int, preference: int) -> None:
    """RFC 4191: high, low, and the reserved value as medium; one that is no default router has none."""
    assert advertised(flags=bits).preference == preference
    assert advertised(flags=bits, lifetime=0).preference == 0


@pytest.mark.parametrize(("source", "hop_limit"), [("2001:db8::1", 255), ("fe80::1", 254), ("::", 255)])
def test_not_from_a_router_of_the_link(source: str, hop_limit: int) -> None:
    """RFC 4861 section 6.1.2: a link-local source, and no router in between."""
    with pytest.raises(Malformed, match="does not come from a router of this link"):
        decode(Advertisement().encode(), IPv6Address(source), hop_limit)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        Advertisement().encode()[:15],
        b"\x85" + Advertisement().encode()[1:],
        b"\x86\1" + Advertisement().encode()[2:],
        Advertisement(options=(b"\1\0" + bytes(6),)).encode(),
        Advertisement(options=(mtu(1500)[:-1],)).encode(),
        Advertisement(options=(b"\1",)).encode(),
    ],
)
def test_malformed(message: bytes) -> None:
    """Too short, another message, and an option without a length or beyond the end (RFC 4861 section 6.1.2)."""
    with pytest.raises(Malformed):
        decode(message, ROUTER, 255)


def test_values_that_are_ignored() -> None:
    """An MTU that no link has, lifetimes the wrong way round, a link-local prefix, lists that have run out."""
    options = (
        mtu(1279),
        mtu(65536),
        prefix(PUBLIC, BOTH, 100, 200),
        prefix(IPv6Network("fe80::/64"), BOTH, 200, 100),
        rdnss(0, DNS),
        dnssl(0, "lan.test"),
        b"\xc8\1" + bytes(6),
    )
    assert advertised(*options) == RouterAdvertisement(ROUTER, False, False, 1800)


def test_slaac() -> None:
    """The address is that of RFC 4291, appendix A, in the advertised prefix, with its lifetimes."""
    found = advertised(prefix(PUBLIC, BOTH, 600, 300), rdnss(60, DNS), dnssl(60, "lan.test"))
    lease = slaac_lease(found, IDENTIFIER, 1000.0)
    assert lease is not None
    assert str(lease.address) == "2001:4860:0:1:42:c0ff:fea8:4d05/128"
    assert (lease.duration, lease.preferred, lease.obtained, lease.router) == (600, 300, 1000.0, ROUTER)
    assert (lease.dns, lease.search, lease.slaac, lease.server) == ((DNS,), ("lan.test",), True, b"")


def test_no_default_router() -> None:
    """A router that is none for other links has a prefix for an address, but the container gets no way out over it."""
    lease = slaac_lease(advertised(prefix(PUBLIC, BOTH, 600, 300), lifetime=0), IDENTIFIER, 0.0)
    assert lease is not None
    assert lease.address.ip in PUBLIC
    assert lease.router is None


@pytest.mark.parametrize(
    "option",
    [
        prefix(PUBLIC, 0x80, 600, 300),
        prefix(PUBLIC, BOTH, 0, 0),
        prefix(IPv6Network("2001:db8::/56"), BOTH, 600, 300),
    ],
)
def test_no_slaac(option: bytes) -> None:
    """A prefix that is not autonomous, one that has ended, one of another length."""
    assert slaac_lease(advertised(option), IDENTIFIER, 0.0) is None


def test_which_prefix() -> None:
    """One of the internet rather than a private one, and one that is not deprecated before all."""
    public, private = prefix(PUBLIC, BOTH, 600, 300), prefix(PRIVATE, BOTH, 600, 300)
    lease = slaac_lease(advertised(private, public), IDENTIFIER, 0.0)
    assert lease is not None
    assert lease.address.ip in PUBLIC
    lease = slaac_lease(advertised(prefix(PUBLIC, BOTH, 600, 0), private), IDENTIFIER, 0.0)
    assert lease is not None
    assert lease.address.ip in PRIVATE


def test_for_ever() -> None:
    """Infinite lifetimes."""
    lease = slaac_lease(advertised(prefix(PUBLIC, BOTH, INFINITE, INFINITE)), IDENTIFIER, 0.0)
    assert lease is not None
    assert (lease.duration, lease.preferred, lease.expires, lease.t1) == (None, None, None, None)
    assert replace(lease, obtained=5.0).runs(1e12)


def test_interface_identifier() -> None:
    """The universal bit is turned over."""
    assert identifier_of("00:11:22:33:44:55") == 0x0211_22FF_FE33_4455
