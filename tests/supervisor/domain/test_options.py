"""The users' options: what is taken, what it means, and that each refusal names its option."""

from dataclasses import asdict
from ipaddress import IPv4Address, IPv6Address

import pytest

from supervisor.contract.errors import InvalidRequest
from supervisor.contract.messages import IpamPool
from supervisor.domain.options import (
    OPTIONS,
    EndpointOptions,
    NetworkOptions,
    Scope,
    for_endpoint,
    options_of,
    parse_endpoint_options,
    parse_network_options,
    require_null_ipam,
)
from workers.contract.link import LinkKind, LinkSpec, MacvlanMode
from workers.contract.messages import NO_GATEWAY, PARENTS_MTU

LOCAL = "7b1f2462467e39dc63952b88722f7fa4452b8867f86ec8d8cc8cf2b949e74f40"


def test_defaults() -> None:
    """Only the bridge has to be named; the first lease may take 10 s."""
    assert parse_network_options({"bridge": "br0"}) == NetworkOptions("br0", 10.0, False, False)


@pytest.mark.parametrize(
    ("options", "link"),
    [
        ({"bridge": "br0"}, LinkSpec(LinkKind.BRIDGE, "br0")),
        ({"bridge": "br0", "mode": "bridge"}, LinkSpec(LinkKind.BRIDGE, "br0")),
        ({"parent": "eth0"}, LinkSpec(LinkKind.MACVLAN, "eth0")),
        ({"parent": "eth0.20", "mode": "macvlan"}, LinkSpec(LinkKind.MACVLAN, "eth0.20")),
        ({"parent": "eth0", "macvlan_mode": "vepa"}, LinkSpec(LinkKind.MACVLAN, "eth0", MacvlanMode.VEPA)),
    ],
)
def test_kind_of_link(options: dict[str, str], link: LinkSpec) -> None:
    """A bridge makes ports of it, a parent alone means macvlan, as with Docker's own driver."""
    assert parse_network_options(options).link == link


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10s", 10.0),
        ("10", 10.0),
        ("1500ms", 1.5),
        ("0.25m", 15.0),
        ("1s", 1.0),
        ("1000ms", 1.0),
        ("20s", 20.0),
        ("21s", 20.0),
        ("5m", 20.0),
        ("999999999m", 20.0),
    ],
)
def test_lease_timeout(text: str, seconds: float) -> None:
    """Durations are read as Go writes them; what is longer than the engine waits is cut to 20 s."""
    assert parse_network_options({"bridge": "br0", "lease_timeout": text}).lease_timeout == seconds


