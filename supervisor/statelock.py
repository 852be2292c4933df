"""One state, one owner: the lock that keeps a second instance of the plugin from starting. Knows nothing of the state.

It is taken before anything else is touched, and imports nothing heavy for that.
"""

import fcntl
import logging
import os
from pathlib import Path

log = logging.getLogger(__name__)


class StateInUse(Exception):
    """Another instance of the plugin owns this state."""


class Lock:
    """Held for the process's life, gone with it however it ends."""

    def __init__(self, directory: Path) -> None:
        """Raises StateInUse, or OSError where the directory cannot be written."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._descriptor)
            raise StateInUse(f"another instance of this plugin uses {directory}") from None

    def close(self) -> None:
        """Gives the descriptor back; in a child this does not unlock."""
        os.close(self._descriptor)


def lock_state(directory: Path) -> Lock | None:
    """The lock; None where the disk does not allow one. Raises StateInUse."""
    try:
        return Lock(directory)
    except OSError as error:
        log.error("state cannot be kept in %s: %s; going on in memory", directory, error)
        return None
