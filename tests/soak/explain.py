"""Which injected fault explains a gap. Pure. What is not in the table is explained by nothing.

A container whose processes or supervisor are killed, or whose engine restarts with live-restore, has no gap at all.
"""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from supervisor.engine.identity import COMEBACK_SECONDS
from tests.soak.gaps import GRANTED_LATE, PROBE_SECONDS, START_SECONDS, WHOLE_SECONDS
from tests.soak.records import Fault, Gap, Injected, Kind, Op, Operation, Span

STARTS = {Op.RESTART, Op.STOP_START, Op.REMOVE_RUN, Op.RECONNECT, Op.DIE, Op.RUN, Op.AGAIN}
FOUND_AGAIN = 30  # seconds: a server that is back is asked for a lease within these
NEXT_RENEWAL = 75  # seconds: half of the lease, and some for a second try
ADDRESS_CHANGES = 3  # seconds: from the server's ACK to the address on the link, and a probe
ASKED_AGAIN = 32  # seconds: udhcpc repeats a renewal that nobody answers after half of the time that is left
FOUND_AGAIN_IPV6 = 125  # seconds: SOLICITs come ever more rarely, at last every two minutes
LAST_REBIND = 125  # seconds: a server that has another name is not asked before T2, and then by a Rebind
AFTER_T2 = 17  # seconds: from T2 to the end of a lease, and some for the plugin to find its containers again
PORTS_BACK = 3  # seconds: from a new bridge, or a port that it has lost, to containers that answer, on a busy machine
NEW_LEASE = 10  # seconds: from a refusal to another lease; udhcpc waits three before it asks
DECLINED = 13  # seconds: from a DHCPDECLINE to another lease, before which a client waits ten (RFC 2131)
ON_THE_LINK = 2 * ADDRESS_CHANGES  # where the answer is lost, udhcpc asks for it again after three seconds


@dataclass(frozen=True, slots=True)
class Cause:
    """A fault explains gaps that lie between its begin and `after` seconds past its end, if not longer than `longest`
    (None: however long)."""

    after: float
    longest: float | None = None

    def covers(self, injected: Injected, span: Span) -> bool:
        """Does it lie there?"""
        short = self.longest is None or span.seconds <= self.longest
        began = injected.span.begin - WHOLE_SECONDS  # the server's log has them without their fraction
        return short and began <= span.begin and span.end <= injected.span.end + self.after


