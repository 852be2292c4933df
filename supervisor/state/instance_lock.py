"""One state has one owner: the lock keeps a second instance of the plugin from starting, the mark tells our links.

The plugin takes the lock before it touches anything else, so this module imports nothing heavy. Must not know the
state.
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
    """Held for the life of the process; the kernel releases it when the process ends."""

    def __init__(self, directory: Path) -> None:
        """Raises StateInUse, or OSError if the directory cannot be written."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._descriptor)
            raise StateInUse(f"another instance of this plugin uses {directory}") from None

    def close(self) -> None:
        """Closes the descriptor; in a child this does not unlock."""
        os.close(self._descriptor)


def lock_state(directory: Path) -> Lock | None:
    """The lock; None if the disk does not allow one. Raises StateInUse."""
    try:
        return Lock(directory)
    except OSError as error:
        log.error("state cannot be kept in %s: %s; going on in memory", directory, error)
        return None


def mark_of(directory: Path) -> int:
    """The number that tells the links of this state's owner from all others, 31 bits; 0 if the disk does not tell it.

    It is made from the directory, because the state may be wiped. Links end with the boot, like the numbers of devices.
    """
    try:
        place = directory.stat()
    except OSError:
        return 0
    digest = hashlib.sha256(f"{place.st_dev} {place.st_ino}".encode()).digest()
    return int.from_bytes(digest[:4]) >> 1
