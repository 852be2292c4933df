"""The defence of an address that is in use (RFC 5227 section 2.4).

One ARP packet is easily forged, so a claim never costs us the address: it is answered by one announcement in ten
seconds, reported once, and the address is kept. Must not know DHCP.
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address

from workers.acd.arp import ArpWatch, announce
from workers.system.clock import boottime
from workers.system.deadlines import Deadlines

DEFEND_INTERVAL_SECONDS = 10.0  # RFC 5227's DEFEND_INTERVAL
CALM_SECONDS = 3600.0  # after so long without a claim the next one is reported as news

log = logging.getLogger(__name__)


@dataclass(eq=False)
class Defence(Deadlines):
    """Defends one address at a time."""

    _interface: str = ""
    _address: IPv4Address | None = None
    _watch: ArpWatch | None = None
    _claimed: tuple[IPv4Address, float] | None = None

    def bind(self, mac: str, report: Callable[[str], None], ours: Callable[[], bool]) -> None:
        """`report` gets one sentence each time a conflict begins. `ours` says whether we may still announce the
        address: not if its lease has expired or was refused.
        """
        self._mac = mac
        self._report = report
        self._ours = ours

    def sources(self) -> dict[int, Callable[[], None]]:
        """The descriptors to wait for, each with the function to call when it is readable."""
        return {} if self._watch is None else {self._watch.fileno(): self._on_claim}

    def begin(self, interface: str, address: IPv4Address) -> None:
        """`address` is in use on `interface` from now on. Raises OSError."""
        if (interface, address) != (self._interface, self._address):
            self.end()
            self._interface, self._address = interface, address
            self._watch = ArpWatch(interface, self._mac, address, twins=True)

    def end(self) -> None:
        """The address is no longer in use. The kernel takes 15 ms to close the packet socket."""
        self._deafen()
        self._address = None

    def _deafen(self) -> None:
        self.clear()
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    def _on_claim(self) -> None:
        """Stops listening until the next announcement is allowed, so that a flood of claims wakes us only once."""
        claims = self._watch.claims() if self._watch is not None else []
        if not claims or self._address is None:
            return
        self._deafen()
        now = boottime()
        self.set(self._listen_again, now + DEFEND_INTERVAL_SECONDS)
        if self._ours():
            with suppress(OSError):  # the link has gone, and other code notices that
                announce(self._interface, self._mac, self._address)
        known, last = self._claimed or (None, 0.0)
        if known != self._address or now - last > CALM_SECONDS:
            self._report(self._words(claims[0], self._address))
        self._claimed = self._address, now

    def _words(self, claimant: str, address: IPv4Address) -> str:
        if claimant != self._mac:
            return f"{claimant} claims {address} as well; the container keeps it"
        return (
            f"another machine has the MAC {self._mac} and with it {address} as well; the container keeps both. "
            "Give one of them another MAC, or, if there is no such machine, look for a loop in the LAN"
        )

    def _listen_again(self) -> None:
        assert self._address is not None
        try:
            self._watch = ArpWatch(self._interface, self._mac, self._address, twins=True)
        except OSError as error:
            log.debug("%s cannot be listened on: %s", self._interface, error)  # the link has gone
