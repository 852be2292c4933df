"""DHCPv6 messages (RFC 8415 sections 8 and 21) to bytes and back.

Answers are hostile: malformed bytes must cost one option, not the message. Must not know sockets, timers, or what an
answer means.
"""

import re
import struct
from collections.abc import Iterator, Mapping
from enum import IntEnum
from ipaddress import IPv6Address

from msgspec import Struct, field

from workers.contract.client_identity import ClientIdentity
from workers.contract.exchange import Kind6, Messages, packed
from workers.contract.lease import Family
from workers.dhcp.errors import Malformed

OPTION = struct.Struct("!HH")
IA_NA = struct.Struct("!III")  # IAID, T1, T2
IA_ADDRESS = struct.Struct("!16sII")  # address, preferred and valid lifetime
MAX_DUID = 130  # octets; section 11.1
MAX_ADDRESSES = 16  # of any list: no sane server sends more
MAX_DOMAINS = 16
MAX_WORDS = 100
NO_ENTERPRISE = bytes(4)  # before a vendor class: IANA has given this plugin no number
FQDN_BY_SERVER = 1  # the S bit (RFC 4704 section 4.1): the server shall register the name in the DNS
DOMAIN = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})(\.[A-Za-z0-9_-]{1,63})*")


class Option(IntEnum):
    """The options that we send or read."""

    CLIENT_ID = 1
    SERVER_ID = 2
    IA_NA = 3
    IA_ADDRESS = 5
    REQUESTED = 6
    PREFERENCE = 7
    ELAPSED = 8
    STATUS = 13
    RAPID_COMMIT = 14
    USER_CLASS = 15
    VENDOR_CLASS = 16
    DNS = 23
    SEARCH = 24
    REFRESH = 32
    FQDN = 39
    SOL_MAX_RT = 82
    INF_MAX_RT = 83


FOR_ADDRESS = (Option.DNS, Option.SEARCH, Option.FQDN, Option.SOL_MAX_RT)
WANTED: Mapping[Kind6, tuple[Option, ...]] = {
    Kind6.SOLICIT: FOR_ADDRESS,
    Kind6.REQUEST: FOR_ADDRESS,
    Kind6.RENEW: FOR_ADDRESS,
    Kind6.REBIND: FOR_ADDRESS,
    Kind6.INFORMATION_REQUEST: (
        *(Option.DNS, Option.SEARCH, Option.REFRESH),
        *(Option.SOL_MAX_RT, Option.INF_MAX_RT),
    ),
}


ANSWERS = {int(kind): kind for kind in (Kind6.ADVERTISE, Kind6.REPLY)}  # a Reconfigure may not be sent to us


class Code(IntEnum):
    """Status codes (section 21.13)."""

    SUCCESS = 0
    UNSPEC_FAIL = 1
    NO_ADDRS_AVAIL = 2
    NO_BINDING = 3
    NOT_ON_LINK = 4
    USE_MULTICAST = 5


class Status(Struct, frozen=True):
    """A status code, which may be one that we do not know, and the server's words."""

    code: int = Code.SUCCESS
    words: str = ""

    def __str__(self) -> str:
        name = Code(self.code).name if self.code in set(Code) else f"status {self.code}"
        return f"{name} {self.words!r}" if self.words else name


SUCCESS = Status()


class AddressOption(Struct, frozen=True):
    """An address in an IA_NA, with its lifetimes in seconds."""

    address: IPv6Address
    preferred: int
    valid: int
    status: Status = SUCCESS


class Association(Struct, frozen=True):
    """An IA_NA; T1 and T2 are in seconds."""

    t1: int
    t2: int
    addresses: tuple[AddressOption, ...] = ()
    status: Status = SUCCESS


