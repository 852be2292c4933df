"""The bytes of a DHCPRELEASE."""

from ipaddress import IPv4Address

from workers.contract.client_identity import ClientIdentity
from workers.contract.exchange import Kind
from workers.dhcp4.codec import encode

MAC = "02:42:c0:00:00:05"
MAGIC = bytes.fromhex("63825363")


def message() -> bytes:
    address, server = IPv4Address("192.0.2.5"), IPv4Address("192.0.2.1")
    return encode(Kind.RELEASE, 7, MAC, ClientIdentity.of_mac(MAC), ciaddr=address, server=server)


def test_header() -> None:
    """A BOOTREQUEST from the leased address and the client's MAC, everything else zero (RFC 2131 table 5)."""
    sent = message()

    assert sent[:4] == bytes([1, 1, 6, 0])
    assert sent[8:12] == bytes(4)
    assert sent[12:16] == bytes([192, 0, 2, 5])
    assert sent[16:28] == bytes(12)
    assert sent[28:44] == bytes.fromhex("0242c0000005").ljust(16, b"\0")
    assert sent[44:236] == bytes(192)


def test_options() -> None:
    """Type 7, the server's identifier, and the client identifier that udhcpc obtained the lease with."""
    release_from_server = bytes([53, 1, 7, 54, 4, 192, 0, 2, 1])
    client = bytes([61, 7, 1]) + bytes.fromhex("0242c0000005")

    assert message()[236:].rstrip(b"\0") == MAGIC + release_from_server + client + b"\xff"


def test_length_is_what_bootp_relays_expect() -> None:
    """300 octets at least (RFC 1542 section 2.1)."""
    assert len(message()) == 300