@pytest.mark.parametrize("option", ["ignore_conflicts", "skip_routes"])
@pytest.mark.parametrize(
    ("text", "value"), [("true", True), ("True", True), ("1", True), ("false", False), ("FALSE", False), ("0", False)]
)
def test_booleans(option: str, text: str, value: bool) -> None:
    """Each switch takes true and false in any case, 1 and 0, and sets only itself."""
    parsed = parse_network_options({"bridge": "br0", option: text})
    others = {"ignore_conflicts", "skip_routes"} - {option}
    assert getattr(parsed, option) is value
    assert [getattr(parsed, other) for other in others] == [False]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({}, "bridge"),
        ({"bridge": ""}, "bridge"),
        ({"bridge": "name-of-16-chars"}, "bridge"),
        ({"bridge": "br 0"}, "bridge"),
        ({"bridge": "br0\n"}, "bridge"),
        ({"bridge": "../br0"}, "bridge"),
        ({"bridge": "br0:1"}, "bridge"),
        ({"bridge": "."}, "bridge"),
        ({"bridge": ".."}, "bridge"),
        ({"bridge": "br0", "lease_timeout": ""}, "lease_timeout"),
        ({"bridge": "br0", "lease_timeout": "soon"}, "lease_timeout"),
        ({"bridge": "br0", "lease_timeout": "-5s"}, "lease_timeout"),
        ({"bridge": "br0", "lease_timeout": "5h"}, "lease_timeout"),
        ({"bridge": "br0", "lease_timeout": "5s "}, "lease_timeout"),
        ({"bridge": "br0", "lease_timeout": "1e3s"}, "lease_timeout"),
        ({"bridge": "br0", "lease_timeout": "inf"}, "lease_timeout"),
        ({"bridge": "br0", "lease_timeout": "nan"}, "lease_timeout"),
        ({"bridge": "br0", "lease_timeout": "0"}, "lease_timeout"),
        ({"bridge": "br0", "lease_timeout": "999ms"}, "lease_timeout"),
        ({"bridge": "br0", "ignore_conflicts": "yes"}, "ignore_conflicts"),
        ({"bridge": "br0", "ignore_conflicts": ""}, "ignore_conflicts"),
        ({"bridge": "br0", "skip_routes": "2"}, "skip_routes"),
        ({"bridge": "br0", "ipv6": "yes"}, "ipv6"),
        ({"parent": "eth 0"}, "parent"),
        ({"parent": "eth0", "mode": "bridge"}, "parent"),
        ({"bridge": "br0", "mode": "macvlan"}, "bridge"),
        ({"bridge": "br0", "macvlan_mode": "bridge"}, "macvlan_mode"),
        ({"parent": "eth0", "macvlan_mode": "source"}, "macvlan_mode"),
        ({"parent": "eth0", "host_access": "true", "macvlan_mode": "private"}, "host_access"),
        ({"parent": "eth0", "host_access": "true", "macvlan_mode": "passthru"}, "host_access"),
        ({"parent": "eth0", "host_access": "true", "ipv6": "only"}, "host_access"),
        ({"parent": "eth0", "mode": "ipvtap"}, "mode"),
        ({"parent": "eth0", "mode": "ipvlan", "ipvlan_mode": "l3"}, "ipvlan_mode"),
        ({"parent": "eth0", "mode": "ipvlan", "macvlan_mode": "vepa"}, "macvlan_mode"),
        ({"parent": "eth0", "vlan": "20"}, "vlan"),
        ({"bridge": "br0", "vlan": "0"}, "vlan"),
        ({"bridge": "br0", "vlan": "4095"}, "vlan"),
        ({"bridge": "br0", "vlan": "office"}, "vlan"),
        ({"mode": "macvlan"}, "parent"),
        ({"bridge": "br0", "dns": "true"}, "dns"),
        ({"bridge": "br0", "Bridge": "br1"}, "Bridge"),
        ({"bridge": "br0", "gateway": "192.0.2"}, "gateway"),
        ({"bridge": "br0", "gateway": "224.0.0.1"}, "gateway"),
        ({"bridge": "br0", "gateway": "2001:db8::1"}, "gateway"),
        ({"bridge": "br0", "mtu": "575"}, "mtu"),
        ({"bridge": "br0", "mtu": "65536"}, "mtu"),
        ({"bridge": "br0", "mtu": "-1400"}, "mtu"),
        ({"bridge": "br0", "mtu": "1e3"}, "mtu"),
        ({"bridge": "br0", "mtu": "1279", "ipv6": "true"}, "mtu"),
        ({"bridge": "br0", "mtu": "1400", "propagate_mtu": "true"}, "propagate_mtu"),
        ({"bridge": "br0", "propagate_mtu": "1400"}, "propagate_mtu"),
        ({"bridge": "br0", "client_id": "01:aa:bb:cc:dd:ee:ff"}, "client_id"),
        ({"bridge": "br0", "client_id": "{name}\n"}, "client_id"),
        ({"bridge": "br0", "client_id": "{mac}" + "x" * 60}, "client_id"),
        ({"bridge": "br0", "vendor_class": ""}, "vendor_class"),
        ({"bridge": "br0", "vendor_class": "x" * 65}, "vendor_class"),
        ({"bridge": "br0", "user_class": "wöb"}, "user_class"),
        ({"bridge": "br0", "hostname": "web"}, "hostname"),
        ({"bridge": "br0", "register_dns": "yes"}, "register_dns"),
        ({"bridge": "br0", "validate_dhcp": ""}, "validate_dhcp"),
    ],
)
def test_refused_network_options(options: dict[str, str], named: str) -> None:
    """What cannot be meant is refused, and the refusal names the option."""
    with pytest.raises(InvalidRequest, match=rf"option '?{named}\b"):
        parse_network_options(options)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            {"brigde": "br0"},
            "unknown option 'brigde'; did you mean bridge?; a network takes alike, bridge, client, client_id",
        ),
        ({"bridge": "br0", "Conflict": "off"}, "did you mean conflict?"),
        ({"bridge": "br0", "zebra": "1"}, "unknown option 'zebra'; a network takes"),
        ({"bridge": "br0", "ip": "192.0.2.7"}, "it is an option of a container"),
        ({"bridge": "br0", "conflict": "detekt"}, "'detekt' is none of detect, wait, off; did you mean detect?"),
        (
            {},
            "option bridge or parent is missing: which bridge is the LAN on? docker network create -d DRIVER ",
        ),
        ({"macvlan_mode": "vepa"}, "or which network card is the LAN on? docker network create -d DRIVER"),
        ({"mode": "macvlan"}, "option parent is missing: which network card is the LAN on?"),
        ({"bridge": "br0", "parent": "eth0"}, "options bridge and parent exclude each other"),
        ({"bridge": "br0", "macvlan_mode": "vepa"}, "macvlan_mode does not fit mode=bridge; it fits mode=macvlan"),
        ({"bridge": "br0", "host_access": "true"}, "on a bridge the host and its containers reach each other anyway"),
        ({"bridge": "br0", "gateway": "non"}, "it is an IPv4 address, lease or none; did you mean none?"),
        ({"bridge": "br0", "mtu": "leas"}, "a number from 576 to 65535, lease or parent; did you mean lease?"),
        ({"bridge": "br0", "client_id": "rack"}, "would be the identifier, and so the lease, of all containers"),
        ({"bridge": "br0", "hostname": "ids"}, "'ids' is none of name, id; did you mean id?"),
    ],
)
def test_refusal_says_what_is_meant(options: dict[str, str], says: str) -> None:
    """A user who mistypes an option or a value is told which there are, and the likeliest one."""
    with pytest.raises(InvalidRequest) as refused:
        parse_network_options(options)
    assert says in str(refused.value)