class Answer(Struct, frozen=True):
    """A server's message. `client` and `server` are DUIDs, `associations` are by IAID.

    `refresh`, `sol_max_rt` and `inf_max_rt` are in seconds, None if the server sent none. `sender` is the MAC that the
    frame came from, if it is known.
    """

    kind: Kind6
    xid: int
    client: bytes = b""
    server: bytes = b""
    status: Status = SUCCESS
    preference: int = 0
    rapid_commit: bool = False
    associations: Mapping[int, Association] = field(default_factory=dict)
    dns: tuple[IPv6Address, ...] = ()
    search: tuple[str, ...] = ()
    refresh: int | None = None
    sol_max_rt: int | None = None
    inf_max_rt: int | None = None
    sender: str = ""


def encode(
    kind: Kind6,
    xid: int,
    identity: ClientIdentity,
    *,
    elapsed: float = 0.0,
    server: bytes = b"",
    addresses: tuple[IPv6Address, ...] | None = None,
) -> bytes:
    """The UDP payload of a client's message, with the options of RFC 8415, sections 18.2.1 to 18.2.8.

    `elapsed` are the seconds since the transaction began, `server` the DUID of the only server that shall answer.
    `addresses` go out in an IA_NA; with None the message has none.
    """
    hundredths = min(int(elapsed * 100), 0xFFFF)
    area = _option(Option.CLIENT_ID, identity.duid) + _option(Option.ELAPSED, hundredths.to_bytes(2))
    if server:
        area += _option(Option.SERVER_ID, server)
    if addresses is not None:
        options = b"".join(_option(Option.IA_ADDRESS, IA_ADDRESS.pack(a.packed, 0, 0)) for a in addresses)
        area += _option(Option.IA_NA, IA_NA.pack(identity.iaid, 0, 0) + options)
    if kind is Kind6.SOLICIT:
        area += _option(Option.RAPID_COMMIT, b"")
    if kind in WANTED:
        area += _option(Option.REQUESTED, b"".join(code.to_bytes(2) for code in WANTED[kind]))
        area += _option(Option.VENDOR_CLASS, NO_ENTERPRISE + _class(identity.vendor_class))
        if identity.user_class is not None:
            area += _option(Option.USER_CLASS, _class(identity.user_class))
        if identity.hostname is not None and kind is not Kind6.INFORMATION_REQUEST:
            area += _option(Option.FQDN, bytes([FQDN_BY_SERVER]) + _wire_name(identity.hostname))
    return bytes([kind]) + xid.to_bytes(3) + area


def decode(payload: bytes, sender: str = "") -> Answer:
    """A server's message. Raises Malformed."""
    if len(payload) < 4:
        raise Malformed(f"{len(payload)} octets are too few")
    if payload[0] not in ANSWERS:
        raise Malformed(f"message type {payload[0]} is none of a server's")
    options = dict(_options(payload[4:]))
    server, client = options.get(Option.SERVER_ID, b""), options.get(Option.CLIENT_ID, b"")
    if not 1 <= len(server) <= MAX_DUID:
        raise Malformed(f"a server identifier of {len(server)} octets")
    return Answer(
        kind=ANSWERS[payload[0]],
        xid=int.from_bytes(payload[1:4]),
        client=client,
        server=server,
        status=_status(options),
        preference=_number(options, Option.PREFERENCE, 1) or 0,
        rapid_commit=Option.RAPID_COMMIT in options,
        associations=dict(_associations(payload[4:])),
        dns=addresses_of(options.get(Option.DNS, b"")),
        search=names_of(options.get(Option.SEARCH, b"")),
        refresh=_number(options, Option.REFRESH, 4),
        sol_max_rt=_number(options, Option.SOL_MAX_RT, 4),
        inf_max_rt=_number(options, Option.INF_MAX_RT, 4),
        sender=sender,
    )


def noted(payload: bytes, *, sent: bool = False) -> Messages:
    """A message of either side, for those who look at the exchange."""
    area = payload[4:]
    address = next((one.address for _, found in _associations(area) for one in found.addresses), None)
    server = dict(_options(area)).get(Option.SERVER_ID, b"")
    xid = int.from_bytes(payload[1:4])
    return packed(Family.IPV6, payload[0], sent=sent, xid=xid, address=address, server=server)


