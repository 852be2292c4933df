"""Waits for several descriptors at once; multiprocessing's `wait` puts a selector together each time, in Python."""

import select
from collections.abc import Iterable


def ready(numbers: Iterable[int], seconds: float | None = None) -> list[int]:
    """Those that have something to read or have ended, as soon as there is one; none of them after `seconds`."""
    poll = select.poll()
    for number in numbers:
        poll.register(number, select.POLLIN)
    return [number for number, _ in poll.poll(None if seconds is None else seconds * 1000)]
