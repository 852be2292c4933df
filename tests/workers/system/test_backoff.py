"""The waits before what died is started again."""

from workers.system.backoff import Backoff


def test_row() -> None:
    """One second at first, twice as long each time, never more than thirty."""
    backoff = Backoff()
    assert [backoff.failed(0.0) for _ in range(8)] == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]


def test_health() -> None:
    """A run of a minute starts the row anew; a shorter one does not."""
    backoff = Backoff()
    assert [backoff.failed(ran) for ran in (0.0, 59.9, 60.0, 1.0)] == [1.0, 2.0, 1.0, 2.0]


def test_own_numbers() -> None:
    """First wait, cap and health can be said."""
    backoff = Backoff(first=0.05, cap=0.3, healthy=5.0)
    assert [backoff.failed(ran) for ran in (0, 0, 0, 0, 6)] == [0.05, 0.1, 0.2, 0.3, 0.05]


def test_for_ever() -> None:
    """Ten thousand deaths later it is still the cap, and no number too large."""
    backoff = Backoff()
    assert [backoff.failed(0.0) for _ in range(10_000)][-1] == 30.0
