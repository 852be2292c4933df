"""A gap is explained by a fault that can have caused it, and by no other; what is not explained is said so."""

import itertools
from dataclasses import replace

import pytest

from tests.soak import plan
from tests.soak.diary import Diary
from tests.soak.explain import explanation
from tests.soak.gaps import GRANTED_LATE
from tests.soak.inject import FAULTS
from tests.soak.members import OPERATIONS
from tests.soak.plan import CHURN, HANDS, churn, is_steady
from tests.soak.records import Fault, Gap, Injected, Kind, Op, Operation, Presence, Probe, Span
from tests.soak.verdict import explained, gaps_of, table, unexplained

MAC = "02:00:00:00:00:01"
OUTAGE = Injected(Fault.OUTAGE, Span(100.0, 200.0))
RENUMBERED = Injected(Fault.RENUMBERED, Span(100.0, 101.0))
KILLED = Injected(Fault.SUPERVISOR, Span(100.0, 102.0))
DISABLED = Injected(Fault.DISABLED, Span(105.0, 119.0))


@pytest.mark.parametrize(
    ("kind", "span", "fault", "is_explained"),
    [
        (Kind.EXPIRED, Span(150.0, 215.0), OUTAGE, True),
        (Kind.EXPIRED, Span(150.0, 235.0), OUTAGE, False),  # not found again in time
        (Kind.EXPIRED, Span(90.0, 210.0), OUTAGE, False),  # it began before
        (Kind.LATE, Span(101.0, 103.0), KILLED, False),  # renewals outlive a kill
        (Kind.SILENT, Span(101.0, 103.0), KILLED, False),  # and so does the network
        (Kind.RELEASED, Span(101.0, 103.0), KILLED, False),
        (Kind.RELEASED, Span(150.0, 151.0), OUTAGE, False),
        (Kind.RELEASED_TWICE, Span(103.0, 104.0), KILLED, True),  # the first one had no answer yet
        (Kind.RELEASED_TWICE, Span(103.0, 104.0), RENUMBERED, False),
        (Kind.RELEASED_TWICE, Span(108.0, 109.0), KILLED, False),
        (Kind.REFUSED, Span(150.0, 154.0), RENUMBERED, True),
        (Kind.REFUSED, Span(150.0, 170.0), RENUMBERED, False),  # too long
        (Kind.REFUSED, Span(190.0, 194.0), RENUMBERED, False),  # all have renewed by then
        (Kind.REFUSED, Span(99.0, 103.0), RENUMBERED, True),  # the server's log has whole seconds
        (Kind.REFUSED, Span(98.0, 102.0), RENUMBERED, False),
        (Kind.SILENT, Span(150.0, 152.0), RENUMBERED, True),
        (Kind.PINNED_MAC, Span(100.0, 101.0), KILLED, False),
        (Kind.FAILED, Span(90.0, 101.0), KILLED, True),
        (Kind.FAILED, Span(90.0, 99.0), KILLED, False),
        (Kind.LEFT, Span(101.0, 101.0), KILLED, False),
    ],
)
def test_explanation(kind: Kind, span: Span, fault: Injected, is_explained: bool) -> None:
    """Kind, time and length have to fit."""
    found = explanation(Gap("web", kind, span), [fault], [])
    assert found == (fault.fault.value if is_explained else None)


@pytest.mark.parametrize(
    ("renumbered", "span", "is_explained"),
    [
        (90.0, Span(95.0, 225.0), True),
        (90.0, Span(95.0, 235.0), False),  # not found again in time
        (80.0, Span(85.0, 225.0), False),  # there was time for another lease
        (10.0, Span(95.0, 225.0), False),  # all have renewed by then
    ],
)
def test_refused_before_an_outage(renumbered: float, span: Span, is_explained: bool) -> None:
    """Who is refused, and then has no server to ask for another lease, waits for its return."""
    faults = [Injected(Fault.RENUMBERED, Span(renumbered, renumbered)), OUTAGE]
    assert bool(explanation(Gap("web", Kind.REFUSED, span), faults, [])) == is_explained


