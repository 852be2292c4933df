"""A lease's timers: the end of the lease, and the time by which a server should have renewed it.

udhcpc does not report the second. Owns the report of a silence. Must not know the clients, nor what follows the end.
"""

from collections.abc import Callable
from dataclasses import dataclass

from workers.contract.lease import AnyLease, Family
from workers.contract.messages import LeaseTrouble, Report, Trouble
from workers.system.deadlines import Deadlines


@dataclass(eq=False)
class LeaseTimers(Deadlines):
    """The timers of the lease that we hold.

    `silent`: no server answers, and that was reported. Set it to False when a server answers.
    """

    silent: bool = False
    _address: str = ""

    def bind(self, family: Family, report: Callable[[Report], None], over: Callable[[], None]) -> None:
        """`over` is called when the lease has run out."""
        self._family = family
        self._report = report
        self._over = over

    def begin(self, lease: AnyLease, at: float) -> None:
        """Sets the timers, if no server answers from `at` on. The end of a lease before `at` was reported already."""
        self._address = str(lease.address.ip)
        runs = lease.runs(at)
        self.set(self._on_expiry, lease.expires if runs else None)
        self.set(self._on_overdue, lease.overdue_at(at) if runs else None)

    def give_up(self) -> None:
        """The client has given the lease up."""
        self.tell_silence(f"no server has renewed the lease of {self._address}; a new one is asked for")

    def tell_silence(self, what: str) -> None:
        """Reports a silence once, however long it lasts."""
        if not self.silent:
            self.silent = True
            self._report(LeaseTrouble(Trouble.NO_ANSWER, what, self._family))

    def _on_overdue(self) -> None:
        self.tell_silence(f"no server has renewed the lease of {self._address}; still asking")

    def _on_expiry(self) -> None:
        what = f"the lease of {self._address} has run out"
        self._report(LeaseTrouble(Trouble.EXPIRED, what, self._family))
        self._over()
