"""Probes whether another machine has the address that a server offers (RFC 5227, RFC 4862), before it is used."""

from collections.abc import Collection
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

from workers.acd.arp import ArpWatch
from workers.acd.solicitation import NeighbourWatch
from workers.contract.lease import Address
from workers.system.clock import boottime

PROBE_SECONDS = 0.25  # for a neighbour's answer
MAX_HEARD = 64


@dataclass(eq=False)
class AddressProbe:
    """Probes for one address at a time; sends no probe if it is not `enabled`.

    Its watch goes on hearing claims. From the `boottime()` `settled_at` on, silence means that no other machine has the
    address, unless the probe was `interrupted` before. `router` is the MAC that the server's answer came from: a router
    that answers for others (proxy ARP) answers for its own offers as well.
    """

    mac: str
    enabled: bool
    router: str = ""
    settled_at: float = 0.0
    interrupted: bool = False
    _arp: ArpWatch | None = None
    _neighbours: NeighbourWatch | None = None
    _heard: list[str] = field(default_factory=list)

    @property
    def _watch(self) -> ArpWatch | NeighbourWatch | None:
        return self._arp or self._neighbours

    @property
    def address(self) -> Address | None:
        """The address whose claims are heard."""
        return self._watch.address if self._watch is not None else None

    def probe(self, interface: str, address: Address, asker: Address | None = None) -> None:
        """Probes for `address`, in place of the one before. Raises OSError.

        `asker` is who asks if the address is in use here already: then only an answer to the probe is a claim, because
        anything else is easily forged beforehand.
        """
        self.forget()
        if self.enabled:
            watch: ArpWatch | NeighbourWatch
            if isinstance(address, IPv4Address):
                watch = self._arp = ArpWatch(interface, self.mac, address, direct=asker is not None)
            else:
                by = asker if isinstance(asker, IPv6Address) else None
                watch = self._neighbours = NeighbourWatch(interface, self.mac, address, by)
            watch.probe()
            self.settled_at, self.interrupted = boottime() + PROBE_SECONDS, False

    def interrupt(self) -> None:
        """The link hears nothing any more, as it goes down or elsewhere."""
        self.interrupted = self.interrupted or boottime() < self.settled_at

    def sources(self) -> list[int]:
        """The descriptors that are readable when a machine has claimed the address."""
        return [] if self._watch is None else [self._watch.fileno()]

    def hear(self) -> None:
        """Reads the claims, which `claimant` judges."""
        found = self._watch.claims() if self._watch is not None else []
        self._heard = list(dict.fromkeys([*self._heard, *found]))[:MAX_HEARD]

    def claimant(self, trusted: Collection[str] = ()) -> str | None:
        """The MAC of another machine that has the address; neither the router's nor one of the `trusted`."""
        self.hear()
        return next((mac for mac in self._heard if mac != self.router and mac not in trusted), None)

    def forget(self) -> None:
        """Sends no probe and hears no claim any more."""
        self._heard = []
        if self._watch is not None:
            self._watch.close()
            self._arp = self._neighbours = None
