"""The life of a child process in the words of process supervision, as a table. Pure: no I/O, no clock.

    STOPPED ─► STARTING ─► RUNNING ─► BACKOFF ─► STARTING …        STOPPING ─► STOPPED

Spawned is not ready: RUNNING is entered by the child's own message. There is no FATAL: giving up would cost the user
the network, so whatever dies is tried again, ever more slowly.
"""

from enum import StrEnum


class ChildState(StrEnum):
    """Where a child is."""

    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    BACKOFF = "backoff"
    STOPPING = "stopping"


class ChildEvent(StrEnum):
    """What happens to a child."""

    SPAWN = "spawn"
    READY = "ready"
    EXIT = "exit"
    STOP = "stop"


class RefusedChildEvent(Exception):
    """The event does not belong to the state; nothing was changed."""


TABLE: dict[tuple[ChildState, ChildEvent], ChildState] = {
    (ChildState.STOPPED, ChildEvent.SPAWN): ChildState.STARTING,
    (ChildState.BACKOFF, ChildEvent.SPAWN): ChildState.STARTING,
    (ChildState.STARTING, ChildEvent.READY): ChildState.RUNNING,
    (ChildState.STARTING, ChildEvent.EXIT): ChildState.BACKOFF,
    (ChildState.RUNNING, ChildEvent.EXIT): ChildState.BACKOFF,
    (ChildState.STARTING, ChildEvent.STOP): ChildState.STOPPING,
    (ChildState.RUNNING, ChildEvent.STOP): ChildState.STOPPING,
    (ChildState.BACKOFF, ChildEvent.STOP): ChildState.STOPPED,
    (ChildState.STOPPING, ChildEvent.EXIT): ChildState.STOPPED,
}


def after(state: ChildState, event: ChildEvent) -> ChildState:
    """The next state. Raises RefusedChildEvent."""
    try:
        return TABLE[state, event]
    except KeyError:
        raise RefusedChildEvent(f"{event!s} does not belong to a child that is {state}") from None
