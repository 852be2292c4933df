"""Gaps are found where they are, and only there."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address

import pytest

from tests.lab.dhcp import Message6
from tests.soak.gaps import (
    GRANTED_LATE,
    heard6,
    identity_gaps,
    lease_gaps,
    operation_gaps,
    probe_gaps,
    release_gaps,
    unreleased_gaps,
)
from tests.soak.records import Gap, Heard, Kind, Op, Operation, Presence, Probe, Span

MAC, OTHER = "02:00:00:00:00:01", "02:00:00:00:00:02"
ADDRESS, ELSEWHERE = IPv4Address("192.168.77.20"), IPv4Address("192.168.77.140")
LEASE = 120  # seconds
PRESENCE = Presence("web", MAC, Span(1000.0, 1300.0), 1, pinned=False)


def heard(*words: str, address: IPv4Address = ADDRESS) -> list[Heard]:
    """`ACK@60` is an ACK 60 seconds after the presence's begin."""
    pairs = [word.split("@") for word in words]
    return [Heard(PRESENCE.span.begin + float(at), kind, MAC, address) for kind, at in pairs]


def lapses(messages: list[Heard]) -> list[tuple[Kind, float, float]]:
    """The kinds of gap, with begin and end in seconds after the presence's begin."""
    origin = PRESENCE.span.begin
    return [(g.kind, g.span.begin - origin, g.span.end - origin) for g in lease_gaps(PRESENCE, messages, LEASE)]


def test_renewed_in_time() -> None:
    """A lease that is renewed between T1 and T2 has no gap, nor has one that another client is refused."""
    others = [Heard(1070.0, "NAK", OTHER, ADDRESS), Heard(1071.0, "RELEASE", OTHER, ADDRESS)]
    assert lapses(sorted(heard("ACK@-1", "ACK@60", "ACK@150", "ACK@254") + others, key=lambda m: m.time)) == []


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        (["ACK@-1", "ACK@110", "ACK@200"], [(Kind.LATE, 105, 110)]),
        (["ACK@-1", "ACK@150", "ACK@220"], [(Kind.EXPIRED, 120, 150)]),
        (["ACK@0", "ACK@60", "ACK@120"], [(Kind.EXPIRED, 241, 300)]),
        (["ACK@0", "ACK@60", "ACK@120", "ACK@185"], [(Kind.LATE, 291, 300)]),
        (["ACK@0", "RELEASE@50", "ACK@80", "ACK@140", "ACK@200"], [(Kind.RELEASED, 51, 80)]),
        (["ACK@0", "ACK@60", "NAK@120", "DISCOVER@123", "ACK@124", "ACK@200"], [(Kind.REFUSED, 120, 124)]),
        (["ACK@0", "DECLINE@1", "ACK@3", "ACK@100", "ACK@200"], [(Kind.DECLINED, 1, 3)]),
        (["ACK@-2", "DECLINE@-1", "ACK@9", "ACK@100", "ACK@200"], [(Kind.DECLINED, 0, 9)]),
        (["ACK@-70", "RELEASE@-9", "ACK@30", "ACK@120", "ACK@200"], [(Kind.NO_LEASE, 0, 30)]),
        (["DISCOVER@1", "OFFER@1", "ACK@2", "ACK@100", "ACK@200"], [(Kind.NO_LEASE, 0, 2)]),
        ([], [(Kind.NO_LEASE, 0, 300)]),
    ],
)
def test_lapse(messages: list[str], expected: list[tuple[Kind, float, float]]) -> None:
    """Whatever a lease is lost by, the gap lasts until the next ACK."""
    assert lapses(heard(*messages)) == expected


def test_released_before_and_after() -> None:
    """What is released before the container is there, or in the second in which it goes, is no gap."""
    assert lapses(heard("ACK@-70", "RELEASE@-9", "ACK@-1", "ACK@100", "ACK@200", "RELEASE@300")) == []


def test_ipv6() -> None:
    """A Reply is an ACK or a NAK, and a Release is of the last address; what else is said of DHCPv6 does not count."""
    address, duid = IPv6Address("fd00::7"), f"00:03:00:01:{MAC}"

    def said(at: float, kind: str, words: str = "web", named: IPv6Address | None = address) -> Message6:
        return Message6(PRESENCE.span.begin + at, kind, duid, named, 7, words)

    first = [said(0, "SOLICIT", "", None), said(0, "REPLY"), said(60, "RENEW"), said(60, "REPLY")]
    rest = [said(100, "RENEW"), said(100, "REPLY", "lease not found"), said(110, "REPLY"), said(200, "REPLY")]
    end = [said(250, "RELEASE", "", None), said(250, "REPLY", "release received", None)]
    messages = [*heard6([*first, *rest, *end])]
    assert {(m.mac, m.address) for m in messages} == {(MAC, address)}
    assert lapses(messages) == [(Kind.REFUSED, 100, 110), (Kind.RELEASED, 251, 300)]


def test_ipv6_release_that_is_sent_again() -> None:
    """A Release without an answer is sent again, as the same message; another one is a second release."""
    duid = f"00:03:00:01:{MAC}"
    granted = Message6(1000.0, "REPLY", duid, IPv6Address("fd00::7"), 1, "web")
    first, again, second = (Message6(1100.0 + xid, "RELEASE", duid, None, xid, "") for xid in (2, 2, 3))
    assert list(release_gaps(heard6([granted, first, again]), {MAC: "web"})) == []
    assert len(list(release_gaps(heard6([granted, first, second]), {MAC: "web"}))) == 1


