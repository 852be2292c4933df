"""Whether somebody else has the address of a lease that is kept (RFC 5227): heard in the sandbox, and told.

Owns the ear for it, and whether the address is contested. Must not know how another one is asked for.
"""

from collections.abc import Callable
from ipaddress import IPv4Address

from workers.acd.arp import ArpWatch
from workers.contract.lease import Family
from workers.contract.messages import ConflictCheck, EndpointSpec, LeaseTrouble, Report, Trouble
from workers.system.clock import boottime

PROBE_SECONDS = 2.0  # from the lease: an answer to its probe, not a newcomer's claim (RFC 5227 section 1.1)


class Conflict:
    """About the address that is held, which a server has granted last at `obtained`, a `boottime()`.

    `contested`: somebody else had it when it was handed out. `lost` is called then; it is so until another one is held.
    """

    def __init__(
        self, spec: EndpointSpec, obtained: float, report: Callable[[Report], None], lost: Callable[[], None]
    ) -> None:
        self.obtained = obtained
        self.in_conflict = False
        self._spec = spec
        self._report = report
        self._lost = lost
        self._watch: ArpWatch | None = None

    def sources(self) -> dict[int, Callable[[], None]]:
        """Descriptors to be waited on, with what to call when one is readable."""
        return {} if self._watch is None else {self._watch.fileno(): self._on_claims}

    def listen(self, interface: str, address: IPv4Address) -> None:
        """To whoever claims the address of now, unless the network's owner wants none to be asked for."""
        self.close()
        if self._spec.conflict is not ConflictCheck.OFF:
            self._watch = ArpWatch(interface, self._spec.mac, address)

    def close(self) -> None:
        """Nothing is heard any more; the kernel takes 15 ms for that."""
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    def on_conflict(self, address: IPv4Address, mac: str) -> None:
        """`mac` had the address when it was handed out."""
        what = f"{mac} has {address} as well; it is declined, and another one asked for"
        self._report(LeaseTrouble(Trouble.CONFLICT, what, Family.IPV4))
        self.in_conflict = True
        self._lost()

    def _on_claims(self) -> None:
        claims = self._watch.claims() if self._watch is not None else []
        if self._watch is None or not claims:
            return
        if boottime() - self.obtained < PROBE_SECONDS and not self.in_conflict:
            self.on_conflict(self._watch.address, claims[0])
        else:
            what = f"{claims[0]} claims {self._watch.address}, too"
            self._report(LeaseTrouble(Trouble.CONFLICT, what, Family.IPV4))
