"""Router advertisements (RFC 4861 section 4.2, RFC 8106), and the address that follows from one (RFC 4862).

An advertisement is hostile: any machine of the LAN can send one. Must not know sockets, nor what a container does with
its router.
"""

import struct
from collections.abc import Iterator
from ipaddress import IPv6Address, IPv6Interface, IPv6Network
from itertools import chain

from msgspec import Struct

from workers.contract.lease import Lease6
from workers.dhcp.errors import Malformed
from workers.dhcp6.codec import MAX_ADDRESSES, MAX_DOMAINS, addresses_of, is_unicast, names_of
from workers.dhcp6.lease_parser import INFINITE_SECONDS

HEADER = struct.Struct("!BBHBBHII")  # type, code, checksum, hop limit, flags, lifetime, reachable, retransmission
PREFIX = struct.Struct("!BBIII16s")  # length, flags, valid, preferred, reserved, prefix
TYPE = 134
HOP_LIMIT = 255  # no router has forwarded it
MANAGED, OTHER = 0x80, 0x40
ON_LINK, AUTONOMOUS = 0x80, 0x40
MTU_OPTION, PREFIX_OPTION, RDNSS_OPTION, DNSSL_OPTION = 5, 3, 25, 31
MIN_MTU = 1280  # RFC 8200 section 5
MAX_MTU = 65535
MAX_PREFIXES = 16
UNIT = 8  # octets, in which an option's length is counted
PREFIX_BITS = 64  # before an interface identifier (RFC 2464 section 4)
PREFERENCES = {0: 0, 1: 1, 3: -1}  # RFC 4191 section 2.1; 2 is reserved and means 0


class Prefix(Struct, frozen=True):
    """A prefix information option. `valid` and `preferred` are lifetimes in seconds, None for infinite ones."""

    network: IPv6Network
    on_link: bool
    autonomous: bool
    valid: int | None
    preferred: int | None


class RouterAdvertisement(Struct, frozen=True):
    """What the router `source` says.

    `lifetime` is how many seconds it is a default router, 0 for not at all, and `preference` what it is as one beside
    others. `managed`: DHCPv6 has addresses; `other`: it has other values, such as name servers. `sender` is the MAC
    that the frame came from.
    """

    source: IPv6Address
    managed: bool
    other: bool
    lifetime: int
    preference: int = 0
    mtu: int | None = None
    prefixes: tuple[Prefix, ...] = ()
    dns: tuple[IPv6Address, ...] = ()
    search: tuple[str, ...] = ()
    sender: str = ""


def decode(message: bytes, source: IPv6Address, hop_limit: int, sender: str = "") -> RouterAdvertisement:
    """The ICMPv6 message that came from `source` with this hop limit. Raises Malformed."""
    if hop_limit != HOP_LIMIT or not source.is_link_local:
        raise Malformed(f"from {source} with hop limit {hop_limit}: it does not come from a router of this link")
    if len(message) < HEADER.size:
        raise Malformed(f"{len(message)} octets are too few")
    kind, code, _, _, flags, lifetime, _, _ = HEADER.unpack_from(message)
    if (kind, code) != (TYPE, 0):
        raise Malformed(f"an ICMPv6 message of type {kind}, code {code}")
    options = list(_options(message[HEADER.size :]))
    mtus = (int.from_bytes(value[2:6]) for code, value in options if code == MTU_OPTION)
    return RouterAdvertisement(
        source=source,
        managed=bool(flags & MANAGED),
        other=bool(flags & OTHER),
        lifetime=lifetime,
        preference=PREFERENCES.get(flags >> 3 & 3, 0) if lifetime else 0,
        mtu=next((mtu for mtu in mtus if MIN_MTU <= mtu <= MAX_MTU), None),
        prefixes=tuple(_prefixes(options))[:MAX_PREFIXES],
        dns=tuple(dict.fromkeys(chain(*map(addresses_of, _living(options, RDNSS_OPTION)))))[:MAX_ADDRESSES],
        search=tuple(dict.fromkeys(chain(*map(names_of, _living(options, DNSSL_OPTION)))))[:MAX_DOMAINS],
        sender=sender,
    )


def slaac_lease(advertisement: RouterAdvertisement, identifier: int, now: float) -> Lease6 | None:
    """The address that a host makes of its interface identifier and the advertised prefix, None without a prefix.

    RFC 4862 section 5.5.3. Of several prefixes it takes one that is not deprecated, and rather one of the internet than
    a private one.
    """
    usable = [p for p in advertisement.prefixes if p.autonomous and p.valid != 0 and p.network.prefixlen == PREFIX_BITS]
    if not usable:
        return None
    best = max(usable, key=lambda p: (p.preferred != 0, not p.network.is_private))
    return Lease6(
        address=IPv6Interface(best.network.network_address + identifier),
        server=b"",
        duration=best.valid,
        obtained=now,
        preferred=best.preferred,
        dns=advertisement.dns,
        search=advertisement.search,
        router=advertisement.source if advertisement.lifetime else None,
        slaac=True,
    )


def eui64(network: IPv6Network, mac: str) -> IPv6Address:
    """The address in `network`, a /64, that is made of the MAC."""
    return network.network_address + identifier_of(mac)


def identifier_of(mac: str) -> int:
    """The interface identifier that is made of the MAC (RFC 4291, appendix A)."""
    octets = bytes.fromhex(mac.replace(":", ""))
    return int.from_bytes(bytes([octets[0] ^ 2]) + octets[1:3] + b"\xff\xfe" + octets[3:])


def _options(area: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and rest of each. Malformed ends: an option without a length would be read for ever (section 4.6)."""
    position = 0
    while position < len(area):
        size = area[position + 1] * UNIT if position + 1 < len(area) else 0
        if size == 0 or position + size > len(area):
            raise Malformed(f"option {area[position]} has {size} octets, of which {len(area) - position} are there")
        yield area[position], area[position + 2 : position + size]
        position += size


def _prefixes(options: list[tuple[int, bytes]]) -> Iterator[Prefix]:
    for code, value in options:
        if code != PREFIX_OPTION or len(value) != PREFIX.size:
            continue
        length, flags, valid, preferred, _, packed = PREFIX.unpack(value)
        if length > 128 or preferred > valid:  # RFC 4862 section 5.5.3 c
            continue
        network = IPv6Network((packed, length), strict=False)
        if is_unicast(network.network_address):
            seconds = (None if s == INFINITE_SECONDS else s for s in (valid, preferred))
            yield Prefix(network, bool(flags & ON_LINK), bool(flags & AUTONOMOUS), *seconds)


def _living(options: list[tuple[int, bytes]], wanted: int) -> Iterator[bytes]:
    """The lists of RFC 8106 whose lifetime is not 0."""
    for code, value in options:
        if code == wanted and int.from_bytes(value[2:6]) > 0:
            yield value[6:]