# The plugin died before it had the answer to a release, or before it had noted that; it releases the lease again then.
KILLS = (Fault.WORKER, Fault.SUPERVISOR, Fault.EVERYTHING, Fault.DISABLED, Fault.DOCKERD_TERM, Fault.DOCKERD_KILL)
AT_THE_START = Cause(5, WHOLE_SECONDS)
# Who starts is told by a neighbour that its address is taken, and takes another one.
FORGED = Cause(DECLINED, DECLINED)
ON_THE_LAN = {
    Fault.BRIDGE: Cause(PORTS_BACK),
    Fault.PORTS: Cause(PORTS_BACK),
    Fault.FORGED: Cause(0, ADDRESS_CHANGES),
}
LEASELESS = {
    Fault.RENUMBERED: Cause(NEXT_RENEWAL, NEW_LEASE),
    Fault.FORGETFUL: Cause(NEXT_RENEWAL, NEW_LEASE),
    Fault.OUTAGE: Cause(FOUND_AGAIN, NEW_LEASE),
}
CAUSES: dict[Kind, dict[Fault, Cause]] = {
    Kind.LATE: {Fault.OUTAGE: Cause(FOUND_AGAIN)},
    Kind.EXPIRED: {Fault.OUTAGE: Cause(FOUND_AGAIN)},
    Kind.REFUSED: LEASELESS,
    Kind.DECLINED: LEASELESS | {Fault.FORGED: FORGED},
    Kind.SILENT: {
        Fault.RENUMBERED: Cause(NEXT_RENEWAL, ON_THE_LINK),
        Fault.FORGETFUL: Cause(NEXT_RENEWAL, ON_THE_LINK),
        Fault.OUTAGE: Cause(FOUND_AGAIN, ON_THE_LINK),
        **ON_THE_LAN,
    },
    Kind.TWINS: {Fault.FORGETFUL: Cause(NEXT_RENEWAL), Fault.OUTAGE: Cause(FOUND_AGAIN)},
    Kind.RELEASED_TWICE: dict.fromkeys(KILLS, AT_THE_START),
}
# A lease of IPv6 outlives a new range, and a server without its leases is another server to its client.
LEASELESS_IPV6 = {
    Fault.FORGETFUL: Cause(LAST_REBIND, NEW_LEASE),
    Fault.OUTAGE: Cause(FOUND_AGAIN_IPV6, NEW_LEASE),
}
CAUSES_IPV6: dict[Kind, dict[Fault, Cause]] = {
    Kind.LATE: {Fault.OUTAGE: Cause(FOUND_AGAIN_IPV6), Fault.FORGETFUL: Cause(LAST_REBIND, NEW_LEASE)},
    Kind.EXPIRED: {Fault.OUTAGE: Cause(FOUND_AGAIN_IPV6)},
    Kind.REFUSED: LEASELESS_IPV6,
    Kind.DECLINED: LEASELESS_IPV6 | {Fault.FORGED: FORGED},
    Kind.SILENT: {
        Fault.FORGETFUL: Cause(LAST_REBIND, ON_THE_LINK),
        Fault.OUTAGE: Cause(FOUND_AGAIN_IPV6, ON_THE_LINK),
        **ON_THE_LAN,
    },
    Kind.TWINS: {Fault.FORGETFUL: Cause(LAST_REBIND), Fault.OUTAGE: Cause(FOUND_AGAIN_IPV6)},
    Kind.RELEASED_TWICE: dict.fromkeys(KILLS, AT_THE_START),
}
# What makes an operation fail, and for how many seconds after its end: by the plugin's own word where the DHCP server
# did, else because a process was not there.
NO_LEASE = re.compile(r"NetworkDriver\.CreateEndpoint: .*(DHCPOFFER|DHCPACK|refused by the server|in a row)")
BREAKS_LEASES = {Fault.OUTAGE: 1.0, Fault.RENUMBERED: 1.0, Fault.FORGETFUL: 1.0, Fault.BRIDGE: 1.0}
BREAKS_REQUESTS = {
    Fault.WORKER: 1.0,
    Fault.GUNICORN: 1.0,
    Fault.SUPERVISOR: 5.0,
    Fault.EVERYTHING: 5.0,
    Fault.DISABLED: 5.0,
    Fault.DOCKERD_TERM: 5.0,
    Fault.DOCKERD_KILL: 5.0,
    Fault.BRIDGE: 1.0,
}
# Without the plugin's processes an address that the server has changed is not put on the link; and for how long after.
BREAKS_UPDATES = dict.fromkeys((Fault.SUPERVISOR, Fault.EVERYTHING, Fault.DISABLED), float(ADDRESS_CHANGES))
# Nor does anybody ask for another lease; and for how long after.
BREAKS_CLIENTS = dict.fromkeys((*BREAKS_UPDATES, Fault.WORKER, Fault.UDHCPC), float(NEW_LEASE))
NO_START = re.compile("another life")  # the engine's own, of which it says nothing
UNCLEAR = re.compile(r"made for container (\S+), which is being started, and not for")
REMNANT_SECONDS = COMEBACK_SECONDS + 10  # the plugin's watcher may not have found the engine yet
# Nobody confirms a DHCPRELEASE; and whom a dockerd stops that has just been started may be started again by it, so that
# the lease waits for two minutes.
LOSES_RELEASES = {
    Fault.OUTAGE: 0.0,
    Fault.BRIDGE: 1.0,
    Fault.PORTS: 1.0,
    Fault.DOCKERD_TERM: 3.0,
    Fault.DOCKERD_KILL: 3.0,
}
# Who was refused had asked for another lease, and was stopped before its answer came.
UNHEARD = {Fault.RENUMBERED: float(NEXT_RENEWAL), Fault.FORGETFUL: float(NEXT_RENEWAL)}
# Over IPv6 a lease is given back to the server that granted it, which has another name when its leases are forgotten.
LOSES_RELEASES_IPV6 = LOSES_RELEASES | {Fault.FORGETFUL: float(LAST_REBIND)}


