"""The state of a lease at each side of each boundary."""

from ipaddress import IPv4Interface

import pytest

from supervisor.domain.lease_states import lease_state
from workers.contract.lease import Lease

OBTAINED = 1000.0


def _lease(duration: int | None) -> Lease:
    return Lease(IPv4Interface("192.0.2.10/24"), None, duration, OBTAINED)


@pytest.mark.parametrize(
    ("age", "expected"),
    [
        (0, "bound"),
        (399, "bound"),
        (400, "renewing"),
        (699, "renewing"),
        (700, "rebinding"),
        (799, "rebinding"),
        (800, "expired"),
        (80000, "expired"),
    ],
)
def test_boundaries(age: float, expected: str) -> None:
    """Of an 800 s lease T1 is at 400 s, T2 at 700 s and the end at 800 s; each boundary belongs to what follows."""
    assert lease_state(_lease(800), OBTAINED + age) == expected


def test_infinite() -> None:
    """A lease without end is bound for ever."""
    assert lease_state(_lease(None), OBTAINED + 1e9) == "bound"
