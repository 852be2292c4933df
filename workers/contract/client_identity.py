"""The identity of a DHCP client: one value, made with the endpoint, for all its clients and for its release.

Also owns the legal form of a host name (RFC 952, RFC 1123). The hardware address is not in here: it is the link's.
"""

import re
from dataclasses import dataclass

MAX_LABEL = 63  # RFC 1035 section 2.3.4
ILLEGAL = re.compile(r"[^A-Za-z0-9-]+")
ETHERNET = b"\x01"  # the hardware type before the address in a client identifier (RFC 2132 section 9.14)
DUID_LL = b"\x00\x03\x00\x01"  # a DUID that is an Ethernet address (RFC 8415 section 11.4)
VENDOR_CLASS = "docker-net-dhcp"
# Subnet mask, router, DNS, host name, domain, MTU, broadcast, static routes, NTP, lease time, server id, T1, T2,
# search list, classless routes and Microsoft's copy of them: servers send only options that a client asks for.
REQUESTED_OPTIONS = (1, 3, 6, 12, 15, 26, 28, 33, 42, 51, 54, 58, 59, 119, 121, 249)


@dataclass(frozen=True, slots=True)
class ClientIdentity:
    """The values of options 61, 12, 60 and 55; without a host name the client sends no option 12.

    A server knows a lease by the client identifier, so the one that obtained a lease also releases it. `duid` and
    `iaid` are that for DHCPv6 (RFC 8415 section 11 and 12).
    """

    client_id: bytes
    hostname: str | None = None
    vendor_class: str = VENDOR_CLASS
    parameters: tuple[int, ...] = REQUESTED_OPTIONS
    duid: bytes = b""
    iaid: int = 0

    @classmethod
    def of_mac(cls, mac: str, hostname: str | None = None) -> "ClientIdentity":
        """A client with its Ethernet address as identifier, and with the nearest legal host name."""
        octets = bytes.fromhex(mac.replace(":", ""))
        duid, iaid = DUID_LL + octets, int.from_bytes(octets[-4:])
        return cls(ETHERNET + octets, legal_hostname(hostname), duid=duid, iaid=iaid)


def legal_hostname(name: str | None) -> str | None:
    """The nearest legal host name, None if nothing legal is left. An underscore becomes a hyphen; labels are cut."""
    labels = (ILLEGAL.sub("-", label).strip("-")[:MAX_LABEL].rstrip("-") for label in (name or "").split("."))
    return ".".join(label for label in labels if label)[:253].strip("-.") or None
