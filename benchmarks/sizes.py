"""How much is measured: all of it, or just enough to see that each part works."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sizes:
    """Numbers of samples and of containers; `fleet` are the numbers of containers at which memory is read.

    `idle_at` is one of them: there the CPU is watched for `idle_seconds`.
    """

    lives: int
    bursts: int
    burst: int
    starts: int
    fleet: tuple[int, ...]
    idle_at: int
    idle_seconds: float
    played: int
    traces: int


FULL = Sizes(
    lives=30,
    bursts=3,
    burst=50,
    starts=7,
    fleet=(10, 50, 100, 150, 200),
    idle_at=100,
    idle_seconds=121,  # two renewals of each lease
    played=1000,
    traces=9,
)
SHORT = Sizes(
    lives=2,
    bursts=1,
    burst=3,
    starts=1,
    fleet=(2, 4),
    idle_at=4,
    idle_seconds=1,
    played=10,
    traces=1,
)
