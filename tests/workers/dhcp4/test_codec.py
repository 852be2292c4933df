"""The DHCPv4 codec before hostile answers: split, overloaded, truncated, nested and endless options."""

import time
from contextlib import suppress
from ipaddress import IPv4Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor.ops.views import view_messages
from workers.contract.exchange import Kind
from workers.dhcp.errors import InvalidLease, Malformed
from workers.dhcp4.codec import ANSWERS, COOKIE, END, HEADER, OVERLOAD, PAD, Answer, decode, noted
from workers.dhcp4.lease_parser import parse_lease

XID, ADDRESS, MAC = 0x12345678, IPv4Address("192.0.2.10"), "02:00:5e:00:53:01"
TYPE = 53
LARGEST = 65507 - HEADER.size  # what is left of the largest UDP payload
SECONDS = 2.0  # of the processor; the slowest takes a tenth of it
FILE, SNAME, BOTH = 1, 2, 3
Options = list[tuple[int, bytes]]
KNOWN = (1, 3, 6, 15, 26, 33, 51, 54, 56, 119, 121, 249)


def message(area: bytes, file: bytes = b"", sname: bytes = b"") -> bytes:
    """A BOOTREPLY with these octets as its options."""
    fields = (2, 1, 6, 0, XID, 0, 0, b"", ADDRESS.packed, b"", b"", bytes.fromhex(MAC.replace(":", "")), sname, file)
    return HEADER.pack(*fields, COOKIE) + area


def area(wanted: Options) -> bytes:
    """The options without an END."""
    return b"".join(bytes([code, len(value)]) + value for code, value in wanted)


def joined(*areas: Options) -> dict[int, bytes]:
    """The values of each code one after another (RFC 3396 section 5)."""
    found: dict[int, bytes] = {}
    for code, value in (option for wanted in areas for option in wanted):
        found[code] = found.get(code, b"") + value
    return found


def interpreted(payload: bytes) -> Answer | None:
    """The answer as a client reads it, down to the lease; fails with any exception but the two that clients expect.

    Operators see each answer.
    """
    answer = None
    with suppress(Malformed, InvalidLease):
        answer = decode(payload)
        (seen,) = view_messages(noted(payload))
        assert (seen.kind, seen.xid and int(seen.xid, 16), seen.sent) == (answer.kind.name, answer.xid or None, False)
        parse_lease(answer.values, 0.0)
    return answer


same_each_run = settings(derandomize=True, database=None, deadline=None, max_examples=200)
codes = st.one_of(st.sampled_from(KNOWN), st.integers(1, 254)).filter(lambda code: code not in (OVERLOAD, TYPE))
options = st.lists(st.tuples(codes, st.binary(max_size=20)), max_size=12)
few = options.map(lambda some: some[:2])  # what fits into `sname`


@same_each_run
@given(st.one_of(st.binary(max_size=400), options.map(area)), st.booleans())
def test_any_octets(octets: bytes, reply: bool) -> None:
    """Any octets, alone or after a good header, are a lease, InvalidLease or Malformed; nothing else is raised."""
    interpreted(message(area([(TYPE, b"\2")]) + octets) if reply else octets)


@same_each_run
@given(st.sampled_from([*ANSWERS.values()]), options, st.lists(st.integers(0, 12), max_size=4))
def test_split_options(kind: Kind, wanted: Options, pads: list[int]) -> None:
    """Values that are split over several options come out whole; PAD is skipped, and what follows END is unseen."""
    octets = area([(TYPE, bytes([kind]))])
    for number, option in enumerate(wanted):
        octets += bytes(pads.count(number)) + area([option])

    answer = decode(message(octets + bytes([END]) + area([(51, b"\0\0\0\1")])))

    assert (answer.kind, answer.xid, answer.address, answer.mac) == (kind, XID, ADDRESS, MAC)
    assert answer.options == joined([(TYPE, bytes([kind]))], wanted)


@same_each_run
@given(st.sampled_from([FILE, SNAME, BOTH]), options, few, few)
def test_overload(flag: int, first: Options, file: Options, sname: Options) -> None:
    """Options continue in `file`, then in `sname`, where option 52 says so (RFC 2132 section 9.3), and only there."""
    head = [(TYPE, b"\5"), (OVERLOAD, bytes([flag]))]

    answer = decode(message(area([*head, *first]) + bytes([END]), area(file), area(sname)))

    continued = [file] if flag == FILE else [sname] if flag == SNAME else [file, sname]
    assert answer.options == joined(head, first, *continued)
    plain = decode(message(area([head[0], *first]) + bytes([END]), area(file), area(sname)))
    assert plain.options == joined(head[:1], first)


@same_each_run
@given(options, st.data())
def test_truncated(wanted: Options, data: st.DataObject) -> None:
    """A message that is cut anywhere is malformed, or lacks the options from the cut on; none is changed."""
    whole = message(area([(TYPE, b"\5"), *wanted]))
    cut = data.draw(st.integers(0, len(whole) - 1))

    answer = interpreted(whole[:cut])

    if cut < HEADER.size + 3:
        assert answer is None
    else:
        complete = [n for n in range(len(wanted) + 1) if len(area(wanted[:n])) <= cut - HEADER.size - 3]
        assert answer is not None
        assert answer.options == joined([(TYPE, b"\5")], wanted[: complete[-1]])


ENG, MARKETING = b"\3eng\5apple\3com\0", b"\11marketing\xc0\4"  # RFC 3397 section 3


@pytest.mark.parametrize(
    ("octets", "names"),
    [
        (ENG + MARKETING, "eng.apple.com marketing.apple.com"),
        (ENG + b"\xc0\4" + MARKETING, "eng.apple.com apple.com marketing.apple.com"),
        (b"", ""),
        (b"\0" + ENG, ""),
        (ENG + b"\4lan", "eng.apple.com"),
        (ENG + b"\xc0", "eng.apple.com"),
        (ENG + b"\xc0\17", "eng.apple.com"),
        (ENG + b"\xc0\40", "eng.apple.com"),
        (ENG + b"\x80\0", "eng.apple.com"),
        (b"\xc0\0", ""),
        (b"\1a" * 127 + b"\0", ".".join("a" * 127)),
        (b"\1a" * 128 + b"\0", ""),
    ],
)
def test_search_list(octets: bytes, names: str) -> None:
    """Option 119 is read as RFC 3397 compresses it; a pointer that leads nowhere, on or around ends the list."""
    answer = decode(
        message(area([(TYPE, b"\5"), *((119, octets[at : at + 255]) for at in range(0, len(octets), 255))]))
    )

    assert answer.values["search"] == names


@pytest.mark.parametrize(
    "octets",
    [
        *(bytes([PAD]) * LARGEST, (bytes([121, 1]) + b"\0") * (LARGEST // 3), (bytes([3, 0])) * (LARGEST // 2)),
        *(area([(code, bytes(255))]) * (LARGEST // 257) for code in KNOWN),
        *(area([(code, b"\xff" * 255)]) * (LARGEST // 257) for code in KNOWN),
        bytes(range(1, 255)) * (LARGEST // 254),
    ],
    ids=lambda octets: octets[:4].hex(),
)
def test_largest(octets: bytes) -> None:
    """The largest datagram costs little, however its options repeat each other."""
    began = time.process_time()
    answer = interpreted(message(area([(TYPE, b"\5")]) + octets))
    assert answer is not None
    assert time.process_time() - began < SECONDS
