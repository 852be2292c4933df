"""Turns udhcpc's variables into a Lease. Everything that a DHCP server sends is hostile until it has passed here.

Owns the formats of BusyBox's environment variables. Drops an optional value that is malformed; without a usable address
there is no lease.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from workers.contract.lease import T1, T2, Lease, Route
from workers.dhcp.errors import InvalidLease

INFINITE_SECONDS = 0xFFFFFFFF  # RFC 2131 section 3.3
DEFAULT_SECONDS = 3600  # udhcpc's own value without option 51
MIN_MTU = 576  # RFC 2132 allows 68, but every host must be able to receive this much (RFC 791)
MAX_MTU = 65535
MAX_ITEMS = 64  # of any list: no sane server sends more
MAX_DOMAINS = 16  # of the search list: resolvers read six of them, or 250 octets
MULTICAST, LOOPBACK = 0xE0000000, 127  # the first address that no host has, and a first octet
DOMAIN = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})(\.[A-Za-z0-9_-]{1,63})*\.?")


def parse_lease(values: Mapping[str, str], obtained: float) -> Lease:
    """The lease in udhcpc's variables, which runs from `obtained` on (`boottime()` seconds). Raises InvalidLease."""
    duration = _duration(values.get("lease", ""))
    renewal, rebinding = _renewal_times(values, duration)
    return Lease(
        address=_address(values),
        server=_unicast(values.get("serverid", "")),
        duration=duration,
        obtained=obtained,
        renewal=renewal,
        rebinding=rebinding,
        routers=_addresses(values.get("router", "")),
        classless=_classless(values.get("staticroutes", "") or values.get("msstaticroutes", "")),
        static=_static(values.get("routes", "")),
        dns=_addresses(values.get("dns", "")),
        domain=_domain(values.get("domain", "")),
        search=_domains(values.get("search", "")),
        mtu=_number(values.get("mtu", ""), MIN_MTU, MAX_MTU),
        ntp=_addresses(values.get("ntpsrv", "")),
    )


def _address(values: Mapping[str, str]) -> IPv4Interface:
    """The address, if a host can have it (RFC 1122 section 3.2.1.3)."""
    text = values.get("ip", "")
    address = _unicast(text)
    if address is None:
        raise InvalidLease(f"the server granted {text!r}, which is no unicast address")
    length = _prefix_length(values, address)
    interface, hosts = IPv4Interface((address, length)), 0xFFFFFFFF >> length
    if length < 31 and int(address) & hosts in (0, hosts):
        raise InvalidLease(f"the server granted {interface}, which is no host's address in its subnet")
    return interface


def _unicast(text: str) -> IPv4Address | None:
    try:
        address = IPv4Address(text)
    except ValueError:
        return None
    number = int(address)
    return address if 0 < number < MULTICAST and number >> 24 != LOOPBACK else None


def _number(text: str, low: int, high: int) -> int | None:
    if not (text.isascii() and text.isdigit() and len(text) <= 10):
        return None
    number = int(text)
    return number if low <= number <= high else None


def _duration(text: str) -> int | None:
    seconds = _number(text, 0, INFINITE_SECONDS)
    if seconds == 0:
        raise InvalidLease("the server granted a lease of 0 s")
    if seconds == INFINITE_SECONDS:
        return None
    return DEFAULT_SECONDS if seconds is None else seconds


def _renewal_times(values: Mapping[str, str], duration: int | None) -> tuple[int | None, int | None]:
    """The server's T1 and T2 (options 58 and 59); one may be missing. Both are None unless T1 < T2 < duration."""
    if duration is None:
        return None, None
    renewal, rebinding = (_number(values.get(name, ""), 1, INFINITE_SECONDS) for name in ("renewal", "rebinding"))
    t1, t2 = renewal or T1 * duration, rebinding or T2 * duration
    return (renewal, rebinding) if t1 < t2 < duration else (None, None)


def _prefix_length(values: Mapping[str, str], address: IPv4Address) -> int:
    length = _number(values.get("mask", ""), 1, 32)
    if length is not None:
        return length
    try:
        return IPv4Network((0, values.get("subnet", ""))).prefixlen or _natural(address)
    except ValueError:
        return _natural(address)


def _natural(address: IPv4Address) -> int:
    """The class A, B or C prefix length, which holds if the server sent no mask (RFC 950)."""
    first = int(address) >> 24
    return 8 if first < 128 else 16 if first < 192 else 24


def _addresses(text: str) -> tuple[IPv4Address, ...]:
    found = (_unicast(word) for word in text.split()[:MAX_ITEMS])
    return tuple(dict.fromkeys(a for a in found if a is not None))


def _routes(pairs: Iterable[tuple[str, str]], destination: Callable[[str], IPv4Network]) -> tuple[Route, ...]:
    routes = []
    for target, hop in pairs:
        next_hop = None if hop == "0.0.0.0" else _unicast(hop)  # noqa: S104  an address in RFC 3442, not a bind
        if next_hop is None and hop != "0.0.0.0":  # noqa: S104
            continue
        try:
            routes.append(Route(destination(target), next_hop))
        except ValueError:
            continue  # one malformed destination does not cost the others
    return tuple(dict.fromkeys(routes))


def _classless(text: str) -> tuple[Route, ...]:
    """Options 121 and 249: `destination/length hop` pairs, hop 0.0.0.0 for on-link (RFC 3442)."""
    words = text.split()[: 2 * MAX_ITEMS]
    return _routes(zip(words[::2], words[1::2], strict=False), lambda t: IPv4Network(t, strict=False))


def _static(text: str) -> tuple[Route, ...]:
    """Option 33: `host/hop` words; the default route is illegal there (RFC 2132 section 5.8)."""
    pairs = [(host, hop) for host, _, hop in (word.partition("/") for word in text.split()[:MAX_ITEMS])]
    routes = _routes(pairs, _class_destination)
    return tuple(r for r in routes if not r.destination.network_address.is_unspecified)


def _class_destination(text: str) -> IPv4Network:
    """The network of its class if the host part is zero, else the host."""
    address = IPv4Address(text)
    network = IPv4Network((address, _natural(address)), strict=False)
    return network if network.network_address == address else IPv4Network((address, 32))


def _domain(text: str) -> str | None:
    return text if DOMAIN.fullmatch(text) else None


def _domains(text: str) -> tuple[str, ...]:
    found = (_domain(word) for word in text.split()[:MAX_DOMAINS])
    return tuple(dict.fromkeys(domain for domain in found if domain is not None))
