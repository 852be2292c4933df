"""The gaps in what a run has written down. Pure: from records to gaps; why there was one is tests.soak.explain's.

Leases of both families are judged alike, by what the server has heard and sent, in DHCPv4's words.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, pairwise

from tests.lab.dhcp import Message, Message6
from tests.soak.records import Gap, Heard, Injected, Kind, Operation, Presence, Probe, Span

T2 = 7 / 8  # of the lease: RFC 2131, section 4.4.5
WHOLE_SECONDS = 1  # what the server's log does not tell
UNANSWERED = 3  # probes in a row; one may be lost
START_SECONDS = 5.0  # in which a busy machine has a container on the LAN after `docker run` has answered
PROBE_SECONDS = 0.5
GRANTED_LATE = "granted when it was being stopped"
LEAVES = 10  # seconds: a container that is being stopped gives its lease back within these, if all is well
LOSSES = {"RELEASE": Kind.RELEASED, "NAK": Kind.REFUSED, "DECLINE": Kind.DECLINED}
Pair = tuple[Kind, Span]


def heard4(messages: Iterable[Message]) -> Iterator[Heard]:
    """As they are."""
    return (Heard(message.time, message.kind, message.mac, message.address) for message in messages)


def heard6(messages: Iterable[Message6]) -> Iterator[Heard]:
    """A Reply that grants an address is an ACK, one that takes it away a NAK. The address of a Release is not logged:
    it is the client's last one. One that is sent again, as no answer has come, is the same."""
    last: dict[str, Message6] = {}
    released: set[tuple[str, int]] = set()
    for message in messages:
        mac = message.duid[-len("02:00:00:00:00:00") :]
        if message.kind == "REPLY" and message.address is not None:
            yield Heard(message.time, "ACK" if message.grants else "NAK", mac, message.address)
            last[mac] = message
        elif message.kind in LOSSES and (mac, message.xid) not in released:
            released.add((mac, message.xid))
            yield Heard(message.time, message.kind, mac, last[mac].address if mac in last else None)


def lease_gaps(presence: Presence, messages: Sequence[Heard], lease_seconds: int) -> Iterator[Gap]:
    """Where the container ran and its lease did not, or was not renewed by T2. `messages` are those of all clients."""
    heard = [m for m in messages if m.mac == presence.mac and m.time <= presence.span.end]
    for kind, span in _lapses(heard, presence.span, lease_seconds):
        clipped = span.within(presence.span)
        if clipped.seconds > 0:
            yield Gap(presence.container, kind, clipped)


def _lapses(heard: list[Heard], whole: Span, lease_seconds: int) -> Iterator[Pair]:
    """From the end of a lease, or from T2, to the next ACK, or to the end of the whole."""
    lease: Heard | None = None
    lost: tuple[Kind, float] = (Kind.NO_LEASE, whole.begin)
    for message in heard:
        if message.kind == "ACK":
            yield from _before_ack(lease, lost, message.time, lease_seconds)
            lease = message
        elif message.kind in LOSSES and lease and message.address in (lease.address, None):
            # What its former life gave back is not lost in this one; it declines only what it has been granted itself.
            before = message.time < whole.begin and message.kind != "DECLINE"
            kind = Kind.NO_LEASE if before else LOSSES[message.kind]
            lost, lease = (kind, message.time + _tolerance(message)), None
    yield from _before_ack(lease, lost, whole.end, lease_seconds)


def _before_ack(lease: Heard | None, lost: tuple[Kind, float], now: float, lease_seconds: int) -> Iterator[Pair]:
    if lease is None:
        yield lost[0], Span(lost[1], now)
        return
    t2, end = lease.time + T2 * lease_seconds + WHOLE_SECONDS, lease.time + lease_seconds + WHOLE_SECONDS
    if now > end:
        yield Kind.EXPIRED, Span(end, now)
    elif now > t2:
        yield Kind.LATE, Span(t2, now)


def _tolerance(message: Heard) -> int:
    """A release in the second in which the container is stopped is in time."""
    return WHOLE_SECONDS if message.kind == "RELEASE" else 0


def probe_gaps(presence: Presence, probes: Iterable[Probe]) -> Iterator[Gap]:
    """Where the container did not answer for its address, unless it has just started, or another machine did. `probes`
    are in order, and of one family."""
    starts = presence.span.begin + START_SECONDS
    own = [p for p in probes if p.container == presence.container and _inside(p, presence.span)]
    for kind, asked in groupby(own, key=lambda probe: _verdict(probe, presence.mac)):
        times = [probe for probe in asked if kind is not Kind.SILENT or probe.time >= starts]
        if kind is None or (kind is Kind.SILENT and len(times) < UNANSWERED):
            continue
        others = {mac for probe in times for mac in probe.answers} - {presence.mac}
        addresses = " ".join(sorted({str(probe.address) for probe in times}))
        span = Span(times[0].time, times[-1].time + PROBE_SECONDS)
        yield Gap(presence.container, kind, span, " ".join([addresses, *sorted(others)]))


