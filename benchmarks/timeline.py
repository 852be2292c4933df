"""Where the time of a start goes, by process: stamps of several starts, their medians, and a table. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median


@dataclass(frozen=True, slots=True)
class Stamp:
    """`process` has done `what`, `at` so many milliseconds after the start."""

    process: str
    what: str
    at: float


def medians(timelines: Sequence[Sequence[Stamp]]) -> list[Stamp]:
    """One timeline of several with the same phases, in the order of their ends."""
    same_phases = zip(*timelines, strict=True)
    found = (Stamp(same[0].process, same[0].what, median(stamp.at for stamp in same)) for same in same_phases)
    return sorted(found, key=lambda stamp: stamp.at)


def timeline_table(traced: str, timelines: Sequence[Sequence[Stamp]]) -> str:
    """A line a phase: its process, its end since the start, and its length since the end of the phase before."""
    found = medians(timelines)
    lengths = [found[0].at, *(later.at - earlier.at for earlier, later in pairwise(found))]
    head = f"{traced:<41}{'at ms':>9}{'took ms':>9}"
    lines = [f"{s.process:<12} {s.what:<28}{s.at:>9.2f}{took:>9.2f}" for s, took in zip(found, lengths, strict=True)]
    return "\n".join((head, *lines))