def explanation(gap: Gap, faults: Sequence[Injected], operations: Sequence[Operation]) -> str | None:
    """The reason in words, None where there is none."""
    if gap.kind in (Kind.FAILED, Kind.UNRELEASED):
        disturbing, span = _disturbing(gap), _with_its_operation(gap, operations)
        found = next((f for f in faults if _disturbs(f, span, disturbing)), None)
    else:
        causes = _causes(gap)
        found = _cause(causes, faults, gap.span)
    if found:
        return found.fault.value
    again = FOUND_AGAIN_IPV6 if gap.ipv6 else FOUND_AGAIN
    if gap.kind in (Kind.REFUSED, Kind.DECLINED):
        return _prolonged(gap, faults, BREAKS_CLIENTS | {Fault.OUTAGE: again})
    if gap.kind in (Kind.LATE, Kind.EXPIRED):
        return _not_repeated(gap, faults)
    if gap.kind in (Kind.SILENT, Kind.NO_LEASE):
        known = _one_family(gap, faults, operations) or _let_go(gap, faults)
        seen = (_prolonged(g, faults, BREAKS_UPDATES, {Fault.OUTAGE: again}) for g in _begun(gap, faults, operations))
        return known or next(filter(None, seen), None)
    if gap.kind is Kind.MAC or (gap.kind is Kind.FAILED and UNCLEAR.search(gap.detail)):
        return _started_beside(gap, operations) or _broken_start(gap, faults) or _remnant(gap, faults, operations)
    return _died(gap, operations) if gap.kind is Kind.UNRELEASED else None


def _causes(gap: Gap) -> dict[Fault, Cause]:
    return (CAUSES_IPV6 if gap.ipv6 else CAUSES).get(gap.kind, {})


def _cause(causes: dict[Fault, Cause], faults: Sequence[Injected], span: Span) -> Injected | None:
    """A fault that explains what happened then; a renewal that meets an outage notices only after that."""
    for injected in (f for f in faults if f.fault in causes):
        cause = causes[injected.fault]
        seen = Span(injected.span.begin, injected.span.end + cause.after)
        outages = (f.span for f in faults if f.fault is Fault.OUTAGE and f is not injected)
        delays = [outage.end + ASKED_AGAIN for outage in outages if outage.meets(seen)]
        later = replace(cause, after=max(seen.end, *delays) - injected.span.end) if delays else cause
        if later.covers(injected, span):
            return injected
    return None


def _prolonged(
    gap: Gap, faults: Sequence[Injected], first: dict[Fault, float], further: dict[Fault, float] | None = None
) -> str | None:
    """It had one reason, and before it was over another one came, and perhaps more: who is refused finds no server to
    ask for another lease, or nobody is there to put the new address on the link."""
    prolonging = first | (further or {})
    later = sorted((f for f in faults if f.fault in prolonging and f.span.meets(gap.span)), key=lambda f: f.span)
    for number, second in enumerate(later):
        before = Span(gap.span.begin, max(gap.span.begin, second.span.begin))
        cause = _cause(_causes(gap), faults, before) if second.fault in first else None
        if cause is None:
            continue
        names, until = [cause.fault.value], second.span.begin
        for fault in later[number:]:
            if fault.span.begin <= until < fault.span.end + prolonging[fault.fault]:
                names.append(fault.fault.value)
                until = fault.span.end + prolonging[fault.fault]
        if gap.span.end <= until:
            return "; ".join(names)
    return None


def _begun(gap: Gap, faults: Iterable[Injected], operations: Iterable[Operation]) -> Iterator[Gap]:
    """The first seconds after a start are not looked at: any fault of these may have begun the gap."""
    yield gap
    unseen = Span(gap.span.begin - START_SECONDS - PROBE_SECONDS, gap.span.begin)
    own = (o.span.end for o in operations if o.op in STARTS and o.container == gap.container)
    start = max((end for end in own if unseen.begin <= end <= unseen.end), default=unseen.end)
    for fault in faults:
        if fault.span.meets(Span(start, unseen.end)):
            yield replace(gap, span=Span(max(start, fault.span.begin), gap.span.end))


def _one_family(gap: Gap, faults: Sequence[Injected], operations: Iterable[Operation]) -> str | None:
    """Who starts while no server answers runs with the family whose lease it still has, until the server is back."""
    outages = [f.span for f in faults if f.fault is Fault.OUTAGE]
    starts = (o.span for o in operations if o.op in STARTS and o.container == gap.container)
    begin = Span(gap.span.begin - START_SECONDS - ADDRESS_CHANGES, gap.span.begin)
    began = any(start.meets(begin) and any(start.meets(outage) for outage in outages) for start in starts)
    again = FOUND_AGAIN_IPV6 if gap.ipv6 else FOUND_AGAIN
    ended = any(outage.meets(gap.span) and gap.span.end <= outage.end + again for outage in outages)
    return "started while the DHCP server was away" if began and ended else None


