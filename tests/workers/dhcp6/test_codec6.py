"""DHCPv6 messages byte for byte, and what malformed options cost."""

from dataclasses import replace
from ipaddress import IPv6Address

import pytest

from tests.netns.process.wire6 import (
    Kind,
    Option,
    Packet,
    decode_options,
    encode_options,
    ia_address,
    ia_na,
    wire_names,
)
from tests.workers.dhcp6.client import ADDRESS, IDENTITY, SERVER
from workers.contract.client_identity import ClientIdentity
from workers.contract.exchange import Kind6
from workers.dhcp.errors import Malformed
from workers.dhcp6.codec import ANSWERS, MAX_ADDRESSES, MAX_DOMAINS, Answer, decode, encode

XID = 0xABCDEF
MAC = "02:42:c0:a8:4d:05"


def answer(*options: tuple[int, bytes]) -> Answer:
    """A Reply with these options besides the server's identifier."""
    return decode(Packet(Kind.REPLY, XID, [(int(Option.SERVER_ID), SERVER), *options]).encode())


def test_solicit() -> None:
    """Byte for byte: message type and transaction, DUID-LL, elapsed time, IA_NA, rapid commit, what is wanted, vendor
    class, user class, name."""
    identity = replace(ClientIdentity.of_mac(MAC, "web"), vendor_class="phones", user_class="lab")
    assert encode(Kind6.SOLICIT, XID, identity, addresses=()).hex() == (
        "01abcdef" + "0001000a000300010242c0a84d05" + "000800020000" + "0003000cc0a84d050000000000000000" + "000e0000"
        "00060008" + "0017001800270052" + "0010000c" + "00000000" + "000670686f6e6573" + "000f0005" + "00036c6162"
        "00270005" + "0103776562"
    )


def test_identity_is_stable() -> None:
    """DUID and IAID follow from the MAC alone."""
    first, second = ClientIdentity.of_mac(MAC, "a"), ClientIdentity.of_mac(MAC)
    assert (first.duid, first.iaid) == (second.duid, second.iaid)
    assert first.duid.hex() == "000300010242c0a84d05"


@pytest.mark.parametrize(
    ("hostname", "expected"), [("web", b"\1\3web"), ("web.lan.test", b"\1\3web\3lan\4test\0"), (None, None)]
)
def test_name(hostname: str | None, expected: bytes | None) -> None:
    """A bare name is a part of one, without an end (RFC 4704 section 4.2); without a name there is no option."""
    message = encode(Kind6.REQUEST, XID, ClientIdentity.of_mac(MAC, hostname), server=SERVER, addresses=())
    assert Packet.decode(message).option(Option.FQDN) == expected


def test_elapsed_time_ends_at_its_maximum() -> None:
    """11 minutes and more are 0xffff (section 21.9)."""
    message = encode(Kind6.SOLICIT, XID, IDENTITY, elapsed=1e6)
    assert Packet.decode(message).option(Option.ELAPSED) == b"\xff\xff"


@pytest.mark.parametrize("kind", [kind for kind in Kind6 if kind < Kind6.ROUTER_SOLICIT and kind not in ANSWERS])
def test_what_each_message_has(kind: Kind6) -> None:
    """Client identifier and elapsed time are in all; Decline, Release and Confirm ask for nothing."""
    packet = Packet.decode(encode(kind, XID, IDENTITY, addresses=(ADDRESS,)))
    assert (int(packet.kind), packet.xid, packet.addresses) == (int(kind), XID, [ADDRESS])
    codes = {code for code, _ in packet.options}
    assert {Option.CLIENT_ID, Option.ELAPSED} <= codes
    asks = kind not in (Kind6.DECLINE, Kind6.RELEASE, Kind6.CONFIRM)
    assert (Option.REQUESTED in codes) == asks
    assert (Option.RAPID_COMMIT in codes) == (kind is Kind6.SOLICIT)


