"""Is the address that a server offers somebody else's already (RFC 5227)? Asked while the lease is obtained."""

import time
from ipaddress import IPv4Address

from workers.acd.arp import ArpWatch
from workers.contract.messages import ConflictCheck, EndpointSpec

PROBE_SECONDS = 0.25  # for a neighbour's answer, where that is waited for


class AddressInUse(Exception):
    """Somebody else has the address."""

    def __init__(self, address: IPv4Address, mac: str) -> None:
        super().__init__(address, mac)
        self.address = address
        self.mac = mac


class AddressProbe:
    """Those to one address at a time, over the link on which the lease is obtained.

    `watch` goes on hearing them; `settled_at` is the `time.monotonic()` from which silence means that nobody has it.
    `router` is the MAC of who answers: one that answers for others (proxy ARP) answers for its own offers, too.
    """

    def __init__(self, spec: EndpointSpec) -> None:
        self.watch: ArpWatch | None = None
        self.router = ""
        self.settled_at = 0.0
        self._spec = spec

    def probe(self, address: IPv4Address) -> None:
        """From now on it is this address that is asked for, unless the network's owner wants none to be."""
        self.forget()
        if self._spec.conflict is not ConflictCheck.OFF:
            self.watch = ArpWatch(self._spec.container_link, self._spec.mac, address)
            self.watch.probe()
            self.settled_at = time.monotonic() + PROBE_SECONDS

    def sources(self) -> list[int]:
        """Readable when somebody has claimed it."""
        return [] if self.watch is None else [self.watch.fileno()]

    def refuse(self) -> None:
        """Raises AddressInUse where somebody has."""
        for mac in self.watch.claims() if self.watch else ():
            if mac != self.router and self.watch is not None:
                raise AddressInUse(self.watch.address, mac)

    def forget(self) -> None:
        """Nothing is asked for or heard any more."""
        if self.watch is not None:
            self.watch.close()
            self.watch = None