def _inside(probe: Probe, span: Span) -> bool:
    return span.begin <= probe.time and probe.time + PROBE_SECONDS <= span.end


def _verdict(probe: Probe, mac: str) -> Kind | None:
    if probe.answers - {mac}:
        return Kind.TWINS
    return None if probe.answers else Kind.SILENT


def identity_gaps(presences: Iterable[Presence]) -> Iterator[Gap]:
    """Where a container came back as another one, which it had never been, or as one that was there already."""
    by_container: dict[str, list[Presence]] = defaultdict(list)
    by_mac: dict[str, list[Presence]] = defaultdict(list)
    for presence in sorted(presences, key=lambda p: p.span):
        by_container[presence.container].append(presence)
        by_mac[presence.mac].append(presence)
    for lives in by_container.values():
        known: set[str] = set()
        for before, after in pairwise(lives):
            pinned = before.pinned and after.pinned
            anew = before.life == after.life and after.mac not in known
            known.add(before.mac)
            if before.mac != after.mac and (pinned or anew):
                kind = Kind.PINNED_MAC if pinned else Kind.MAC
                words = f"{before.mac} {after.mac}"
                yield Gap(after.container, kind, Span(before.span.end, after.span.begin), words)
    for holders in by_mac.values():
        for before, after in pairwise(holders):
            common = before.span.within(after.span)
            if before.container != after.container and common.seconds > 0:
                yield Gap(after.container, Kind.SHARED_MAC, common, f"{after.mac} {before.container}")


def release_gaps(messages: Iterable[Heard], names: dict[str, str]) -> Iterator[Gap]:
    """RELEASEs of what was released already; `names` are the containers by MAC."""
    last: dict[tuple[str, str], str] = {}
    for message in messages:
        key = (message.mac, str(message.address))
        if message.kind == "RELEASE" and last.get(key) == "RELEASE" and message.mac in names:
            span = Span(message.time, message.time + WHOLE_SECONDS)
            yield Gap(names[message.mac], Kind.RELEASED_TWICE, span, f"{message.mac} {message.address}")
        if message.kind in ("ACK", "RELEASE"):
            last[key] = message.kind


def unreleased_gaps(presences: Sequence[Presence], messages: Iterable[Heard], lease_seconds: int) -> Iterator[Gap]:
    """Where a container went, did not come back for its lease, and the lease was not given back while it ran."""
    by_mac: dict[str, list[Heard]] = defaultdict(list)
    for message in messages:
        by_mac[message.mac].append(message)
    for presence in presences:
        end = presence.span.end
        later = [p.span.begin for p in presences if p.mac == presence.mac and p.span.begin > end]
        lease: Heard | None = None
        for message in by_mac[presence.mac]:
            if later and message.time >= min(later):
                break
            lease = _after(lease, message, lease_seconds)
        if lease is None or lease.time + lease_seconds <= end:
            continue
        if not later or min(later) > lease.time + lease_seconds:
            words = f"{presence.mac} {lease.address}{f', {GRANTED_LATE}' if lease.time > end else ''}"
            yield Gap(presence.container, Kind.UNRELEASED, Span(end, end + LEAVES), words)


def _after(lease: Heard | None, message: Heard, lease_seconds: int) -> Heard | None:
    """The ACK of the lease that runs after this message; one that ran out before it was not given back in time."""
    if message.kind == "ACK":
        return message
    ends = lease and message.kind in LOSSES and message.address == lease.address
    return None if lease and ends and message.time <= lease.time + lease_seconds else lease


def operation_gaps(operations: Iterable[Operation]) -> Iterator[Gap]:
    """The operations that failed."""
    for operation in operations:
        if operation.error is not None:
            yield Gap(operation.container, Kind.FAILED, operation.span, f"{operation.op.value}: {operation.error}")


def fault_gaps(faults: Iterable[Injected]) -> Iterator[Gap]:
    """The faults after which the plugin, the engine or the server did not come back."""
    for injected in faults:
        if injected.error is not None:
            yield Gap("all", Kind.BROKEN, injected.span, f"{injected.fault.value}: {injected.error}")
