"""A descriptor that becomes readable at a `boottime()`: a wait with a timeout does not count a suspend of the host.

timerfd_create(2); os has it from Python 3.13 on only.
"""

import ctypes
import os
import time
from dataclasses import dataclass
from io import FileIO

from workers.system.libc import LIBC, checked

TFD_TIMER_ABSTIME = 1


class _Itimerspec(ctypes.Structure):
    """Interval and first expiration, each in seconds and nanoseconds; an expiration of zero is never."""

    _fields_ = tuple((name, ctypes.c_long) for name in ("every", "every_ns", "first", "first_ns"))


@dataclass(init=False, eq=False)
class Alarm:
    """One time at a time. Once readable it stays so until it is set to another."""

    _timer: FileIO
    _at: float | None = None

    def __init__(self) -> None:
        """Raises OSError."""
        flags = os.O_CLOEXEC | os.O_NONBLOCK
        self._timer = FileIO(checked(LIBC.timerfd_create(time.CLOCK_BOOTTIME, flags), "making a timer"))

    def fileno(self) -> int:
        return self._timer.fileno()

    def set(self, at: float | None) -> None:
        """When to become readable, in place of an earlier time; at once for one that has passed, None for never."""
        if at == self._at:
            return
        self._at = at
        set_alarm(self.fileno(), at)

    def close(self) -> None:
        self._timer.close()


def set_alarm(number: int, at: float | None) -> None:
    """The same by the alarm's descriptor, for a process that has nothing else of it."""
    nanoseconds = 0 if at is None else max(1, round(at * 1e9))
    spec = _Itimerspec(0, 0, *divmod(nanoseconds, 10**9))
    checked(LIBC.timerfd_settime(number, TFD_TIMER_ABSTIME, ctypes.byref(spec), None), "setting a timer")
