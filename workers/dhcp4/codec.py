"""DHCPv4 messages (RFC 2131 section 2, RFC 2132) to bytes and back.

Answers are hostile: malformed bytes must cost one option, not the message. Must not know sockets, timers, or what an
answer means. pyroute2 has a codec as well; its first message costs a worker 0.6 ms and 0.6 MB.
"""

import struct
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address

from msgspec import Struct

from workers.contract.client_identity import ClientIdentity
from workers.contract.exchange import Kind, Messages, packed
from workers.contract.lease import Family
from workers.dhcp.errors import Malformed

ANSWERS = {bytes([kind]): kind for kind in (Kind.OFFER, Kind.ACK, Kind.NAK)}  # by their option 53
BOOTP_MINIMUM = 300  # octets; relays and servers may drop less (RFC 1542 section 2.1)
MAX_MESSAGE = 1472  # the payload of an Ethernet frame
MAX_NAMES, MAX_NAME = 64, 253  # of a search list, and the octets of one name (RFC 1035)
BROADCAST_FLAG = 0x8000
HEADER = struct.Struct("!BBBBIHH4s4s4s4s16s64s128s4s")
COOKIE = b"\x63\x82\x53\x63"
BOOTREQUEST, BOOTREPLY = 1, 2
ETHERNET, ETHERNET_LENGTH = 1, 6  # the hardware type and its addresses
PAD, END, OVERLOAD = 0, 255, 52
# Flags E and S, two codes that are no longer used, and then a partial name without a root label, to which the server
# adds its domain (RFC 4702 sections 2 and 3).
CLIENT_FQDN = b"\x05\x00\x00"


class Answer(Struct, frozen=True):
    """A server's message; `options` are raw, and the parts of a split option (RFC 3396) are joined.

    `sender` is the MAC that the frame came from, if it is known.
    """

    kind: Kind
    xid: int
    address: IPv4Address
    mac: str
    options: Mapping[int, bytes]
    sender: str = ""

    @property
    def server(self) -> IPv4Address | None:
        """Option 54."""
        found = _addresses(self.options.get(54, b""))
        return found[0] if found else None

    @property
    def values(self) -> dict[str, str]:
        """The answer in udhcpc's variables, which `parse_lease` validates."""
        words = {"ip": str(self.address)}
        for name, code in (("subnet", 1), ("router", 3), ("dns", 6), ("ntpsrv", 42), ("serverid", 54)):
            words[name] = " ".join(map(str, _addresses(self.options.get(code, b""))))
        for name, code, size in (("lease", 51, 4), ("renewal", 58, 4), ("rebinding", 59, 4), ("mtu", 26, 2)):
            raw = self.options.get(code, b"")
            words[name] = str(int.from_bytes(raw, "big")) if len(raw) == size else ""
        for name, code in (("domain", 15), ("message", 56)):
            words[name] = self.options.get(code, b"").rstrip(b"\0").decode("utf-8", "replace")
        words["search"] = " ".join(_names(self.options.get(119, b"")))
        words["routes"] = _static(self.options.get(33, b""))
        words["staticroutes"] = _classless(self.options.get(121, b""))
        words["msstaticroutes"] = _classless(self.options.get(249, b""))
        return words


def encode(
    kind: Kind,
    xid: int,
    mac: str,
    identity: ClientIdentity,
    *,
    ciaddr: IPv4Address | None = None,
    broadcast: bool = False,
    secs: int = 0,
    server: IPv4Address | None = None,
    requested: IPv4Address | None = None,
    words: str = "",
) -> bytes:
    """The UDP payload of a client's message, with the options of RFC 2131, table 5.

    `mac` is the hardware address (chaddr). `words` tell the server's operator why a lease is declined (option 56).
    """
    hardware = bytes.fromhex(mac.replace(":", ""))
    options = [(53, bytes([kind]))]
    if server is not None:
        options.append((54, server.packed))
    if requested is not None:
        options.append((50, requested.packed))
    if words:
        options.append((56, words.encode("ascii")))
    options.append((61, identity.client_id))
    if kind in (Kind.DISCOVER, Kind.REQUEST):
        options += description(identity)
        options.append((57, MAX_MESSAGE.to_bytes(2, "big")))
        options.append((60, identity.vendor_class.encode("ascii")))
        options.append((55, bytes(identity.parameters)))
    fields = (BOOTREQUEST, ETHERNET, ETHERNET_LENGTH, 0, xid, min(secs, 0xFFFF), BROADCAST_FLAG if broadcast else 0)
    addresses = (ciaddr.packed if ciaddr else b"", b"", b"", b"")
    header = HEADER.pack(*fields, *addresses, hardware, b"", b"", COOKIE)
    area = b"".join(bytes([code, len(value)]) + value for code, value in options)
    return (header + area + bytes([END])).ljust(BOOTP_MINIMUM, b"\0")


