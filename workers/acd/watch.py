"""A packet socket that hears other machines claim an address: what ARP and neighbour discovery have in common."""

from abc import ABC, abstractmethod
from contextlib import suppress

from workers.system.packet_filter import FilteredSocket

ERRORS = 2  # a link that goes causes one error, which comes before the packets that it had received


class Watch(ABC, FilteredSocket):
    """Its filter is in the kernel, so that the LAN's other packets do not wake the worker."""

    @abstractmethod
    def probe(self) -> None:
        """Asks who has the address, without claiming it. Raises OSError."""

    def claims(self) -> list[str]:
        """The MACs that have claimed the address since the last call; of a flood only some."""
        found: list[str] = []
        for _ in range(ERRORS):
            with suppress(OSError):
                for packet, mac in self._packets():
                    found += self._claimants(packet, mac)
                break
        return found

    @abstractmethod
    def _claimants(self, packet: bytes, mac: bytes) -> list[str]:
        """The MAC that claims the address in a packet of this sender, if any does."""
