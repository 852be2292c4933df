"""Calls that wait until servers have confirmed the leases of one endpoint. Must not know why they wait."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from supervisor.runtime.loop import Loop, Timer
from workers.contract.lease import Family

CONFIRM_SECONDS = 8.0  # a client asks for 1, 2 and 4 s


@dataclass(slots=True, eq=False)
class _Waiter:
    families: set[Family]
    done: Callable[[bool], None]
    timer: Timer


class AwaitedLeases:
    """`done` is called once: with True when a server has confirmed each lease, with False after CONFIRM_SECONDS."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._waiters: list[_Waiter] = []

    def add(self, families: Iterable[Family], done: Callable[[bool], None]) -> None:
        """Waits for the next confirmation of each of these families."""

        def give_up() -> None:
            self._waiters.remove(waiter)
            done(False)

        waiter = _Waiter(set(families), done, self._loop.call_later(CONFIRM_SECONDS, give_up))
        self._waiters.append(waiter)

    def confirmed(self, family: Family) -> None:
        """A server has confirmed the lease of this family."""
        for waiter in tuple(self._waiters):
            waiter.families.discard(family)
            if not waiter.families:
                self._waiters.remove(waiter)
                waiter.timer.cancel()
                waiter.done(True)