def noted(payload: bytes, *, sent: bool = False) -> Messages:
    """A message of ours, or an answer that `decode` takes, for those who look at the exchange."""
    fields, options = HEADER.unpack_from(payload), _options(payload)
    asked = _addresses(options.get(50, fields[7]) if sent else fields[8])[:1]
    address = next((a for a in asked if not a.is_unspecified), None)
    server = b"".join(a.packed for a in _addresses(options.get(54, b""))[:1])
    return packed(Family.IPV4, options[53][0], sent=sent, xid=fields[4], address=address, server=server)


def description(identity: ClientIdentity) -> Iterator[tuple[int, bytes]]:
    """The options of DISCOVER and REQUEST that a client has only if its user or its container brings them.

    A client that sends its name as an FQDN must not send option 12 as well (RFC 4702 section 3.1).
    """
    if identity.hostname is not None and identity.fqdn:
        labels = (label.encode("ascii") for label in identity.hostname.split("."))
        yield 81, CLIENT_FQDN + b"".join(bytes([len(label)]) + label for label in labels)
    elif identity.hostname is not None:
        yield 12, identity.hostname.encode("ascii")
    if identity.user_class is not None:
        value = identity.user_class.encode("ascii")
        yield 77, bytes([len(value)]) + value  # RFC 3004: a list, each item with its length before it


def decode(payload: bytes, sender: str = "") -> Answer:
    """A server's message. Raises Malformed."""
    if len(payload) < HEADER.size:
        raise Malformed(f"{len(payload)} octets are too few")
    op, htype, hlen, _, xid, _, _, _, yiaddr, _, _, chaddr, _, _, cookie = HEADER.unpack_from(payload)
    if (op, htype, hlen, cookie) != (BOOTREPLY, ETHERNET, ETHERNET_LENGTH, COOKIE):
        raise Malformed("not a BOOTREPLY for an Ethernet client")
    options = _options(payload)
    kind = options.get(53, b"")
    if kind not in ANSWERS:
        raise Malformed(f"message type {kind.hex() or 'missing'} is none of a server's")
    return Answer(ANSWERS[kind], xid, IPv4Address(yiaddr), chaddr[:6].hex(":"), options, sender)


def _options(payload: bytes) -> dict[int, bytes]:
    """Those of all areas."""
    options = _collect(payload[HEADER.size :])
    *_, sname, file, _ = HEADER.unpack_from(payload)
    overload = options.get(OVERLOAD, b"\0")[-1:]
    for flag, field in ((b"\1", file), (b"\2", sname)):  # RFC 2132 section 9.3: 1 file, 2 sname, 3 both
        if overload in (flag, b"\3"):
            for code, value in _collect(field).items():
                options[code] = options.get(code, b"") + value
    return options


def _collect(area: bytes) -> dict[int, bytes]:
    """The options of one area. Drops an option that runs over the end."""
    options: dict[int, bytes] = {}
    position = 0
    while position < len(area) and area[position] != END:
        if area[position] == PAD:
            position += 1
            continue
        code, length = area[position], int.from_bytes(area[position + 1 : position + 2], "big")
        value = area[position + 2 : position + 2 + length]
        position += 2 + length
        if position <= len(area):
            options[code] = options.get(code, b"") + value
    return options


def _addresses(raw: bytes) -> list[IPv4Address]:
    return [IPv4Address(raw[i : i + 4]) for i in range(0, len(raw) - len(raw) % 4, 4)]


def _names(raw: bytes) -> Iterator[str]:
    """RFC 3397: names as in a DNS message, whose pointers count from the beginning of the option.

    The rest of the list after a malformed name is lost.
    """
    position = 0
    for _ in range(MAX_NAMES):
        name, position = _name(raw, position)
        if not name:
            return
        yield name


def _name(raw: bytes, position: int) -> tuple[str, int]:
    """The name at a position, and where the next one is; "" if it is malformed. A pointer must lead back."""
    labels: list[str] = []
    end, limit = 0, len(raw)
    while position < len(raw) and sum(map(len, labels), len(labels)) <= MAX_NAME + 1:
        length = raw[position]
        if length == 0:
            return ".".join(labels), end or position + 1
        if length < 0x40:
            labels.append(raw[position + 1 : position + 1 + length].decode("ascii", "replace"))
            position += 1 + length
        else:
            end = end or position + 2
            target = int.from_bytes(raw[position : position + 2], "big") - 0xC000
            if not 0 <= target < min(limit, position):
                break
            position = limit = target
    return "", len(raw)


def _static(raw: bytes) -> str:
    pairs = _addresses(raw)
    return " ".join(f"{host}/{hop}" for host, hop in zip(pairs[::2], pairs[1::2], strict=False))


def _classless(raw: bytes) -> str:
    return " ".join(_classless_pairs(raw))


def _classless_pairs(raw: bytes) -> Iterator[str]:
    """RFC 3442: a prefix length, its significant octets, the next hop."""
    position = 0
    while position < len(raw) and raw[position] <= 32:
        length = raw[position]
        size = (length + 7) // 8
        network, hop = raw[position + 1 : position + 1 + size], raw[position + 1 + size : position + 5 + size]
        position += 5 + size
        if len(hop) == 4:
            yield f"{IPv4Address(network.ljust(4, bytes(1)))}/{length} {IPv4Address(hop)}"
