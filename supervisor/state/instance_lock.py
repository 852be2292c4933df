"""One state, one owner: the lock that keeps a second instance of the plugin from starting, and the mark by which the
owner knows its links. Knows nothing of the state.

It is taken before anything else is touched, and imports nothing heavy for that.
"""

import fcntl
import hashlib
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


def mark_of(directory: Path) -> int:
    """What tells the links of this state's owner from all others, 31 bits; 0 where the disk does not say.

    It is the directory's, as the state may be wiped, and links end with the boot like the numbers of devices.
    """
    try:
        place = directory.stat()
    except OSError:
        return 0
    digest = hashlib.sha256(f"{place.st_dev} {place.st_ino}".encode()).digest()
    return int.from_bytes(digest[:4]) >> 1