@pytest.mark.parametrize("data", [b"", b"\7\0\0", b"\1\0\0\0", b"\7\0\0\0", b"\7\0\0\0\0\2\0\0", b"\x0c" + bytes(40)])
def test_no_answer(data: bytes) -> None:
    """Too short, a client's or a relay's message, one without a server."""
    with pytest.raises(Malformed):
        decode(data)


def test_server_identifier_of_no_length() -> None:
    """Section 11.1."""
    with pytest.raises(Malformed, match="131 octets"):
        decode(Packet(Kind.REPLY, XID, [(Option.SERVER_ID, bytes(131))]).encode())


def test_truncated_option() -> None:
    """It is lost, and those before it count."""
    options = [(int(Option.SERVER_ID), SERVER), (int(Option.PREFERENCE), b"\7"), (int(Option.DNS), ADDRESS.packed)]
    found = decode(b"\7\0\0\0" + encode_options(options)[:-1])
    assert (found.preference, found.dns) == (7, ())


def test_wrong_sizes() -> None:
    """Numbers of another size are as if they were not there."""
    found = answer(
        (Option.PREFERENCE, b"\1\2"), (Option.SOL_MAX_RT, b"\1"), (Option.REFRESH, b""), (Option.STATUS, b"\1")
    )
    assert (found.preference, found.sol_max_rt, found.refresh, found.status.code) == (0, None, None, 0)
    assert answer((Option.IA_NA, bytes(11))).associations == {}
    assert (
        answer((Option.IA_NA, bytes(12) + encode_options([(Option.IA_ADDRESS, bytes(23))]))).associations[0].addresses
        == ()
    )


def test_name_servers() -> None:
    """What no server beyond the link can have, and a rest, are left out; the others count once, up to a maximum."""
    useless = [IPv6Address(a).packed for a in ("::", "::1", "ff02::1", "fe80::1")]
    assert answer((Option.DNS, b"".join([ADDRESS.packed * 2, *useless, b"rest"]))).dns == (ADDRESS,)
    assert len(answer((Option.DNS, b"".join((ADDRESS + i).packed for i in range(100)))).dns) == MAX_ADDRESSES


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (wire_names("lan.test", "example.org", "lan.test"), ("lan.test", "example.org")),
        (b"\3lan", ()),
        (b"\3lan\0\x40" + bytes(64), ("lan",)),
        (b"\xc0\x0c", ()),
        (wire_names("a b", "ok", "x\n", "a/b"), ("ok",)),
        (b"\1\xff\0", ()),
        (wire_names(".".join(["a" * 60] * 5)), ()),
        (wire_names("ok") + bytes(7), ("ok",)),
    ],
)
def test_search_list(raw: bytes, expected: tuple[str, ...]) -> None:
    """Legal names only, up to the first part that is none of DNS's form."""
    assert answer((Option.SEARCH, raw)).search == expected


def test_many_domains() -> None:
    """A resolver takes no more."""
    assert len(answer((Option.SEARCH, wire_names(*(f"d{i}" for i in range(100))))).search) == MAX_DOMAINS


def test_words_are_text() -> None:
    """A status's words are shown to users: at most 100 characters, whatever the bytes."""
    found = answer((Option.STATUS, b"\0\2" + b"\xff" * 500))
    assert (found.status.code, len(found.status.words)) == (2, 100)
    assert str(answer((Option.STATUS, b"\1\0")).status) == "status 256"


def test_associations_by_iaid() -> None:
    """Each with its addresses."""
    found = answer(*(ia_na(iaid, 1, 2, ia_address(ADDRESS + iaid, 3, 4)) for iaid in (7, 8)))
    assert {iaid: a.addresses[0].address for iaid, a in found.associations.items()} == {7: ADDRESS + 7, 8: ADDRESS + 8}


def test_own_codec_is_not_the_tests() -> None:
    """The two agree about a whole message."""
    message = encode(Kind6.RENEW, XID, IDENTITY, server=SERVER, addresses=(ADDRESS,))
    assert encode_options(decode_options(message[4:])) == message[4:]