@pytest.mark.parametrize("scope", Scope)
def test_defaults_of_the_table(scope: Scope) -> None:
    """A default that the table shows is the one that holds where the option is not given."""
    given = NetworkOptions("br0") if scope is Scope.NETWORK else EndpointOptions()
    for option in options_of(scope).values():
        if option.default.startswith("`") and len(option.scopes) == 1:
            assert option.parse(option.default.strip("`")) == getattr(given, option.field or option.name), option.name


def test_an_endpoint_overrides_its_network() -> None:
    """Where an option has both scopes the container's own value counts, and the network's without one."""
    both = {"gateway", "mtu", "release", "vendor_class"}
    assert {option.name for option in OPTIONS if len(option.scopes) == 2} == both
    network, kept = NetworkOptions("br0"), NetworkOptions("br0", keep_lease=True)
    assert for_endpoint(network, parse_endpoint_options({"release": "keep"})) == kept
    assert for_endpoint(kept, parse_endpoint_options({"release": "leave"})) == network
    assert for_endpoint(kept, parse_endpoint_options({})) == kept
    dual = parse_network_options({"bridge": "br0", "ipv6": "true", "mtu": "1280"})
    assert for_endpoint(dual, parse_endpoint_options({"mtu": "parent"})).mtu == PARENTS_MTU
    with pytest.raises(InvalidRequest, match="option mtu: 1000 does not go with IPv6"):
        for_endpoint(dual, parse_endpoint_options({"mtu": "1000"}))
    fixed = NetworkOptions("br0", gateway=IPv4Address("192.0.2.1"), mtu=1400)
    assert for_endpoint(fixed, parse_endpoint_options({"gateway": "lease", "mtu": "lease"})) == network


@pytest.mark.parametrize(
    ("options", "field", "value"),
    [
        ({"gateway": "192.0.2.1"}, "gateway", IPv4Address("192.0.2.1")),
        ({"gateway": "none"}, "gateway", NO_GATEWAY),
        ({"gateway": "lease"}, "gateway", None),
        ({"mtu": "576"}, "mtu", 576),
        ({"mtu": "lease"}, "mtu", None),
        ({"mtu": "parent"}, "mtu", PARENTS_MTU),
        ({"propagate_mtu": "true"}, "mtu", None),
        ({"propagate_mtu": "False"}, "mtu", PARENTS_MTU),
        ({"client_id": "rack-{name}"}, "client_id", "rack-{name}"),
        ({"vendor_class": "MSFT 5.0"}, "vendor_class", "MSFT 5.0"),
        ({"user_class": "lab"}, "user_class", "lab"),
        ({"hostname": "id"}, "hostname_is_id", True),
        ({"register_dns": "true"}, "register_dns", True),
        ({"validate_dhcp": "1"}, "validate_dhcp", True),
    ],
)
def test_values(options: dict[str, str], field: str, value: object) -> None:
    """What is written means this, and nothing else changes."""
    parsed = parse_network_options({"bridge": "br0", **options})
    assert asdict(parsed) == asdict(NetworkOptions("br0")) | {field: value}


