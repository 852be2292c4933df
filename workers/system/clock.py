"""Clocks that neither stop in a suspend nor jump with the wall clock."""

import time
from functools import cache
from pathlib import Path


def boottime() -> float:
    """Seconds since boot, suspend included: timers neither stop in a suspend nor jump with the wall clock."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def slept() -> float:
    """Seconds that the host has spent in a suspend since it booted."""
    return boottime() - time.clock_gettime(time.CLOCK_MONOTONIC)


@cache
def boot_id() -> str:
    """What `boottime()` is since (random(4))."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
