"""How much is measured: all of it, or just enough to see that each part works."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sizes:
    """Numbers of samples, containers and endpoints.

    `pause` is in seconds: what the kernel clears away after one contender's turn must not slow the next one's down.
    At each number in `fleet` memory is read; at `idle_at` the processor's time is counted for `idle_seconds`. After
    every `fleet_probe` containers and `played_probe` endpoints, an endpoint without a container is timed.
    """

    pause: float
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


FULL = Sizes(
    pause=0.4,  # longer than the plugin waits before it forks the next spare worker
    lives=36,
    bursts=6,
    burst=50,
    starts=6,
    fleet=(10, 50, 100, 150, 200),
    fleet_probe=4,
    idle_at=100,
    idle_seconds=121,  # two renewals of each lease
    played=1000,
    played_probe=10,
)
SHORT = Sizes(
    pause=0,
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
)