def addresses_of(raw: bytes) -> tuple[IPv6Address, ...]:
    """The addresses of a list that a name server can have, and that mean the same on each of a container's links."""
    found = (IPv6Address(raw[i : i + 16]) for i in range(0, len(raw) - len(raw) % 16, 16))
    return tuple(dict.fromkeys(a for a in found if is_unicast(a)))[:MAX_ADDRESSES]


def is_unicast(address: IPv6Address) -> bool:
    """Whether one host can have it beyond its link."""
    not_one = address.is_unspecified or address.is_loopback or address.is_multicast or address.is_link_local
    return not not_one and address.ipv4_mapped is None


def names_of(raw: bytes) -> tuple[str, ...]:
    """The legal names of a list in DNS's form (section 10), up to the first part that is malformed."""
    legal = (name for name in _names(raw) if DOMAIN.fullmatch(name))
    return tuple(dict.fromkeys(legal))[:MAX_DOMAINS]


def _names(raw: bytes) -> Iterator[str]:
    """Labels that end with an empty one. Nothing may be compressed, and padding (RFC 8106) is empty names."""
    labels: list[bytes] = []
    position = 0
    while position < len(raw):
        length = raw[position]
        label = raw[position + 1 : position + 1 + length]
        position += 1 + length
        if length > 63 or len(label) < length:
            return
        if length:
            labels.append(label)
            continue
        if labels:
            yield b".".join(labels).decode("ascii", "replace")
        labels = []


def _class(text: str) -> bytes:
    """The only one of a list of classes (RFC 8415 sections 21.15 and 21.16)."""
    value = text.encode("ascii")
    return len(value).to_bytes(2) + value


def _wire_name(name: str) -> bytes:
    """A name with a dot is a full one, and ends with an empty label; a bare name is a part of one (RFC 4704)."""
    labels = b"".join(bytes([len(label)]) + label.encode("ascii") for label in name.split("."))
    return labels + b"\0" * ("." in name)


def _option(code: int, value: bytes) -> bytes:
    return OPTION.pack(code, len(value)) + value


def _options(area: bytes) -> Iterator[tuple[int, bytes]]:
    """The options of one area. Drops an option that runs over the end."""
    position = 0
    while position + OPTION.size <= len(area):
        code, length = OPTION.unpack_from(area, position)
        position += OPTION.size + length
        if position <= len(area):
            yield code, area[position - length : position]


def _number(options: Mapping[int, bytes], code: Option, size: int) -> int | None:
    raw = options.get(code, b"")
    return int.from_bytes(raw) if len(raw) == size else None


def _status(options: Mapping[int, bytes]) -> Status:
    raw = options.get(Option.STATUS, b"")
    if len(raw) < 2:
        return SUCCESS
    return Status(int.from_bytes(raw[:2]), raw[2:].rstrip(b"\0").decode("utf-8", "replace")[:MAX_WORDS])


def _associations(area: bytes) -> Iterator[tuple[int, Association]]:
    for code, value in _options(area):
        if code == Option.IA_NA and len(value) >= IA_NA.size:
            iaid, t1, t2 = IA_NA.unpack_from(value)
            options = value[IA_NA.size :]
            addresses = tuple(_addresses(options))[:MAX_ADDRESSES]
            yield iaid, Association(t1, t2, addresses, _status(dict(_options(options))))


def _addresses(area: bytes) -> Iterator[AddressOption]:
    for code, value in _options(area):
        if code == Option.IA_ADDRESS and len(value) >= IA_ADDRESS.size:
            packed, preferred, valid = IA_ADDRESS.unpack_from(value)
            status = _status(dict(_options(value[IA_ADDRESS.size :])))
            yield AddressOption(IPv6Address(packed), preferred, valid, status)
