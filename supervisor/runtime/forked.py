"""The first steps of a forked process: of its parent it keeps what it was given, and nothing else.

In this order it takes default signals, closes all other descriptors, asks to die with its parent, takes its name and a
clean environment, and only then does its work.

Memory is shared until one side writes into it. So the collector leaves alone what was there before the fork: it writes
into each object that it looks at.
"""

import gc
import importlib
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NoReturn, Protocol

from workers.system.libc import follow_parent, take_name

KEPT_ENVIRONMENT = ("PATH", "LANG", "TZ")
STANDARD_DESCRIPTORS = (0, 1, 2)
Target = str | Callable[..., None]

log = logging.getLogger(__name__)


class End(Protocol):
    """One end of a channel."""

    def fileno(self) -> int:
        """The descriptor."""

    def close(self) -> None:
        """Gives the descriptor back."""


def become(
    name: str,
    target: Target,
    arguments: Iterable[object],
    *,
    parent: int,
    given: Iterable[End],
    far: Iterable[End],
    limit: int,
) -> NoReturn:
    """Runs `target(*arguments)`, and ends; a string is imported first ("module:function").

    `far` are the other ends of those that it was `given`, which `limit` is above, like every descriptor of the parent.
    """
    status = 1
    try:
        gc.freeze()
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        for end in far:
            end.close()  # their objects go with the child's queues
        _close_all_but(*STANDARD_DESCRIPTORS, *(end.fileno() for end in given), limit=limit)
        follow_parent(parent, signal.SIGKILL)
        take_name(name)
        environment = {name: os.environ[name] for name in KEPT_ENVIRONMENT if name in os.environ}
        os.environ.clear()
        os.environ.update(environment)
        run = _imported(target) if isinstance(target, str) else target
        run(*arguments)
        status = 0
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
    except BaseException:
        log.exception("%s ended with an error", _own_name())
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:  # whatever fails, the child never goes on as a second supervisor
            os._exit(status)


def _own_name() -> str:
    """It may have taken another one since."""
    return Path("/proc/self/comm").read_text(errors="replace").strip()


def _close_all_but(*kept: int, limit: int) -> None:
    """One system call closes each gap, however many siblings there are; their objects are not touched."""
    first = 0
    for number in sorted(kept):
        if first < number:  # an empty range is everything to close_range(2)
            os.closerange(first, number)
        first = number + 1
    os.closerange(first, limit)


def _imported(path: str) -> Callable[..., None]:
    module, _, name = path.partition(":")
    target: Callable[..., None] = getattr(importlib.import_module(module), name)
    return target
