"""What a lease's time brings where no server answers."""

from ipaddress import IPv4Address, IPv4Interface

import pytest

from workers.contract.lease import Family, Lease
from workers.contract.messages import LeaseTrouble, Report, Trouble
from workers.endpoint.lease_timers import LeaseTimers

OBTAINED = 1000.0
LEASE = Lease(IPv4Interface("192.0.2.10/24"), IPv4Address("192.0.2.1"), 600, OBTAINED)
OVERDUE, EXPIRY = 1530.0, 1600.0


class Watched:
    """A term, and what it has told."""

    def __init__(self) -> None:
        self.told: list[Trouble | str] = []
        self.term = LeaseTimers()
        self.term.bind(Family.IPV4, self._note, lambda: self.told.append("over"))

    def _note(self, report: Report) -> None:
        assert isinstance(report, LeaseTrouble)
        self.told.append(report.kind)

    def live(self, until: float) -> None:
        """As the worker's loop does."""
        while (at := self.term.next_at) is not None and at <= until:
            self.term.due(at)


@pytest.fixture
def watched() -> Watched:
    """It has a lease."""
    one = Watched()
    one.term.begin(LEASE, OBTAINED)
    return one


def test_nobody_answers(watched: Watched) -> None:
    """A silence is told after T2 and once, whoever else notices it, and the end when the lease runs out."""
    watched.live(OVERDUE - 10)
    assert (watched.told, watched.term.silent) == ([], False)
    watched.live(OVERDUE)
    watched.term.give_up()
    assert (watched.told, watched.term.silent) == ([Trouble.NO_ANSWER], True)
    watched.live(EXPIRY)
    assert watched.told == [Trouble.NO_ANSWER, Trouble.EXPIRED, "over"]
    assert watched.term.next_at is None


def test_renewed(watched: Watched) -> None:
    """A lease that is granted anew has its time from then on."""
    watched.term.begin(LEASE.renewed(OBTAINED + 300), OBTAINED + 300)
    watched.live(EXPIRY)
    assert watched.told == []


def test_over_already(watched: Watched) -> None:
    """Who begins after the end tells nothing, as that was told already; nor does who has left."""
    watched.term.begin(LEASE, EXPIRY + 1)
    assert watched.term.next_at is None
    watched.term.begin(LEASE, OBTAINED)
    watched.term.clear()
    assert watched.term.next_at is None
