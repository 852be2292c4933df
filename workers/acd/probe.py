"""Probes whether another machine has the address that a server offers (RFC 5227, RFC 4862), before it is used."""

from collections.abc import Collection
from ipaddress import IPv4Address

from workers.acd.arp import ArpWatch
from workers.acd.solicitation import NeighbourWatch
from workers.acd.watch import Watch
from workers.contract.lease import Address
from workers.system.clock import boottime

PROBE_SECONDS = 0.25  # for a neighbour's answer
MAX_HEARD = 64


class AddressProbe:
    """Probes for one address at a time; sends no probe if it is not `enabled`.

    `watch` goes on hearing claims. From the `boottime()` `settled_at` on, silence means that no other machine has the
    address. `router` is the MAC that the server's answer came from: a router that answers for others (proxy ARP)
    answers for its own offers as well.
    """

    def __init__(self, mac: str, *, enabled: bool) -> None:
        self.watch: Watch | None = None
        self.address: Address | None = None
        self.router = ""
        self.settled_at = 0.0
        self._mac = mac
        self._enabled = enabled
        self._heard: list[str] = []

    def probe(self, interface: str, address: Address) -> None:
        """Probes for `address`, in place of the one before. Raises OSError."""
        self.forget()
        self.address = address
        if self._enabled:
            if isinstance(address, IPv4Address):
                self.watch = ArpWatch(interface, self._mac, address)
            else:
                self.watch = NeighbourWatch(interface, self._mac, address)
            self.watch.probe()
            self.settled_at = boottime() + PROBE_SECONDS

    def sources(self) -> list[int]:
        """The descriptors that are readable when a machine has claimed the address."""
        return [] if self.watch is None else [self.watch.fileno()]

    def hear(self) -> None:
        """Reads the claims, which `claimant` judges."""
        found = self.watch.claims() if self.watch is not None else []
        self._heard = list(dict.fromkeys([*self._heard, *found]))[:MAX_HEARD]

    def claimant(self, trusted: Collection[str] = ()) -> str | None:
        """The MAC of another machine that has the address; neither the router's nor one of the `trusted`."""
        self.hear()
        return next((mac for mac in self._heard if mac != self.router and mac not in trusted), None)

    def forget(self) -> None:
        """Sends no probe and hears no claim any more."""
        self.address = None
        self._heard = []
        if self.watch is not None:
            self.watch.close()
            self.watch = None
