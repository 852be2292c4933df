"""The alarm's descriptor, as select sees it."""

import select
import sys
from collections.abc import Iterator
from time import monotonic

import pytest

from tests.lab.command import run
from workers.system.alarm import Alarm
from workers.system.clock import boottime

SOON, LATE = 0.05, 3600.0
# In a time namespace the clock that goes on in a suspend and the one that does not are a day apart.
AFTER_A_SUSPEND = """
import select, time
from workers.system.alarm import Alarm
from workers.system.clock import boottime
assert boottime() - time.monotonic() > 86000
alarm = Alarm()
alarm.set(boottime() + 3600)
assert not select.select([alarm], [], [], 0.05)[0]
alarm.set(boottime() + 0.05)
assert select.select([alarm], [], [], 5)[0]
"""


@pytest.fixture(name="alarm")
def _alarm() -> Iterator[Alarm]:
    alarm = Alarm()
    yield alarm
    alarm.close()


def rings(alarm: Alarm, seconds: float) -> bool:
    """Is it readable within that time?"""
    return bool(select.select([alarm], [], [], seconds)[0])


def test_rings_in_time(alarm: Alarm) -> None:
    """Not before its time, and then until it is set to another."""
    assert not rings(alarm, 0)
    begun = monotonic()
    alarm.set(boottime() + SOON)
    assert rings(alarm, 5)
    assert monotonic() - begun >= SOON
    assert rings(alarm, 0)
    alarm.set(boottime() + LATE)
    assert not rings(alarm, SOON)


@pytest.mark.parametrize("at", [0.0, -5.0])
def test_time_that_has_passed(alarm: Alarm, at: float) -> None:
    """What is overdue rings at once; what is put off or taken back does not ring."""
    alarm.set(at)
    assert rings(alarm, 5)
    alarm.set(None)
    assert not rings(alarm, SOON)
    alarm.set(boottime() + SOON)
    alarm.set(boottime() + LATE)
    assert not rings(alarm, 2 * SOON)


@pytest.mark.netns
def test_a_suspend_counts() -> None:
    """Its clock is the one that goes on in a suspend, and no other."""
    run("unshare", "--time", "--boottime", "86400", "--fork", sys.executable, "-c", AFTER_A_SUSPEND)
