"""The identity of a DHCP client: one value, made with the endpoint, for all its clients and for its release.

Also owns the legal form of a host name (RFC 952, RFC 1123), and what a user's text means as a client identifier. The
hardware address is not in here: it is the link's.
"""

import re
import uuid
from dataclasses import dataclass

MAX_LABEL = 63  # RFC 1035 section 2.3.4
ILLEGAL = re.compile(r"[^A-Za-z0-9-]+")
# The first octet of a client identifier (RFC 2132 section 9.14): the hardware type before an address, or 0.
ETHERNET, NO_HARDWARE = b"\x01", b"\x00"
OCTETS = re.compile(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2})+")
MAX_OCTETS = 64  # of each value that a user chooses: udhcpc has room for 388 octets of options in all
DUID_LL = b"\x00\x03\x00\x01"  # a DUID that is an Ethernet address (RFC 8415 section 11.4)
DUID_UUID = b"\x00\x04"  # a DUID that is a UUID (RFC 8415 section 11.5)
NODE_SPECIFIC = b"\xff"  # a client identifier that is an IAID and a DUID (RFC 4361 section 6.1)
VENDOR_CLASS = "docker-net-dhcp"
# Subnet mask, router, DNS, host name, domain, MTU, broadcast, static routes, NTP, lease time, server id, T1, T2,
# search list, classless routes and Microsoft's copy of them: servers send only options that a client asks for.
REQUESTED_OPTIONS = (1, 3, 6, 12, 15, 26, 28, 33, 42, 51, 54, 58, 59, 119, 121, 249)


@dataclass(frozen=True, slots=True)
class ClientIdentity:
    """The values of options 61, 12, 60, 77 and 55; without a host name or a user class the client sends none.

    DHCPv6 has the classes in options 16 and 15. A server knows a lease by the client identifier, so the one that
    obtained a lease also releases it. `duid` and `iaid` are that for DHCPv6 (RFC 8415 section 11 and 12). `fqdn`: the
    host name goes out as a client FQDN, by which the client asks the server to put it into the DNS (RFC 4702, RFC
    4704).
    """

    client_id: bytes
    hostname: str | None = None
    vendor_class: str = VENDOR_CLASS
    parameters: tuple[int, ...] = REQUESTED_OPTIONS
    duid: bytes = b""
    iaid: int = 0
    user_class: str | None = None
    fqdn: bool = False

    @classmethod
    def of_mac(cls, mac: str, hostname: str | None = None) -> "ClientIdentity":
        """A client with its Ethernet address as identifier, and with the nearest legal host name."""
        octets = bytes.fromhex(mac.replace(":", ""))
        duid, iaid = DUID_LL + octets, int.from_bytes(octets[-4:])
        return cls(id_of_mac(mac), legal_hostname(hostname), duid=duid, iaid=iaid)

    @classmethod
    def of_seed(cls, seed: str, hostname: str | None = None) -> "ClientIdentity":
        """A client that shares its hardware address with others; what tells it apart is made from the seed."""
        octets = uuid.uuid5(uuid.NAMESPACE_OID, f"{VENDOR_CLASS} {seed}").bytes
        duid, iaid = DUID_UUID + octets, octets[-4:]
        client_id = NODE_SPECIFIC + iaid + duid
        return cls(client_id, legal_hostname(hostname), duid=duid, iaid=int.from_bytes(iaid))


def id_of_mac(mac: str) -> bytes:
    """The client identifier of a client that has no other."""
    return ETHERNET + bytes.fromhex(mac.replace(":", ""))


def id_of_text(text: str) -> bytes:
    """The client identifier that a user means: `01:aa:bb` is these octets, any other text gets a 0 before it.

    Raises ValueError, whose text says why it can be none.
    """
    raw = bytes.fromhex(text.replace(":", "")) if OCTETS.fullmatch(text) else NO_HARDWARE + printable(text).encode()
    if len(raw) > MAX_OCTETS:
        raise ValueError(f"{text!r} makes more than {MAX_OCTETS} octets")
    return raw


def printable(text: str) -> str:
    """The text. Raises ValueError if it cannot be an option's value."""
    if not (0 < len(text) <= MAX_OCTETS and text.isascii() and text.isprintable()):
        raise ValueError(f"{text!r} is not made of 1 to {MAX_OCTETS} printable ASCII characters")
    return text


def legal_hostname(name: str | None) -> str | None:
    """The nearest legal host name, None if nothing legal is left. An underscore becomes a hyphen; labels are cut."""
    labels = (ILLEGAL.sub("-", label).strip("-")[:MAX_LABEL].rstrip("-") for label in (name or "").split("."))
    return ".".join(label for label in labels if label)[:253].strip("-.") or None