def test_renewal_that_an_outage_delays() -> None:
    """A client that asks in vain at half of its lease is refused only when it asks again, after the outage."""
    faults = [Injected(Fault.RENUMBERED, Span(50.0, 50.0)), Injected(Fault.OUTAGE, Span(100.0, 115.0))]
    assert explanation(Gap("web", Kind.REFUSED, Span(142.0, 146.0)), faults, [])
    assert not explanation(Gap("web", Kind.REFUSED, Span(145.0, 149.0)), faults, [])
    assert not explanation(Gap("web", Kind.REFUSED, Span(142.0, 146.0)), faults[:1], [])
    early = [Injected(Fault.RENUMBERED, Span(20.0, 20.0)), faults[1]]  # all have renewed before the outage
    assert not explanation(Gap("web", Kind.REFUSED, Span(142.0, 146.0)), early, [])


@pytest.mark.parametrize(
    ("outage", "span", "is_explained"),
    [
        (Span(28.0, 98.0), Span(129.0, 143.0), True),
        (Span(28.0, 70.0), Span(129.0, 143.0), False),  # it was asked again before the plugin died
        (Span(28.0, 98.0), Span(129.0, 160.0), False),  # the plugin has long been back
        (Span(28.0, 98.0), Span(150.0, 152.0), False),
    ],
)
def test_renewal_that_nobody_repeats(outage: Span, span: Span, is_explained: bool) -> None:
    """Who has met an outage is not renewed before the plugin is back, if that dies before the second try."""
    gap = Gap("c-1", Kind.LATE, span)
    faults = [Injected(Fault.OUTAGE, outage), Injected(Fault.EVERYTHING, Span(110.0, 143.5))]
    assert bool(explanation(gap, faults, [])) is is_explained


@pytest.mark.parametrize(
    ("started", "gap", "is_explained"),
    [
        (Span(110.0, 120.0), Gap("web", Kind.SILENT, Span(120.5, 225.0)), True),
        (Span(110.0, 120.0), Gap("web", Kind.NO_LEASE, Span(120.0, 225.0)), True),
        (Span(110.0, 120.0), Gap("web", Kind.NO_LEASE, Span(120.0, 235.0)), False),  # not found again in time
        (Span(110.0, 120.0), Gap("web", Kind.NO_LEASE, Span(120.0, 320.0), ipv6=True), True),
        (Span(110.0, 120.0), Gap("web", Kind.SILENT, Span(150.0, 225.0)), False),  # it had an address by then
        (Span(80.0, 90.0), Gap("web", Kind.NO_LEASE, Span(90.0, 225.0)), False),  # the server was there
        (Span(110.0, 120.0), Gap("db", Kind.NO_LEASE, Span(120.0, 225.0)), False),
    ],
)
def test_started_with_one_family(started: Span, gap: Gap, is_explained: bool) -> None:
    """Who starts while the server is away may have a lease of one family only, and gets the other when it is back."""
    found = explanation(gap, [OUTAGE], [Operation(Op.RESTART, "web", started)])
    assert bool(found) is is_explained


def test_address_that_nobody_kept() -> None:
    """An IPv6 address goes at the end of a lease if the plugin is away from T2 on as well as the server."""
    gap = Gap("web", Kind.SILENT, Span(150.0, 160.0), ipv6=True)
    died = Injected(Fault.DISABLED, Span(140.0, 149.0))
    assert explanation(gap, [OUTAGE, died], [])
    assert not explanation(replace(gap, ipv6=False), [OUTAGE, died], [])
    assert not explanation(gap, [OUTAGE, Injected(Fault.WORKER, died.span)], [])
    assert not explanation(gap, [OUTAGE, Injected(Fault.DISABLED, Span(120.0, 130.0))], [])
    assert not explanation(gap, [died], [])


