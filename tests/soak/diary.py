"""What is written down during a run, by several threads: each list is only ever appended to."""

import time
from contextlib import suppress
from dataclasses import dataclass, field

from tests.soak.records import Injected, Operation, Presence, Probe, Span


@dataclass(slots=True)
class Diary:
    """`open` are the containers that have to be on the LAN now, by name, each a presence whose end is not known yet."""

    presences: list[Presence] = field(default_factory=list)
    probes: list[Probe] = field(default_factory=list)
    faults: list[Injected] = field(default_factory=list)
    operations: list[Operation] = field(default_factory=list)
    open: dict[str, Presence] = field(default_factory=dict)

    def arrive(self, container: str, mac: str, life: int, pinned: bool) -> None:
        """From now on it has to be there."""
        now = time.time()
        self.open[container] = Presence(container, mac, Span(now, now), life, pinned)

    def leave(self, container: str) -> None:
        """From now on it need not be; also where it has not been."""
        with suppress(KeyError):
            begun = self.open.pop(container)
            span = Span(begun.span.begin, time.time())
            self.presences.append(Presence(begun.container, begun.mac, span, begun.life, begun.pinned))

    def close(self) -> None:
        """The end of the run."""
        for container in list(self.open):
            self.leave(container)
