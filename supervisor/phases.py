"""The life of an endpoint in Docker's words, as a table. Pure: no I/O, no clock.

    ABSENT ─► CREATING ─► CREATED ─► JOINING ─► JOINED ─► LEAVING ─► LEFT ─► DELETING ─► ABSENT

JOINING ends when the worker is in the sandbox. Leave may find the endpoint in any phase after CREATED, Delete in any.
An event that is not in the table for a phase is refused: it changes nothing.
"""

from enum import StrEnum


class Phase(StrEnum):
    """Where an endpoint is."""

    ABSENT = "absent"
    CREATING = "creating"
    CREATED = "created"
    JOINING = "joining"
    JOINED = "joined"
    LEAVING = "leaving"
    LEFT = "left"
    DELETING = "deleting"


class Happening(StrEnum):
    """What happens to an endpoint: requests of the engine, reports of its worker."""

    CREATE = "create"
    CREATED = "created"
    FAILED = "failed"
    JOIN = "join"
    ATTACHED = "attached"
    LEAVE = "leave"
    LEFT = "left"
    DELETE = "delete"
    DELETED = "deleted"


class RefusedHappening(Exception):
    """The event does not belong to the phase; nothing was changed."""


TABLE: dict[tuple[Phase, Happening], Phase] = {
    (Phase.ABSENT, Happening.CREATE): Phase.CREATING,
    (Phase.CREATING, Happening.CREATED): Phase.CREATED,
    (Phase.CREATING, Happening.FAILED): Phase.ABSENT,
    (Phase.CREATING, Happening.DELETE): Phase.DELETING,
    (Phase.CREATED, Happening.JOIN): Phase.JOINING,
    (Phase.CREATED, Happening.DELETE): Phase.DELETING,
    (Phase.JOINING, Happening.ATTACHED): Phase.JOINED,
    (Phase.JOINING, Happening.LEAVE): Phase.LEAVING,
    (Phase.JOINING, Happening.DELETE): Phase.DELETING,
    (Phase.JOINED, Happening.ATTACHED): Phase.JOINED,  # a successor of a worker that died is in the sandbox again
    (Phase.JOINED, Happening.LEAVE): Phase.LEAVING,
    (Phase.JOINED, Happening.DELETE): Phase.DELETING,
    (Phase.LEAVING, Happening.LEFT): Phase.LEFT,
    (Phase.LEAVING, Happening.DELETE): Phase.DELETING,
    (Phase.LEFT, Happening.DELETE): Phase.DELETING,
    (Phase.DELETING, Happening.DELETED): Phase.ABSENT,
    (Phase.DELETING, Happening.FAILED): Phase.ABSENT,  # the creation that Delete cancelled
}


def after(phase: Phase, happening: Happening) -> Phase:
    """The next phase. Raises RefusedHappening."""
    try:
        return TABLE[phase, happening]
    except KeyError:
        raise RefusedHappening(f"{happening} does not belong to an endpoint that is {phase}") from None