def test_refused_before_its_client_dies() -> None:
    """Who is refused has another lease some seconds after its client is there again."""
    faults = [RENUMBERED, Injected(Fault.EVERYTHING, Span(110.0, 115.0))]
    assert explanation(Gap("web", Kind.REFUSED, Span(105.0, 121.0)), faults, [])
    assert not explanation(Gap("web", Kind.REFUSED, Span(105.0, 126.0)), faults, [])
    assert not explanation(Gap("web", Kind.REFUSED, Span(105.0, 121.0)), faults[:1], [])


def test_new_address_without_a_plugin() -> None:
    """What the server changes just before, or while, the plugin is away is on the link when it is back."""
    faults = [RENUMBERED, Injected(Fault.DISABLED, Span(110.0, 123.0))]
    assert explanation(Gap("web", Kind.SILENT, Span(110.3, 124.0)), faults, [])
    assert explanation(Gap("web", Kind.SILENT, Span(108.0, 124.0)), faults, [])
    assert not explanation(Gap("web", Kind.SILENT, Span(103.0, 124.0)), faults, [])
    assert not explanation(Gap("web", Kind.SILENT, Span(110.3, 130.0)), faults, [])
    away = Injected(Fault.OUTAGE, Span(125.0, 200.0))  # and if it has nobody to ask by then, when the server is back
    assert explanation(Gap("web", Kind.SILENT, Span(110.3, 205.0)), [*faults, away], [])
    assert not explanation(Gap("web", Kind.SILENT, Span(110.3, 205.0)), [faults[0], away], [])
    assert not explanation(Gap("web", Kind.SILENT, Span(110.3, 124.0)), faults[1:], [])


def test_failed_operation() -> None:
    """A start without a lease is the server's doing, any other failure that of a process that was not there."""
    no_lease = Gap("web", Kind.FAILED, Span(150.0, 160.0), "NetworkDriver.CreateEndpoint: no DHCPOFFER in 10 s")
    no_plugin = Gap("web", Kind.FAILED, Span(100.0, 110.0), "the request came without its body")
    assert explanation(no_lease, [OUTAGE], [])
    assert not explanation(no_lease, [Injected(Fault.SUPERVISOR, no_lease.span)], [])
    assert explanation(no_plugin, [KILLED], [])
    assert not explanation(no_plugin, [OUTAGE], [])


def test_start_of_the_engines_own() -> None:
    """The engine does not say why its own start of a container failed: either may be the reason, but there is one."""
    gap = Gap("web", Kind.FAILED, Span(100.0, 160.0), "waited 20 s for another life of web")
    assert explanation(gap, [KILLED], [])
    assert explanation(gap, [OUTAGE], [])
    assert not explanation(gap, [], [])


def test_refused_as_it_was_not_clear_for_whom() -> None:
    """A connect is refused for a container that starts at the same moment, and for that only."""
    gap = Gap("web", Kind.FAILED, Span(10.0, 12.0), "made for container db, which is being started, and not for web")
    assert explanation(gap, [], [Operation(Op.RUN, "db", Span(11.0, 11.5))])
    assert not explanation(gap, [], [Operation(Op.RUN, "db", Span(13.0, 14.0))])


def test_refused_beside_a_remnant() -> None:
    """Or for one whose start an engine has left half done; not for one that failed by itself, or failed later."""
    gap = Gap("web", Kind.FAILED, Span(50.0, 51.0), "made for container db, which is being started, and not for web")
    broken = Operation(Op.AGAIN, "db", Span(10.0, 12.0), "EOF")
    assert explanation(gap, [Injected(Fault.DOCKERD_KILL, Span(11.0, 15.0))], [broken])
    assert not explanation(gap, [Injected(Fault.SUPERVISOR, Span(11.0, 15.0))], [broken])
    assert not explanation(gap, [Injected(Fault.DOCKERD_KILL, Span(13.0, 15.0))], [broken])
    assert not explanation(gap, [Injected(Fault.DOCKERD_KILL, Span(11.0, 15.0))], [])
    assert not explanation(gap, [Injected(Fault.DOCKERD_KILL, Span(11.0, 15.0))], [replace(broken, container="mail")])
    later = Operation(Op.AGAIN, "db", Span(60.0, 62.0), "EOF")
    assert not explanation(gap, [Injected(Fault.DOCKERD_KILL, Span(61.0, 65.0))], [later])


