"""What is done in which order: endless, and the same for the same seed. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Generic, TypeVar

from tests.soak.records import Fault, Op

T = TypeVar("T")
HANDS = 3  # how many operations go on at the same time
CHURN = (Op.RESTART, Op.STOP_START, Op.REMOVE_RUN, Op.RECONNECT, Op.PAUSE, Op.RENAME, Op.DIE)
PROCESS_FAULTS = (
    *(Fault.WORKER, Fault.UDHCPC, Fault.GUNICORN, Fault.WATCHER, Fault.SUPERVISOR),
    *(Fault.EVERYTHING, Fault.DISABLED, Fault.DOCKERD_TERM, Fault.DOCKERD_KILL, Fault.FULL_DISK),
)
SERVER_FAULTS = (Fault.OUTAGE, Fault.RENUMBERED, Fault.REROUTED, Fault.FORGETFUL)
LAN_FAULTS = (Fault.BRIDGE, Fault.PORTS, Fault.FORGED)
BETWEEN_OPS = 9.0  # seconds from one operation of a hand to its next, on average
BETWEEN_PROCESS_FAULTS = 10.0
BETWEEN_SERVER_FAULTS = 30.0
BETWEEN_LAN_FAULTS = 20.0
STEADY = 3  # every third container is left alone, so that its lease gets old


@dataclass(frozen=True, slots=True)
class Step(Generic[T]):
    """One thing to do, `pause` seconds after the one before; what it is done to follows from `roll`, 0 to 1."""

    pause: float
    what: T
    roll: float


@dataclass(frozen=True, slots=True)
class Planned(Step[Op]):
    """An operation on the container of this number."""

    member: int


def churn(seed: int, hand: int, members: int) -> Iterator[Planned]:
    """What one hand does; each container belongs to one hand."""
    own = [number for number in range(members) if number % HANDS == hand and not is_steady(number)]
    random = Random(f"{seed} churn {hand}")  # noqa: S311  (no secret)
    while own:
        pause = random.expovariate(1 / BETWEEN_OPS)
        yield Planned(pause, random.choice(CHURN), random.random(), random.choice(own))


def is_steady(number: int) -> bool:
    """Is this container left alone? Of each hand's every third one is."""
    return number // HANDS % STEADY == 0


def process_faults(seed: int) -> Iterator[Step[Fault]]:
    """What is done to the plugin and its engine."""
    return _rounds(seed, PROCESS_FAULTS, BETWEEN_PROCESS_FAULTS)


def server_faults(seed: int) -> Iterator[Step[Fault]]:
    """What is done to the DHCP server."""
    return _rounds(seed, SERVER_FAULTS, BETWEEN_SERVER_FAULTS)


def lan_faults(seed: int) -> Iterator[Step[Fault]]:
    """What is done to the machine's bridge, and by a neighbour."""
    return _rounds(seed, LAN_FAULTS, BETWEEN_LAN_FAULTS)


def _rounds(seed: int, faults: Sequence[Fault], between: float) -> Iterator[Step[Fault]]:
    """All of them in random order, again and again."""
    random = Random(f"{seed} {faults[0].name}")  # noqa: S311  (no secret)
    while True:
        for fault in random.sample(faults, len(faults)):
            yield Step(random.expovariate(1 / between), fault, random.random())
