"""The last messages of an endpoint: how many are kept, in what order, and how operators see them."""

from ipaddress import IPv4Address, IPv6Address

from supervisor.contract.messages import MessageView
from supervisor.ops.views import view_messages
from workers.contract.exchange import MOST, Kind, Messages, add, note, packed, taken
from workers.contract.lease import Family

SERVER, ADDRESS = IPv4Address("192.0.2.1"), IPv4Address("192.0.2.7")
DUID = bytes.fromhex("00030001020000000001")


def seen(messages: Messages) -> list[tuple[str, str | None]]:
    """Kind and transaction."""
    return [(view.kind, view.xid) for view in view_messages(messages)]


def test_flood() -> None:
    """The oldest go, and those of one family drive none of the other out."""
    known: Messages = {}
    add(known, packed(Family.IPV4, 1, sent=True, xid=1))
    for xid in range(1, 3 * MOST):
        note(packed(Family.IPV6, 1, sent=True, xid=xid))
    add(known, taken())
    assert taken() == {}
    note(packed(Family.IPV6, 7, xid=0xABCDEF))
    add(known, taken())
    solicits = [("SOLICIT", f"{xid:06x}") for xid in range(2 * MOST + 1, 3 * MOST)]
    assert seen(known) == [("DISCOVER", "00000001"), *solicits, ("REPLY", "abcdef")]


def test_as_operators_see_them() -> None:
    """Addresses as such, a DUID as octets, of which a long one has the first; what is missing is none."""
    known = packed(Family.IPV4, Kind.ACK, xid=42, address=ADDRESS, server=SERVER.packed)
    add(known, packed(Family.IPV6, 2, address=IPv6Address("fd00::7"), server=DUID))
    add(known, packed(Family.IPV6, 134, server=b"<b>" * 40))
    ack, advertise, router = view_messages(known)
    assert ack == MessageView(ack.time, "ipv4", "ACK", False, "0000002a", ADDRESS, "192.0.2.1")
    expected = ("ipv6", "ADVERTISE", False, None, IPv6Address("fd00::7"), DUID.hex(":"))
    assert advertise == MessageView(advertise.time, *expected)
    assert router == MessageView(router.time, "ipv6", "ROUTER-ADVERT", False, None, None, (b"<b>" * 7)[:19].hex(":"))
    assert ack.time <= advertise.time <= router.time