def test_another_mac_beside_a_remnant() -> None:
    """For two minutes such a start cannot be told from another container's; its own is another matter."""
    faults = [Injected(Fault.DOCKERD_KILL, Span(11.0, 15.0))]
    broken = Operation(Op.AGAIN, "db", Span(10.0, 12.0), "EOF")
    assert explanation(Gap("web", Kind.MAC, Span(100.0, 101.0)), faults, [broken])
    assert not explanation(Gap("web", Kind.MAC, Span(200.0, 201.0)), faults, [broken])
    assert not explanation(Gap("db", Kind.MAC, Span(100.0, 101.0)), faults, [broken])
    assert not explanation(Gap("web", Kind.PINNED_MAC, Span(100.0, 101.0)), faults, [broken])


def test_release_that_nobody_heard() -> None:
    """A lease that is not given back was lost in an outage, or waits for a container that died."""
    gap = Gap("web", Kind.UNRELEASED, Span(150.0, 160.0))
    assert explanation(gap, [OUTAGE], [])
    assert not explanation(gap, [Injected(Fault.EVERYTHING, gap.span)], [])
    forgotten = Injected(Fault.FORGETFUL, Span(100.0, 100.1))
    assert explanation(replace(gap, ipv6=True), [forgotten], [])
    assert not explanation(gap, [forgotten], [])
    assert explanation(replace(gap, detail=GRANTED_LATE), [RENUMBERED], [])
    assert not explanation(gap, [RENUMBERED], [])
    assert explanation(gap, [], [Operation(Op.DIE, "web", gap.span, "waited")])
    assert not explanation(gap, [], [Operation(Op.DIE, "db", gap.span, "waited")])
    slow, stopped = (
        Operation(Op.STOP_START, "web", Span(150.0, 163.0), "EOF"),
        Injected(Fault.DOCKERD_TERM, Span(162.0, 165.0)),
    )
    assert explanation(gap, [stopped], [slow])
    assert not explanation(gap, [stopped], [replace(slow, container="db")])


def test_started_beside_another() -> None:
    """An identity is uncertain where another container starts at the same moment, and then only."""
    gap = Gap("web", Kind.MAC, Span(10.0, 12.0))
    assert explanation(gap, [], [Operation(Op.RUN, "db", Span(11.0, 11.5))])
    assert not explanation(gap, [], [Operation(Op.RUN, "db", Span(13.0, 14.0))])
    assert not explanation(gap, [], [Operation(Op.PAUSE, "db", Span(11.0, 11.5))])
    assert not explanation(gap, [], [Operation(Op.RUN, "web", Span(11.0, 11.5))])


def test_without_a_bridge() -> None:
    """Who has no port is silent until the ports are back, also where the plugin is away by then; it keeps its lease."""
    bridge = Injected(Fault.BRIDGE, Span(100.0, 106.0))
    assert explanation(Gap("web", Kind.SILENT, Span(100.5, 108.0)), [bridge], [])
    assert not explanation(Gap("web", Kind.SILENT, Span(100.5, 112.0)), [bridge], [])
    assert explanation(Gap("web", Kind.SILENT, Span(100.5, 120.0)), [bridge, DISABLED], [])
    assert not explanation(Gap("web", Kind.EXPIRED, Span(100.5, 108.0)), [bridge], [])
    for end in (99.0, 106.0):  # the first seconds after a start are not looked at
        started = Operation(Op.RUN, "web", Span(98.0, end))
        assert explanation(Gap("web", Kind.SILENT, Span(end + 5.2, 119.5)), [bridge, DISABLED], [started])
    assert not explanation(Gap("web", Kind.SILENT, Span(111.0, 119.5)), [bridge, DISABLED], [])


