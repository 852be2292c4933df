"""Whoever floods a descriptor gets its share of a second."""

from workers.system.throttle import WAKES_PER_SECOND, Throttle


def test_throttle() -> None:
    """The one that wakes too often is not heard until the next second; the other one always is."""
    throttle = Throttle()
    assert throttle.open([3, 4], 10.0) == [3, 4]
    for _ in range(WAKES_PER_SECOND):
        throttle.count(3)
    assert throttle.open([3, 4], 10.25) == [4]
    assert throttle.rest(10.25) == 0.75
    assert throttle.open([3, 4], 11.0) == [3, 4]
