"""A thousand endpoints: an engine that is played speaks the plugin's protocol, and namespaces stand for containers.

Each plugin has a stage of its own. Must not know how figures are shown.
"""

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

from benchmarks.contenders import Contenders
from benchmarks.figures import Figures, in_turn
from benchmarks.rows import PLAYED_MANY, PLAYED_MEMORY
from benchmarks.sizes import Sizes
from benchmarks.stage import Stage, checked, stage
from benchmarks.tree import pss_megabytes

WEIGHINGS = 10


def measure_played(contenders: Contenders, sizes: Sizes, figures: Figures) -> None:
    """Times a CreateEndpoint and reads the memory now and then; the server says that each endpoint has its lease."""
    with ExitStack() as stack:
        stages = {
            contender: stack.enter_context(stage(contender, definition))
            for contender, definition in contenders.definitions.items()
        }
        starts, probes = in_turn(tuple(stages)), in_turn(tuple(stages))
        for played in stages.values():
            _create(played)  # it loads code
        for number in range(1, sizes.played + 1):
            for contender in next(starts):
                stages[contender].start_container()
            if number % sizes.played_probe == 0:
                _probe(stages, next(probes), sizes.pause, figures)
            if number % (sizes.played // WEIGHINGS) == 0:
                _weigh(stages, figures)
        for contender in stages:
            figures.add(PLAYED_MEMORY, contender, figures.slope(PLAYED_MEMORY, contender))


def _probe(stages: Mapping[str, Stage], order: Sequence[str], pause: float, figures: Figures) -> None:
    """Once all is quiet."""
    for played in stages.values():
        played.wait_for_clients()
    for contender in order:
        time.sleep(pause)
        figures.add_at(PLAYED_MANY, contender, len(stages[contender].containers), _create(stages[contender]))


def _weigh(stages: Mapping[str, Stage], figures: Figures) -> None:
    for contender, played in stages.items():
        memory = pss_megabytes(played.plugin.processes())
        figures.add_at(PLAYED_MEMORY, contender, len(played.containers), memory)


def _create(played: Stage) -> float:
    """Milliseconds of the CreateEndpoint of one more endpoint, which is deleted again."""
    container = played.container()
    created = checked(container.create())
    checked(container.delete())
    return created.seconds * 1000