def _let_go(gap: Gap, faults: Sequence[Injected]) -> str | None:
    """The kernel takes an IPv6 address off at the end of its lease, if nobody is there from T2 on who tells it to keep
    it while the server is away."""
    since = Span(gap.span.begin - AFTER_T2, gap.span.begin)
    deaths = [f for f in faults if f.fault in BREAKS_UPDATES and f.span.meets(since)]
    for outage in (f.span for f in faults if f.fault is Fault.OUTAGE and f.span.meets(since)):
        for death in deaths if gap.ipv6 and gap.kind is Kind.SILENT else ():
            if gap.span.end <= max(death.span.end + BREAKS_UPDATES[death.fault], outage.end + FOUND_AGAIN_IPV6):
                return f"{Fault.OUTAGE.value}; {death.fault.value}"
    return None


def _not_repeated(gap: Gap, faults: Sequence[Injected]) -> str | None:
    """A renewal met an outage, and when it was to be repeated nobody was there."""
    for second in (f for f in faults if f.fault in BREAKS_CLIENTS and f.span.meets(gap.span)):
        asked = Span(second.span.begin - ASKED_AGAIN, second.span.begin)
        outage = next((f for f in faults if f.fault is Fault.OUTAGE and f.span.meets(asked)), None)
        if outage and gap.span.end <= second.span.end + BREAKS_CLIENTS[second.fault]:
            return f"{outage.fault.value}; {second.fault.value}"
    return None


def _disturbing(gap: Gap) -> dict[Fault, float]:
    if gap.kind is Kind.UNRELEASED and GRANTED_LATE in gap.detail:
        return LOSES_RELEASES | UNHEARD
    if gap.kind is Kind.UNRELEASED:
        return LOSES_RELEASES_IPV6 if gap.ipv6 else LOSES_RELEASES
    if NO_START.search(gap.detail):
        return BREAKS_LEASES | BREAKS_REQUESTS
    return BREAKS_LEASES if NO_LEASE.search(gap.detail) else BREAKS_REQUESTS


def _disturbs(injected: Injected, span: Span, disturbing: dict[Fault, float]) -> bool:
    after = disturbing.get(injected.fault)
    return after is not None and Span(injected.span.begin, injected.span.end + after).meets(span)


def _with_its_operation(gap: Gap, operations: Iterable[Operation]) -> Span:
    """A stop may take the engine long, and only its end releases the lease."""
    own = (o.span.end for o in operations if o.container == gap.container and o.span.meets(gap.span))
    return Span(gap.span.begin, max((gap.span.end, *own)))


def _died(gap: Gap, operations: Iterable[Operation]) -> str | None:
    """The lease of a container that the engine is to start again waits for it: it may not come, or have another MAC."""
    died = (o for o in operations if o.op is Op.DIE and o.container == gap.container)
    return "it died, and its lease waits for it" if any(o.span.meets(gap.span) for o in died) else None


def _broken_start(gap: Gap, faults: Sequence[Injected]) -> str | None:
    """What is being made when the plugin dies is undone first; who is started again meanwhile gets another MAC."""
    deaths = (Fault.SUPERVISOR, Fault.EVERYTHING, Fault.DISABLED)
    found = next((f for f in faults if f.fault in deaths and f.span.meets(gap.span)), None)
    return f"its start was broken: {found.fault.value}" if found and gap.kind is Kind.MAC else None


def _remnant(gap: Gap, faults: Sequence[Injected], operations: Iterable[Operation]) -> str | None:
    """A start that the engine did not live to end leaves a root mounted: a connect may be taken for it, and for a while
    nothing tells another start from it."""
    named = UNCLEAR.search(gap.detail)
    since = -math.inf if named else gap.span.begin - REMNANT_SECONDS
    engines = [f for f in faults if f.fault in (Fault.DOCKERD_TERM, Fault.DOCKERD_KILL)]
    for o in operations:
        other = o.container == named[1] if named else o.container != gap.container
        broken = other and o.op in STARTS and o.error is not None and since < o.span.begin < gap.span.begin
        if broken and any(f.span.meets(o.span) for f in engines):
            return f"beside {o.container}, whose broken start has left it mounted"
    return None


def _started_beside(gap: Gap, operations: Iterable[Operation]) -> str | None:
    """Who is started beside another one, without an id, gets a MAC for this once."""
    for operation in operations:
        if operation.container != gap.container and operation.op in STARTS and operation.span.meets(gap.span):
            return f"started beside {operation.container}, without an id"
    return None
