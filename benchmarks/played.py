"""A thousand endpoints: an engine that is played speaks the plugin's protocol, and namespaces stand for containers.

Must not know how figures are shown.
"""

import time

from benchmarks.figures import MANY, OURS, Figures
from benchmarks.ftrace import Tracer, tracer
from benchmarks.phases import CREATION, Cast, exchange, traced
from benchmarks.rows import PLAYED_FLAT, PLAYED_MEMORY, PLAYED_OWN
from benchmarks.serverlog import Acknowledged
from benchmarks.sizes import Sizes
from benchmarks.stage import PlayedContainer, Stage, checked, remove_sandboxes, stage
from benchmarks.timeline import Stamp
from benchmarks.tree import pss_megabytes

WEIGHINGS = 10


def measure_played(sizes: Sizes, figures: Figures) -> None:
    """Time and phases of a CreateEndpoint, and the memory, now and then; each has its lease, says the server."""
    with stage() as played, tracer() as kernel:
        containers: list[PlayedContainer] = []
        acknowledged = Acknowledged(played.server)
        _probe(played, kernel)  # what is loaded late is no cost
        try:
            for number in range(1, sizes.played + 1):
                containers.append(played.container())
                containers[-1].play_start()
                if number % sizes.played_probe == 0:
                    acknowledged.wait_for_clients(number)
                    milliseconds, timeline = _probe(played, kernel)
                    figures.sample_at(PLAYED_FLAT, number, milliseconds)
                    figures.sample_at(PLAYED_OWN, number, milliseconds - exchange(timeline))
                    if crowd := _crowd(number, sizes.played):
                        figures.timelines[crowd].append(timeline)
                if number % (sizes.played // WEIGHINGS) == 0:
                    figures.add_at(PLAYED_MEMORY, number, pss_megabytes(p.pid for p in played.plugin.processes()))
            figures.add(PLAYED_MEMORY, OURS, figures.slope(PLAYED_MEMORY))
        finally:
            played.plugin.stop()
            remove_sandboxes(containers)


def _crowd(number: int, all_of_them: int) -> str | None:
    """What a trace is one of: None between the first endpoints and the last."""
    many = min(MANY, all_of_them // 2)
    if number <= many:
        return f"CreateEndpoint beside 1 to {many} others"
    if number > all_of_them - many:
        return f"CreateEndpoint beside {all_of_them - many + 1} to {all_of_them} others"
    return None


def _probe(played: Stage, kernel: Tracer) -> tuple[float, list[Stamp]]:
    """Milliseconds and phases of the CreateEndpoint of one endpoint more, which goes again."""
    container = played.container()
    seconds = []

    def create() -> float:
        seconds.append(checked(container.create()).seconds)
        return time.monotonic()

    timeline = traced(kernel, Cast(played.plugin.processes, played.server), CREATION, create)
    checked(container.delete())
    return seconds[0] * 1000, timeline
