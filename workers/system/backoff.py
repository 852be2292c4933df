"""How long to wait before something that died is started again."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Backoff:
    """Doubles from `first` to `cap` seconds; a run of at least `healthy` seconds starts the row anew."""

    first: float = 1.0
    cap: float = 30.0
    healthy: float = 60.0
    failures: int = field(default=0, init=False)

    def failed(self, ran_for: float) -> float:
        """Seconds to wait after a run of `ran_for` seconds."""
        self.failures = 1 if ran_for >= self.healthy else self.failures + 1
        return min(self.cap, self.first * float(2 ** min(self.failures - 1, 16)))
