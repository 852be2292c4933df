"""From what was written down to the gaps, each with what explains it, and the table that is printed. Pure."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum
from typing import TypeVar

from tests.lab.dhcp import Message, Message6
from tests.soak.diary import Diary
from tests.soak.explain import explanation
from tests.soak.gaps import (
    fault_gaps,
    heard4,
    heard6,
    identity_gaps,
    lease_gaps,
    operation_gaps,
    probe_gaps,
    release_gaps,
    unreleased_gaps,
)
from tests.soak.records import Gap, Heard, Span

E = TypeVar("E", bound=Enum)
SHOWN = 150  # characters of a gap's detail


@dataclass(frozen=True, slots=True)
class Explained:
    """A gap and its reason in words; None: there is none."""

    gap: Gap
    reason: str | None


def gaps_of(diary: Diary, messages: Sequence[Message], messages6: Sequence[Message6], lease_seconds: int) -> list[Gap]:
    """All of them, in order of time. `messages6` are all of an IPv6 server; without any there is none."""
    found = [*identity_gaps(diary.presences), *operation_gaps(diary.operations), *fault_gaps(diary.faults)]
    found += _gaps_of_family(diary, [*heard4(messages)], lease_seconds, ipv6=False)
    if messages6:
        found += _gaps_of_family(diary, [*heard6(messages6)], lease_seconds, ipv6=True)
    return sorted(found, key=lambda gap: gap.span)


def _gaps_of_family(diary: Diary, messages: Sequence[Heard], lease_seconds: int, *, ipv6: bool) -> Iterator[Gap]:
    names = {presence.mac: presence.container for presence in diary.presences}
    probes = [probe for probe in diary.probes if probe.ipv6 is ipv6]
    found = [*release_gaps(messages, names), *unreleased_gaps(diary.presences, messages, lease_seconds)]
    for presence in diary.presences:
        found += [*lease_gaps(presence, messages, lease_seconds), *probe_gaps(presence, probes)]
    return (replace(gap, ipv6=ipv6) for gap in found)


def explained(gaps: Iterable[Gap], diary: Diary) -> list[Explained]:
    """Each with its reason."""
    return [Explained(gap, explanation(gap, diary.faults, diary.operations)) for gap in gaps]


def unexplained(found: Iterable[Explained]) -> list[Gap]:
    """Those that must not be."""
    return [one.gap for one in found if one.reason is None]


def table(diary: Diary, found: Sequence[Explained]) -> str:
    """Faults, operations, the gaps that are explained by number, and each that is not."""
    return "\n".join([*_faults(diary), "", *_operations(diary), "", *_reasons(found), "", *_unexplained(found)])


def story(diary: Diary, found: Sequence[Explained]) -> str:
    """All that was done and found, in order of time."""
    lines = [(f.span, "fault", f.fault.value, f.error or "") for f in diary.faults]
    lines += [(o.span, o.container, o.op.value, o.error or "") for o in diary.operations]
    lines += [(p.span, p.container, "on the LAN", p.mac) for p in diary.presences]
    lines += [(one.gap.span, one.gap.container, f"GAP {_title(one.gap)}", _words(one)) for one in found]
    return "\n".join(f"{_clock(span)} {span.seconds:7.1f} s  {' '.join(words)}" for span, *words in sorted(lines))


def _words(one: Explained) -> str:
    return f"{one.gap.detail}: {one.reason or 'UNEXPLAINED'}"


def _clock(span: Span) -> str:
    return f"{datetime.fromtimestamp(span.begin):%H:%M:%S.%f}"[:-3]  # noqa: DTZ006  (as in the logs)


def _faults(diary: Diary) -> Iterator[str]:
    yield f"{'faults injected':44}{'n':>6}"
    yield from _rows(Counter(injected.fault for injected in diary.faults))


def _operations(diary: Diary) -> Iterator[str]:
    yield f"{'operations':44}{'n':>6}{'failed':>8}"
    failed = Counter(operation.op for operation in diary.operations if operation.error is not None)
    for op, number in _by_name(Counter(operation.op for operation in diary.operations)):
        yield f"{op.value:44}{number:6}{failed[op]:8}"


def _reasons(found: Sequence[Explained]) -> Iterator[str]:
    yield f"{'gaps that are explained':60}{'n':>6}{'longest s':>11}  by"
    pairs = Counter((_title(one.gap), one.reason) for one in found if one.reason is not None)
    for (title, reason), number in sorted(pairs.items(), key=lambda item: (item[0][0], item[0][1] or "")):
        longest = max(one.gap.span.seconds for one in found if (_title(one.gap), one.reason) == (title, reason))
        yield f"{title:60}{number:6}{longest:11.1f}  {reason}"


def _title(gap: Gap) -> str:
    return f"IPv6: {gap.kind.value}" if gap.ipv6 else gap.kind.value


def _unexplained(found: Sequence[Explained]) -> Iterator[str]:
    gaps = unexplained(found)
    yield f"{len(gaps)} unexplained"
    for gap in gaps:
        yield f"{gap.container:10} {_clock(gap.span)} {gap.span.seconds:7.1f} s  {_title(gap)}: {gap.detail[:SHOWN]}"


def _rows(numbers: Counter[E]) -> Iterator[str]:
    for what, number in _by_name(numbers):
        yield f"{what.value:44}{number:6}"


def _by_name(numbers: Counter[E]) -> list[tuple[E, int]]:
    return sorted(numbers.items(), key=lambda item: str(item[0].value))
