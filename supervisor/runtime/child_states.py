"""The life of a child process in the words of process supervision, as a table. Pure: no I/O, no clock.

    STOPPED ─► STARTING ─► RUNNING ─► BACKOFF ─► STARTING …        STOPPING ─► STOPPED

A spawned child is not ready yet: its own first message leads to RUNNING. There is no FATAL: to give up would cost the
user the network, so the supervisor starts a dead child again, ever more slowly.
"""

from enum import StrEnum


class ChildState(StrEnum):
    """One state in a child's life."""

    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    BACKOFF = "backoff"
    STOPPING = "stopping"


class ChildEvent(StrEnum):
    """An event in a child's life."""

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
