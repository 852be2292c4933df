"""The last DHCP messages of an endpoint, for operators. They are packed, because each container has some.

    packet sockets, udhcpc ──note──► the worker's process ──taken──► its report ──add──► the supervisor
A worker has one endpoint, so all that its process sends and hears is that endpoint's. Must not know what follows from a
message.
"""

import struct
import time
from collections.abc import Mapping
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address

from workers.contract.lease import Family, Lease

Messages = dict[Family, bytes]

MOST = 16  # of each family
# Unix time, kind, sent, xid or 0, address and server, where there are such. Of a DUID there are the first 19 octets.
ROWS = {Family.IPV4: struct.Struct("!dB?I5p5p"), Family.IPV6: struct.Struct("!dB?I17p20p")}
CLIENT_PORT, SERVER_PORT, CLIENT_PORT6, SERVER_PORT6 = 68, 67, 546, 547


class Kind(IntEnum):
    """DHCPv4's messages by their option 53 (RFC 2132 section 9.6)."""

    DISCOVER = 1
    OFFER = 2
    REQUEST = 3
    DECLINE = 4
    ACK = 5
    NAK = 6
    RELEASE = 7


class Kind6(IntEnum):
    """DHCPv6's messages by their first octet (RFC 8415 section 7.3), and those of routers (RFC 4861 section 4)."""

    SOLICIT = 1
    ADVERTISE = 2
    REQUEST = 3
    CONFIRM = 4
    RENEW = 5
    REBIND = 6
    REPLY = 7
    RELEASE = 8
    DECLINE = 9
    INFORMATION_REQUEST = 11
    ROUTER_SOLICIT = 133
    ROUTER_ADVERT = 134


KINDS = {Family.IPV4: Kind, Family.IPV6: Kind6}

_noted: Messages = {}


def packed(
    family: Family,
    kind: int,
    *,
    sent: bool = False,
    xid: int = 0,
    address: IPv4Address | IPv6Address | None = None,
    server: bytes = b"",
) -> Messages:
    """One message of now; `address` is the one that it asks for or grants, `server` is an address or a DUID."""
    held = b"" if address is None else address.packed
    return {family: ROWS[family].pack(time.time(), kind, sent, xid, held, server)}


def acknowledged(lease: Lease) -> Messages:
    """A DHCPACK of which only the lease is known."""
    server = b"" if lease.server is None else lease.server.packed
    return packed(Family.IPV4, Kind.ACK, address=lease.address.ip, server=server)


def add(known: Messages, new: Mapping[Family, bytes]) -> None:
    """Puts these behind those that are known, of which the oldest go."""
    for family, rows in new.items():
        known[family] = (known.get(family, b"") + rows)[-MOST * ROWS[family].size :]


def note(new: Messages) -> None:
    """This process has sent or heard them."""
    add(_noted, new)


def taken() -> Messages:
    """What was noted since the last call."""
    found = _noted.copy()
    _noted.clear()
    return found
