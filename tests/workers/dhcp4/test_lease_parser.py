"""From udhcpc's variables to a lease: each field as it should be, and as it should not."""

from ipaddress import IPv4Address, IPv4Interface, IPv4Network

import pytest

from tests.workers.dhcp4.hostile import texts
from workers.contract.lease import Lease, Route
from workers.dhcp.errors import InvalidLease
from workers.dhcp4.lease_parser import parse_lease

# What udhcpc sets for a complete answer of dnsmasq's.
COMPLETE = {
    "interface": "dc-0123456789ab",
    "ip": "192.0.2.10",
    "mask": "24",
    "subnet": "255.255.255.0",
    "router": "192.0.2.1 192.0.2.2",
    "dns": "192.0.2.53 198.51.100.53",
    "domain": "lan.example",
    "lease": "3600",
    "serverid": "192.0.2.1",
    "mtu": "1400",
    "routes": "10.1.0.0/192.0.2.1",
    "staticroutes": "10.2.0.0/16 192.0.2.2 0.0.0.0/0 192.0.2.1",
    "opt53": "05",
}
UNSPECIFIED = str(IPv4Address(0))
FIELDS = tuple(name for name in COMPLETE if name not in ("interface", "opt53"))


def _ip(*texts: str) -> tuple[IPv4Address, ...]:
    return tuple(IPv4Address(text) for text in texts)


def _route(destination: str, hop: str | None) -> Route:
    return Route(IPv4Network(destination), IPv4Address(hop) if hop else None)


def _parsed(**values: str) -> Lease:
    return parse_lease({"ip": "192.0.2.10", **values}, 0.0)


def test_complete() -> None:
    """Each variable becomes its field."""
    assert parse_lease(COMPLETE, 12.5) == Lease(
        address=IPv4Interface("192.0.2.10/24"),
        server=IPv4Address("192.0.2.1"),
        duration=3600,
        obtained=12.5,
        routers=_ip("192.0.2.1", "192.0.2.2"),
        classless=(_route("10.2.0.0/16", "192.0.2.2"), _route("0.0.0.0/0", "192.0.2.1")),
        static=(_route("10.1.0.0/32", "192.0.2.1"),),
        dns=_ip("192.0.2.53", "198.51.100.53"),
        domain="lan.example",
        mtu=1400,
    )


def test_bare() -> None:
    """An address alone is a lease: for an hour, as udhcpc takes it, with the mask of its class."""
    assert parse_lease({"ip": "192.0.2.10"}, 0.0) == Lease(IPv4Interface("192.0.2.10/24"), None, 3600, 0.0)


@pytest.mark.parametrize(
    "text",
    [
        "",
        UNSPECIFIED,
        "127.0.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "192.0.2",
        "192.0.2.256",
        "192.0.2.010",
        "192.0.2.10 ",
        "192.0.2.10\n",
        "192.0.2.10/24",
        "3221225994",
        "::1",
        "bad",
        "$(reboot)",
        "١٩٢.0.2.10",
    ],
)
def test_unusable_address(text: str) -> None:
    """Without an address that a host can have there is no lease, and the text says what was granted."""
    with pytest.raises(InvalidLease) as caught:
        parse_lease({**COMPLETE, "ip": text}, 0.0)
    assert repr(text) in str(caught.value)


def test_no_address() -> None:
    """An event without an address is no lease."""
    with pytest.raises(InvalidLease):
        parse_lease({}, 0.0)


