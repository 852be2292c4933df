"""Keeps a lease inside the sandbox: the persistent udhcpc, its events, its restarts.

Owns the lease from Attach to Leave. Runs in the sandbox's network namespace; must not know how it got there.
"""

import logging
import socket
import time
from collections.abc import Callable
from multiprocessing.connection import Connection

from workers.backoff import Backoff
from workers.configure import configure
from workers.lease import Lease, boottime
from workers.messages import ClientStarted, EndpointSpec, LeaseObtained, LeaseTrouble, Report, Trouble
from workers.netlink import NetlinkError
from workers.parse import InvalidLease, parse_lease
from workers.udhcpc import Client, ClientOptions, Event, EventKind

Source = Connection | socket.socket | int  # what can be waited on

log = logging.getLogger(__name__)


class Keeper:
    """One lease on one interface. `lease` is what the server last acknowledged."""

    def __init__(self, spec: EndpointSpec, lease: Lease, report: Callable[[Report], None]) -> None:
        self.lease = lease
        self._joined = lease.gateway  # what Docker is told at Join, and keeps for the container's life
        self._spec = spec
        self._report = report
        self._interface = ""
        self._hostname = spec.hostname
        self._client: Client | None = None
        self._started = 0.0
        self._bound = False
        self._backoff = Backoff()
        self._retry_at: float | None = None

    @property
    def retry_at(self) -> float | None:
        """`time.monotonic()` at which `start` is to be called again."""
        return self._retry_at

    def sources(self) -> dict[Source, Callable[[], None]]:
        """Descriptors to be waited on, with what to call when one is readable."""
        if self._client is None:
            return {}
        return {self._client.events: self._on_events, self._client.errors: self._on_log}

    def begin(self, interface: str, hostname: str | None) -> None:
        """The link is in the sandbox, configured, and called `interface` there."""
        self._interface = interface
        self._hostname = hostname or self._hostname
        self.start()

    def rename(self, hostname: str) -> None:
        """Makes the server learn a host name: udhcpc takes it only at its start."""
        if hostname == self._hostname:
            return
        self._hostname = hostname
        if self._client is not None:
            self.stop()
            self.start()

    def move(self, interface: str) -> None:
        """The link has another name now: udhcpc would end at its next packet."""
        self._interface = interface
        self.stop()
        self.start()

    def start(self) -> None:
        """Starts udhcpc; it asks for the address that is held."""
        self._retry_at = None
        self._bound = False
        self._started = time.monotonic()
        requested = self.lease.address.ip
        self._client = Client(
            ClientOptions(self._interface, self._spec.mac, requested=requested, hostname=self._hostname)
        )
        self._report(ClientStarted(self._client.pid))

    def stop(self) -> None:
        """Ends udhcpc; the lease stays held."""
        self._retry_at = None
        if self._client is not None:
            self._client.stop()
            self._client = None

    def _on_log(self) -> None:
        if self._client and not self._client.read_log():
            self._on_death()

    def _on_events(self) -> None:
        events = self._client.read_events() if self._client else []
        if events is None:
            self._on_death()
        for event in events or []:
            ON_EVENT[event.kind](self, event)

    def _on_death(self) -> None:
        if self._client is None:
            return
        words = self._client.last_words
        status = self._client.stop()
        self._client = None
        delay = self._backoff.failed(time.monotonic() - self._started)
        self._retry_at = time.monotonic() + delay
        detail = f"udhcpc ended with status {status} ({words or 'no word'}); started again in {delay:g} s"
        self._report(LeaseTrouble(Trouble.CLIENT_DIED, detail))

    def _on_ack(self, event: Event) -> None:
        try:
            lease = parse_lease(event.values, boottime())
            changes = self._configure(lease)
        except InvalidLease as error:
            self._report(LeaseTrouble(Trouble.INVALID, str(error)))
            return
        except NetlinkError as error:
            self._report(LeaseTrouble(Trouble.INVALID, f"the lease could not be applied: {error}"))
            return
        for change in changes:
            log.info(change, extra={"interface": self._interface})
        self._bound, self.lease = True, lease
        self._report(LeaseObtained(lease))

    def _configure(self, lease: Lease) -> tuple[str, ...]:
        skip_routes = self._spec.skip_routes
        return configure(self._interface, self.lease, lease, skip_routes=skip_routes, joined=self._joined)

    def _on_nak(self, event: Event) -> None:
        self._report(LeaseTrouble(Trouble.NAK, f"the server refused {self.lease.address.ip}: {_words(event)!r}"))

    def _on_deconfig(self, _: Event) -> None:
        """The first one comes at each start, before any packet; after a lease it means that udhcpc gave it up.

        The address stays on the link: a router that reboots must not cost the container its network.
        """
        if self._bound:
            self._bound = False
            self._report(LeaseTrouble(Trouble.LOST, f"udhcpc gave {self.lease.address.ip} up and asks for a new lease"))

    def _on_leasefail(self, _: Event) -> None:
        self._report(LeaseTrouble(Trouble.NO_ANSWER, "no DHCPOFFER to a round of DISCOVERs; asking on"))


def _words(event: Event) -> str:
    return event.values.get("message", "")[:100]


ON_EVENT: dict[EventKind, Callable[[Keeper, Event], None]] = {
    EventKind.DECONFIG: Keeper._on_deconfig,
    EventKind.BOUND: Keeper._on_ack,
    EventKind.RENEW: Keeper._on_ack,
    EventKind.NAK: Keeper._on_nak,
    EventKind.LEASEFAIL: Keeper._on_leasefail,
}
