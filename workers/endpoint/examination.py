"""A granted lease whose address is probed for before it is used (RFC 5227, RFC 8415 section 18.2.10.1).

Must not know what becomes of the lease.
"""

from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic

from workers.acd.probe import AddressProbe
from workers.contract.lease import Address
from workers.contract.messages import ConflictCheck, EndpointSpec
from workers.dhcp.effects import L
from workers.system.clock import boottime
from workers.system.deadlines import Deadlines


@dataclass(eq=False)
class Examination(Deadlines, Generic[L]):
    """Examines one `lease` at a time."""

    lease: L | None = None
    _probe: AddressProbe | None = None

    def bind(
        self,
        spec: EndpointSpec,
        free: Callable[[L], object],
        taken: Callable[[L, str], object],
        trusted: Callable[[L], Collection[str]] | None = None,
    ) -> None:
        """`free` gets the lease if no machine has its address, else `taken`, with that one's MAC.

        What `trusted` gives are MACs that may answer for all others (proxy ARP).
        """
        self._spec = spec
        self._free = free
        self._taken = taken
        self._trusted = trusted

    def sources(self) -> dict[int, Callable[[], None]]:
        """The descriptors to wait for, each with the function to call when it is readable."""
        return {} if self._probe is None else dict.fromkeys(self._probe.sources(), self._on_answer)

    def begin(
        self, interface: str, lease: L, *, router: str = "", not_before: float = 0.0, asker: Address | None = None
    ) -> None:
        """In place of the one before. The lease is free at `not_before` (`boottime()`) at the earliest. `asker` is as
        in workers.acd.probe."""
        self.end()
        probe = self._probe = AddressProbe(self._spec.mac, enabled=self._spec.conflict is not ConflictCheck.OFF)
        with suppress(OSError):  # the link has gone: the lease cannot be applied either
            probe.probe(interface, lease.address.ip, asker)
            probe.router = router
        self.lease = lease
        at = max(not_before, probe.settled_at)
        if at <= boottime():
            self.finish()
        else:
            self.set(self.finish, at)

    def finish(self) -> None:
        """No machine has answered by now."""
        if self.lease is not None:
            self._free(self.lease)

    def end(self) -> None:
        """The lease is not of interest any more."""
        self.lease = None
        if self._probe is not None:
            self._probe.forget()
            self._probe = None
        self.clear()

    def _on_answer(self) -> None:
        if self.lease is not None and self._probe is not None:
            mac = self._probe.claimant(self._trusted(self.lease) if self._trusted else ())
            if mac is not None:
                self._taken(self.lease, mac)
