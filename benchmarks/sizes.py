"""How much is measured: all of it, or just enough to see that each part works."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sizes:
    """Numbers of samples and of containers; `fleet` are the numbers of containers at which memory is read.

    `idle_at` is one of them: there the CPU is watched for `idle_seconds`. After every so many, `fleet_probe` and
    `played_probe`, an endpoint without a container is timed.
    """

    lives: int
    bursts: int
    burst: int
    starts: int
    fleet: tuple[int, ...]
    fleet_probe: int
    idle_at: int
    idle_seconds: float
    played: int
    played_probe: int
    traces: int


FULL = Sizes(
    lives=30,
    bursts=5,
    burst=50,
    starts=7,
    fleet=(10, 50, 100, 150, 200),
    fleet_probe=4,
    idle_at=100,
    idle_seconds=121,  # two renewals of each lease
    played=1000,
    played_probe=10,
    traces=9,
)
SHORT = Sizes(
    lives=2,
    bursts=1,
    burst=3,
    starts=1,
    fleet=(2, 4),
    fleet_probe=1,
    idle_at=4,
    idle_seconds=1,
    played=10,
    played_probe=5,
    traces=1,
)