def test_forgers_cost_no_lease() -> None:
    """Who starts may be told that an address is taken; who runs loses nothing."""
    forged = Injected(Fault.FORGED, Span(100.0, 120.0))
    for end in (103.0, 112.0):
        assert explanation(Gap("web", Kind.DECLINED, Span(101.0, end)), [forged], [])
    for kind in (Kind.EXPIRED, Kind.LATE, Kind.REFUSED, Kind.RELEASED, Kind.TWINS, Kind.FAILED):
        assert not explanation(Gap("web", kind, Span(101.0, 103.0)), [forged], [])


def test_start_that_the_plugins_death_broke() -> None:
    """Another MAC has a reason where the plugin died between the two lives, and not where a worker did."""
    gap = Gap("web", Kind.MAC, Span(99.0, 104.0))
    assert explanation(gap, [Injected(Fault.SUPERVISOR, Span(100.0, 103.0))], [])
    assert not explanation(gap, [Injected(Fault.WORKER, Span(100.0, 100.1))], [])
    assert not explanation(gap, [Injected(Fault.SUPERVISOR, Span(90.0, 93.0))], [])


def test_unexplained_gap_is_seen() -> None:
    """A run whose container falls silent without any fault ends with that gap, and its table shows it."""
    diary = Diary()
    diary.presences.append(Presence("web", MAC, Span(0.0, 50.0), 1, pinned=True))
    diary.probes += [Probe(n / 2, "web", None, frozenset({MAC} if n < 80 else ())) for n in range(100)]
    diary.faults.append(Injected(Fault.OUTAGE, Span(1.0, 20.0)))
    found = explained(gaps_of(diary, [], [], 120), diary)
    kinds = {gap.kind for gap in unexplained(found)}
    assert kinds == {Kind.SILENT, Kind.NO_LEASE}
    assert "2 unexplained" in table(diary, found)
    assert Kind.SILENT.value in table(diary, found)


def test_diary() -> None:
    """A presence is written down when it ends, and those that last to the end of the run at that."""
    diary = Diary()
    diary.arrive("web", MAC, 1, pinned=False)
    diary.leave("web")
    diary.leave("web")
    diary.arrive("web", MAC, 1, pinned=False)
    assert len(diary.presences) == 1
    assert set(diary.open) == {"web"}


def test_plan_is_repeatable() -> None:
    """One seed gives one plan, another one another, and all faults and operations are in it."""
    rounds = {
        plan.process_faults: plan.PROCESS_FAULTS,
        plan.server_faults: plan.SERVER_FAULTS,
        plan.lan_faults: plan.LAN_FAULTS,
    }
    for planned in (lambda seed: churn(seed, 0, 30), *rounds):
        steps = [list(itertools.islice(planned(seed), 200)) for seed in (1, 1, 2)]
        assert steps[0] == steps[1] != steps[2]
    for planned, faults in rounds.items():
        assert {step.what for step in itertools.islice(planned(1), len(faults))} == set(faults)
    assert set(FAULTS) == set(Fault) == set(itertools.chain(*rounds.values()))
    assert set(CHURN) <= set(OPERATIONS)


def test_each_container_belongs_to_one_hand() -> None:
    """No two hands take the same container, and the steady ones are nobody's."""
    taken = [{step.member for step in itertools.islice(churn(1, hand, 30), 500)} for hand in range(HANDS)]
    assert sum(map(len, taken)) == len(set().union(*taken)) == 30 - sum(map(is_steady, range(30)))
    assert not any(is_steady(number) for number in set().union(*taken))