def test_other_address_released() -> None:
    """A former address that is given back late does not end the lease of the present one."""
    present = heard("ACK@10", "ACK@110", "ACK@210", address=ELSEWHERE)
    assert lapses([*heard("ACK@-1"), present[0], *heard("RELEASE@20"), *present[1:]]) == []


def probed(answers: str, begin: int = 1100) -> list[Gap]:
    """One probe each half second: `+` is answered, `-` is not, `!` is answered by another machine as well."""
    told = {"+": {MAC}, "-": set(), "!": {MAC, OTHER}}
    probes = [Probe(begin + n / 2, "web", ADDRESS, frozenset(told[answer])) for n, answer in enumerate(answers)]
    return list(probe_gaps(PRESENCE, probes))


def test_probes() -> None:
    """Three unanswered probes are a gap, two are not; one answer of another machine is."""
    assert probed("++--++-+") == []
    assert [(g.kind, g.span) for g in probed("++---++!")] == [
        (Kind.SILENT, Span(1101.0, 1102.5)),
        (Kind.TWINS, Span(1103.5, 1104.0)),
    ]
    assert OTHER in probed("!")[0].detail


def test_container_that_has_just_started() -> None:
    """Its silence is a gap after the first seconds, another machine's answer at once."""
    assert probed("-----", 1000) == []
    assert [g.span.begin for g in probed("-" * 20, 1000)] == [1005.0]
    assert [g.kind for g in probed("!", 1000)] == [Kind.TWINS]


def test_probes_of_others_and_at_other_times() -> None:
    """What was asked of another container, or before and after this one was there, does not count."""
    silent: frozenset[str] = frozenset()
    others = [Probe(1000 + n / 2, "db", ADDRESS, silent) for n in range(9)]
    outside = [Probe(at, "web", ADDRESS, silent) for at in (998.0, 998.5, 999.0, 1299.8, 1300.5, 1301.0)]
    assert list(probe_gaps(PRESENCE, [*others, *outside])) == []


def kinds(*presences: Presence) -> list[Kind]:
    """Of the gaps in identity."""
    return [gap.kind for gap in identity_gaps(presences)]


def test_identity() -> None:
    """A MAC changes with a removal only, unless it is pinned, and nobody has another's at the same time."""
    later = Presence("web", OTHER, Span(1310.0, 1400.0), 1, pinned=False)
    assert kinds(PRESENCE, later) == [Kind.MAC]
    assert kinds(PRESENCE, Presence("web", MAC, Span(1310.0, 1400.0), 1, pinned=False)) == []
    connected = Presence("web", OTHER, Span(1310.0, 1400.0), 2, pinned=False)
    assert kinds(PRESENCE, connected, Presence("web", MAC, Span(1410.0, 1500.0), 2, pinned=False)) == []  # its own
    assert kinds(PRESENCE, Presence("web", OTHER, Span(1310.0, 1400.0), 2, pinned=False)) == []
    pinned = Presence("web", OTHER, Span(1310.0, 1400.0), 2, pinned=True)
    assert kinds(replace(PRESENCE, pinned=True), pinned) == [Kind.PINNED_MAC]
    assert kinds(PRESENCE, pinned) == []  # it was not before
    assert kinds(PRESENCE, Presence("db", MAC, Span(1290.0, 1400.0), 1, pinned=False)) == [Kind.SHARED_MAC]
    assert kinds(PRESENCE, Presence("db", MAC, Span(1310.0, 1400.0), 1, pinned=False)) == []


def test_released_twice() -> None:
    """A second RELEASE without an ACK in between is one too many."""
    names = {MAC: "web"}
    assert list(release_gaps(heard("ACK@0", "RELEASE@1", "ACK@2", "RELEASE@3"), names)) == []
    (gap,) = release_gaps(heard("ACK@0", "RELEASE@1", "RELEASE@9"), names)
    assert (gap.container, gap.kind, gap.span.begin) == ("web", Kind.RELEASED_TWICE, 1009.0)


def test_unreleased() -> None:
    """A lease is given back when its container goes, unless it comes back for it, or the lease had run out."""

    def unreleased(*words: str, others: tuple[Presence, ...] = ()) -> list[Kind]:
        return [gap.kind for gap in unreleased_gaps([PRESENCE, *others], heard(*words), LEASE)]

    back = Presence("web", MAC, Span(1310.0, 1311.0), 1, pinned=False)
    assert unreleased("ACK@250") == [Kind.UNRELEASED]
    assert unreleased("ACK@250", "RELEASE@301") == []
    assert unreleased("ACK@250", "NAK@301") == []  # the server has ended it by itself
    assert unreleased("ACK@250", "RELEASE@371") == [Kind.UNRELEASED]
    assert unreleased("RELEASE@100", "ACK@250") == [Kind.UNRELEASED]
    assert unreleased("ACK@250", "RELEASE@311", others=(back,)) == []
    assert unreleased("ACK@170") == []
    (late,) = unreleased_gaps([PRESENCE], heard("ACK@250", "RELEASE@301", "ACK@302"), LEASE)
    assert GRANTED_LATE in late.detail


def test_failed_operation() -> None:
    """An operation that failed is a gap for as long as it took."""
    done = Operation(Op.PAUSE, "web", Span(1.0, 2.0))
    failed = Operation(Op.RESTART, "web", Span(3.0, 5.0), "no such network")
    assert [(gap.kind, gap.span) for gap in operation_gaps([done, failed])] == [(Kind.FAILED, Span(3.0, 5.0))]
