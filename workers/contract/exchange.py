"""The last DHCPv4 messages of an endpoint, for operators. They are packed, because each container has some.

Owns their form. Must not know who sent or received them.
"""

import struct
from collections.abc import Iterator
from ipaddress import IPv4Address

MOST = 16
ROW = struct.Struct("!dB?III")  # Unix time, option 53, sent, xid, address, server; 0 where there is none
KINDS = ("", "DISCOVER", "OFFER", "REQUEST", "DECLINE", "ACK", "NAK", "RELEASE")  # RFC 2132 section 9.6
ACK, NAK = KINDS.index("ACK"), KINDS.index("NAK")


def packed(
    time: float,
    kind: int,
    *,
    sent: bool = False,
    xid: int = 0,
    address: IPv4Address | None = None,
    server: IPv4Address | None = None,
) -> bytes:
    """One message; `address` is the one that it asks for or grants, `server` its option 54."""
    return ROW.pack(time, kind, sent, xid, int(address or 0), int(server or 0))


def latest(rows: bytes) -> bytes:
    """Those that are kept."""
    return rows[-MOST * ROW.size :]


def unpacked(rows: bytes) -> Iterator[tuple[float, int, bool, int, int, int]]:
    """The fields of ROW, the oldest message first."""
    return ROW.iter_unpack(rows)
