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


def lock_state(directory: Path) -> int | None:
    """Locks the state until the process ends, or closes this descriptor. None if the disk does not allow a lock.

    A child that closes it unlocks nothing. Raises StateInUse, upon which the process is to end.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise StateInUse(f"another instance of this plugin uses {directory}") from None
    except OSError as error:
        log.error("state cannot be kept in %s: %s; going on in memory", directory, error)
        return None
    return descriptor


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