@pytest.mark.parametrize(
    ("options", "parsed"),
    [
        ({}, EndpointOptions()),
        ({"ip": "192.0.2.7"}, EndpointOptions(IPv4Address("192.0.2.7"))),
        ({"ip": "192.0.2.7/24"}, EndpointOptions(IPv4Address("192.0.2.7"))),
        ({"ip6": "2001:db8::7"}, EndpointOptions(requested6=IPv6Address("2001:db8::7"))),
        ({"ip6": "fd00::7/64"}, EndpointOptions(requested6=IPv6Address("fd00::7"))),
    ],
)
def test_endpoint_options(options: dict[str, str], parsed: EndpointOptions) -> None:
    """The addresses to ask for may come with their prefix lengths, which are the servers' to say."""
    assert parse_endpoint_options(options) == parsed


def test_identity_of_an_endpoint() -> None:
    """Its name and its client identifier are its own, and no values of the network's."""
    parsed = parse_endpoint_options({"hostname": "web.lab", "client_id": "01:aa", "vendor_class": "phones"})
    assert parsed == EndpointOptions(hostname="web.lab", client_id=b"\x01\xaa", instead={"vendor_class": "phones"})


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"ip": ""}, "ip"),
        ({"ip": "192.0.2"}, "ip"),
        ({"ip": "192.0.2.256"}, "ip"),
        ({"ip": "2001:db8::1"}, "ip"),
        ({"ip": "0.0.0.0/8"}, "ip"),
        ({"ip": "127.0.0.1"}, "ip"),
        ({"ip": "224.0.0.1"}, "ip"),
        ({"ip": "255.255.255.255"}, "ip"),
        ({"ip6": "192.0.2.7"}, "ip6"),
        ({"ip6": "::"}, "ip6"),
        ({"ip6": "::1"}, "ip6"),
        ({"ip6": "fe80::7"}, "ip6"),
        ({"ip6": "ff0e::7"}, "ip6"),
        ({"client_id": ""}, "client_id"),
        ({"client_id": "01:aa:b"}, "client_id"),
        ({"client_id": "x" * 64}, "client_id"),
        ({"hostname": ""}, "hostname"),
        ({"hostname": "web_1"}, "hostname"),
        ({"hostname": "x" * 65}, "hostname"),
        ({"mtu": "x"}, "mtu"),
        ({"gateway": "::"}, "gateway"),
        ({"bridge": "br0"}, "bridge"),
    ],
)
def test_refused_endpoint_options(options: dict[str, str], named: str) -> None:
    """What no container can have is refused, and the refusal names the option."""
    with pytest.raises(InvalidRequest, match=rf"option '?{named}\b"):
        parse_endpoint_options(options)


@pytest.mark.parametrize("pools", [(), (IpamPool("null", "0.0.0.0/0"),)])
def test_null_ipam(pools: tuple[IpamPool, ...]) -> None:
    """The null driver's pool, or none, is what is wanted."""
    require_null_ipam(LOCAL, pools)


@pytest.mark.parametrize(
    "pools",
    [
        (IpamPool("LocalDefault", "172.18.0.0/16"),),
        (IpamPool("null", "0.0.0.0/0"), IpamPool("LocalDefault", "fd00::/64")),
        (IpamPool("", ""),),
    ],
)
def test_other_ipam(pools: tuple[IpamPool, ...]) -> None:
    """Where Docker would hand out addresses the refusal shows the command that works."""
    with pytest.raises(InvalidRequest, match="docker network create -d DRIVER --ipam-driver null"):
        require_null_ipam(LOCAL, pools)


def test_other_ipam_of_a_swarm() -> None:
    """A Swarm's manager does not know the null driver, so its users read the way by a network of each node."""
    with pytest.raises(InvalidRequest, match=r"--config-only --ipam-driver null .* --scope swarm --config-from"):
        require_null_ipam("bh2i1g84t2q3kk1r83pjeemwb", (IpamPool("LocalDefault", "172.18.0.0/16"),))
