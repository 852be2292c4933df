"""A lease's time: when it runs out, and when a server should have renewed it, of which udhcpc says nothing.

Owns what is told of a silence. Must not know who asks the server, nor what follows the end.
"""

from collections.abc import Callable

from workers.contract.lease import Lease
from workers.contract.messages import LeaseTrouble, Report, Trouble
from workers.system.deadlines import Deadlines


class LeaseTimers:
    """That of the lease which is held; `over` is called when it has run out.

    `silent`: no server answers, which has been told; whoever hears one says so by setting it to False.
    """

    def __init__(self, lease: Lease, report: Callable[[Report], None], over: Callable[[], None]) -> None:
        self.silent = False
        self._lease = lease
        self._report = report
        self._over = over
        self._deadlines = Deadlines()

    @property
    def next_at(self) -> float | None:
        """`boottime()` at which `due` is to be called."""
        return self._deadlines.next_at

    def begin(self, lease: Lease, at: float) -> None:
        """What becomes due where no server answers from `at` on; a lease that had run out by then was told already."""
        self._lease = lease
        runs = lease.runs(at)
        self._deadlines.set(self._on_expiry, lease.expires if runs else None)
        self._deadlines.set(self._on_overdue, lease.overdue_at(at) if runs else None)

    def due(self, now: float) -> None:
        """To be called at `next_at`."""
        self._deadlines.due(now)

    def clear(self) -> None:
        """Nothing becomes due any more."""
        self._deadlines.clear()

    def give_up(self) -> None:
        """Whoever renewed the lease has given it up."""
        self.tell_silence(f"no server has renewed the lease of {self._lease.address.ip}; a new one is asked for")

    def tell_silence(self, what: str) -> None:
        """Told once, however long it lasts."""
        if not self.silent:
            self.silent = True
            self._report(LeaseTrouble(Trouble.NO_ANSWER, what, self._lease.family))

    def _on_overdue(self) -> None:
        self.tell_silence(f"no server has renewed the lease of {self._lease.address.ip}; asking on")

    def _on_expiry(self) -> None:
        what = f"the lease of {self._lease.address.ip} has run out"
        self._report(LeaseTrouble(Trouble.EXPIRED, what, self._lease.family))
        self._over()
