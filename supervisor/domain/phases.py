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


class EndpointEvent(StrEnum):
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


class RefusedEndpointEvent(Exception):
    """The event does not belong to the phase; nothing was changed."""


TABLE: dict[tuple[Phase, EndpointEvent], Phase] = {
    (Phase.ABSENT, EndpointEvent.CREATE): Phase.CREATING,
    (Phase.CREATING, EndpointEvent.CREATED): Phase.CREATED,
    (Phase.CREATING, EndpointEvent.FAILED): Phase.ABSENT,
    (Phase.CREATING, EndpointEvent.DELETE): Phase.DELETING,
    (Phase.CREATED, EndpointEvent.JOIN): Phase.JOINING,
    (Phase.CREATED, EndpointEvent.DELETE): Phase.DELETING,
    (Phase.JOINING, EndpointEvent.ATTACHED): Phase.JOINED,
    (Phase.JOINING, EndpointEvent.LEAVE): Phase.LEAVING,
    (Phase.JOINING, EndpointEvent.DELETE): Phase.DELETING,
    (Phase.JOINED, EndpointEvent.ATTACHED): Phase.JOINED,  # a successor of a worker that died is in the sandbox again
    (Phase.JOINED, EndpointEvent.LEAVE): Phase.LEAVING,
    (Phase.JOINED, EndpointEvent.DELETE): Phase.DELETING,
    (Phase.LEAVING, EndpointEvent.LEFT): Phase.LEFT,
    (Phase.LEAVING, EndpointEvent.DELETE): Phase.DELETING,
    (Phase.LEFT, EndpointEvent.DELETE): Phase.DELETING,
    (Phase.DELETING, EndpointEvent.DELETED): Phase.ABSENT,
    (Phase.DELETING, EndpointEvent.FAILED): Phase.ABSENT,  # the creation that Delete cancelled
}


def after(phase: Phase, event: EndpointEvent) -> Phase:
    """The next phase. Raises RefusedEndpointEvent."""
    try:
        return TABLE[phase, event]
    except KeyError:
        raise RefusedEndpointEvent(f"{event} does not belong to an endpoint that is {phase}") from None