@pytest.mark.parametrize(
    ("ip", "mask", "subnet", "length"),
    [
        ("192.0.2.10", "25", "255.255.255.0", 25),
        ("192.0.2.10", "32", "", 32),
        ("192.0.2.10", "", "255.255.240.0", 20),
        ("192.0.2.10", "0", "255.255.240.0", 20),
        ("192.0.2.10", "33", "255.255.240.0", 20),
        ("192.0.2.10", "24 ", "", 24),
        ("192.0.2.10", "", "255.0.255.0", 24),
        ("192.0.2.10", "", UNSPECIFIED, 24),
        ("192.0.2.10", "²4", "$(id)", 24),
        ("10.0.0.1", "", "", 8),
        ("126.255.0.1", "-1", "-1", 8),
        ("128.0.0.1", "", "", 16),
        ("191.0.0.1", "+8", "", 16),
        ("223.0.0.1", "", "", 24),
    ],
)
def test_prefix_length(ip: str, mask: str, subnet: str, length: int) -> None:
    """From the mask in either form; where there is none that can be, that of the address's class (RFC 950)."""
    assert parse_lease({"ip": ip, "mask": mask, "subnet": subnet}, 0.0).address.network.prefixlen == length


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120),
        ("1", 1),
        ("4294967294", 4294967294),
        ("4294967295", None),
        ("", 3600),
        ("4294967296", 3600),
        ("-60", 3600),
        ("60s", 3600),
        ("1e3", 3600),
        ("٦٠", 3600),
        ("9" * 5000, 3600),
    ],
)
def test_duration(text: str, seconds: int | None) -> None:
    """Seconds; 0xffffffff is for ever (RFC 2131); anything else is what udhcpc takes for missing, an hour."""
    assert _parsed(lease=text).duration == seconds


@pytest.mark.parametrize(
    ("text", "mtu"),
    [
        ("1500", 1500),
        ("576", 576),
        ("65535", 65535),
        ("575", None),
        ("68", None),
        ("0", None),
        ("65536", None),
        ("", None),
        ("-1500", None),
        ("1500 ", None),
        ("0x5dc", None),
    ],
)
def test_mtu(text: str, mtu: int | None) -> None:
    """No MTU below what every host must take (RFC 791) and none that the field cannot hold."""
    assert _parsed(mtu=text).mtu == mtu


@pytest.mark.parametrize(
    ("text", "server"),
    [("192.0.2.1", IPv4Address("192.0.2.1")), (UNSPECIFIED, None), ("255.255.255.255", None), ("x", None), ("", None)],
)
def test_server(text: str, server: IPv4Address | None) -> None:
    """A server that cannot be told a RELEASE by unicast is none."""
    assert _parsed(serverid=text).server == server


@pytest.mark.parametrize(
    ("text", "domain"),
    [
        ("lan.example", "lan.example"),
        ("lan.example.", "lan.example."),
        ("_tcp.local", "_tcp.local"),
        ("x", "x"),
        ("a" * 63 + ".b", "a" * 63 + ".b"),
        ("", None),
        (".", None),
        ("bad domain", None),
        ("lan\nexample", None),
        ("lan.example\n", None),
        ("lan..example", None),
        ("-lan.example", None),
        ("a" * 64, None),
        (".".join(["a" * 63] * 4), None),
        ("$(reboot)", None),
        ("lan;reboot", None),
        ("läb.example", None),
    ],
)
def test_domain(text: str, domain: str | None) -> None:
    """A domain name, or none: not a shell's word, not a line, not longer than DNS allows."""
    assert _parsed(domain=text).domain == domain


def test_search() -> None:
    """Domain names, each once, without what is none; a list is no longer than resolvers could read."""
    assert _parsed(search="lan attic.lan lan $(reboot) home.arpa").search == ("lan", "attic.lan", "home.arpa")
    assert len(_parsed(search=" ".join(f"n{number}" for number in range(99))).search) == 16


@pytest.mark.parametrize("field", FIELDS)
def test_any_text_in_one_field(field: str) -> None:
    """Whatever stands in one field there is a lease or the one error, and the other fields are as they were."""
    usable = parse_lease(COMPLETE, 0.0)
    for text in texts(300):
        try:
            lease = parse_lease({**COMPLETE, field: text}, 0.0)
        except InvalidLease:
            assert field in ("ip", "lease")
            continue
        assert field == "ip" or lease.address.ip == usable.address.ip
        assert field == "domain" or lease.domain == usable.domain
        assert field == "dns" or lease.dns == usable.dns


def test_any_text_in_all_fields() -> None:
    """With an address there is a lease, whatever stands beside it, and nothing in it is out of its range."""
    source = texts(200 * len(FIELDS), seed=951)
    for _ in range(200):
        lease = parse_lease({**{field: next(source) for field in FIELDS}, "ip": "192.0.2.10", "lease": "1"}, 0.0)
        assert lease.address.ip == IPv4Address("192.0.2.10")
        assert 1 <= lease.address.network.prefixlen <= 32
        assert lease.duration is None or 1 <= lease.duration < 0xFFFFFFFF
        assert lease.domain is None or (lease.domain.isascii() and lease.domain.isprintable())
