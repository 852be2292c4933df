"""Keeps a lease inside the sandbox: the persistent udhcpc or the renewer, what they report, their restarts.

Owns the lease from Attach to Leave. Runs in the sandbox's network namespace; must not know how it got there.
"""

import logging
import socket
from collections.abc import Callable, Iterable
from ipaddress import IPv4Address
from multiprocessing.connection import Connection

from workers.arp import ArpWatch
from workers.backoff import Backoff
from workers.configure import configure, unconfigure
from workers.lease import Lease, boottime
from workers.messages import (
    Attach,
    ClientStarted,
    ConflictCheck,
    EndpointSpec,
    LeaseObtained,
    LeaseTrouble,
    Report,
    Trouble,
)
from workers.mtu import follow_mtu
from workers.netlink import NetlinkError
from workers.parse import InvalidLease, parse_lease
from workers.release import decline
from workers.renewer import Renewer
from workers.udhcpc import Client, ClientOptions, Event, EventKind

PROBE_SECONDS = 2.0  # from the lease: an answer to its probe, not a newcomer's claim (RFC 5227 section 1.1)

Source = Connection | socket.socket | int  # what can be waited on

log = logging.getLogger(__name__)


class Keeper:
    """One lease on one interface. `lease` is what the server last acknowledged."""

    def __init__(self, spec: EndpointSpec, lease: Lease, report: Callable[[Report], None]) -> None:
        self.lease = lease
        self._joined: IPv4Address | None = None
        self._mtu_limit: int | None = None
        self._spec = spec
        self._report = report
        self._interface = ""
        self._hostname = spec.hostname
        self._client: Client | None = None
        self._renewer: Renewer | None = None
        self._started = 0.0
        self._bound = False
        self._dropped = False
        self._renewing = False
        self._contested = False
        self._watch: ArpWatch | None = None
        self._backoff = Backoff()
        self._retry_at: float | None = None
        self._expires_at: float | None = None

    @property
    def next_at(self) -> float | None:
        """`boottime()` at which `due` is to be called."""
        renew_at = self._renewer.next_at if self._renewer else None
        return min((t for t in (self._retry_at, self._expires_at, renew_at) if t is not None), default=None)

    def sources(self) -> dict[Source, Callable[[], None]]:
        """Descriptors to be waited on, with what to call when one is readable."""
        sources: dict[Source, Callable[[], None]] = {}
        if self._client is not None:
            sources |= {self._client.events: self._on_events, self._client.errors: self._on_log}
        if self._renewer is not None:
            sources[self._renewer.events] = self._on_answer
        if self._watch is not None:
            sources[self._watch.fileno()] = self._on_claims
        return sources

    def begin(self, interface: str, attach: Attach, mtu_limit: int) -> None:
        """The link is in the sandbox, configured, and called `interface` there; `mtu_limit` is the bridge's MTU.

        Where it had arrived before, another process kept the lease and is gone: it is renewed without a DISCOVER.
        """
        self._interface = interface
        self._hostname = attach.hostname or self._hostname
        self._joined = attach.gateway
        self._mtu_limit = mtu_limit
        self._renewing = attach.arrived and self.lease.runs(boottime())
        if self._renewing:
            self._apply(self.lease)  # its former keeper may have died over a change
        self._run()
        self._listen()

    def contest(self, mac: str) -> None:
        """Somebody else had the address when it was handed out: the server is told, and asked for another one."""
        what = f"{mac} has {self.lease.address.ip} as well; it is declined, and another one asked for"
        self._report(LeaseTrouble(Trouble.CONFLICT, what))
        self._contested = True
        if self._interface:
            self._run()

    def rename(self, hostname: str) -> None:
        """Makes the server learn a host name: udhcpc takes it only at its start."""
        if hostname != self._hostname:
            self._hostname = hostname
            if self._client is not None or self._renewer is not None:
                self._run()

    def move(self, interface: str) -> None:
        """The link has another name now: udhcpc would end at its next packet."""
        self._interface = interface
        self._run()

    def due(self) -> None:
        """To be called at `next_at`."""
        now = boottime()
        if self._retry_at is not None and self._retry_at <= now:
            self._start()
        if self._renewer is not None and self._renewer.next_at is not None and self._renewer.next_at <= now:
            self._dispatch(self._renewer.due())
        if self._expires_at is not None and self._expires_at <= now:
            self._on_expiry()

    def stop(self) -> None:
        """Ends whatever renews; the lease stays held."""
        self._retry_at = self._expires_at = None
        if self._client is not None:
            self._client.stop()
            self._client = None
        if self._renewer is not None:
            self._renewer.close()
            self._renewer = None

    def end(self) -> None:
        """The sandbox is left: nothing is kept open there."""
        self.stop()
        self._interface = ""
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    def _run(self) -> None:
        """Renews from now on, or anew, by whichever client it is time for."""
        self.stop()
        self._expires_at = self.lease.expires if self.lease.runs(boottime()) else None
        if self._contested:
            self._renewing = False
            decline(self._interface, self.lease, self._spec.mac)
        if self._renewing:
            self._renewer = Renewer(self._interface, self._spec.mac, self.lease, self._hostname)
        else:
            self._start()

    def _listen(self) -> None:
        """To whoever claims the address of now."""
        if self._watch is not None:
            self._watch.close()
            self._watch = None
        if self._spec.conflict is not ConflictCheck.OFF:
            self._watch = ArpWatch(self._interface, self._spec.mac, self.lease.address.ip)

    def _on_claims(self) -> None:
        claims = self._watch.claims() if self._watch is not None else []
        if not claims:
            return
        if boottime() - self.lease.obtained < PROBE_SECONDS and not self._contested:
            self.contest(claims[0])
        else:
            what = f"{claims[0]} claims {self.lease.address.ip}, too"
            self._report(LeaseTrouble(Trouble.CONFLICT, what))

    def _ask_anew(self) -> None:
        """The lease cannot be renewed any more: the rest is udhcpc's."""
        if self._renewing:
            self._renewing = False
            self._run()

    def _start(self) -> None:
        """Starts udhcpc; it asks for the address that is held."""
        self._retry_at = None
        self._bound = False
        self._started = boottime()
        requested = None if self._contested else self.lease.address.ip
        self._client = Client(
            ClientOptions(self._interface, self._spec.mac, requested=requested, hostname=self._hostname)
        )
        self._report(ClientStarted(self._client.pid))

    def _on_answer(self) -> None:
        self._dispatch(self._renewer.read_events() if self._renewer else [])

    def _dispatch(self, events: Iterable[Event]) -> None:
        for event in events:
            ON_EVENT[event.kind](self, event)

    def _on_expiry(self) -> None:
        """The lease has run out and no server has answered: from now on a new one is asked for."""
        self._expires_at = None
        self._report(LeaseTrouble(Trouble.EXPIRED, f"the lease of {self.lease.address.ip} has run out"))
        if self._spec.drop_expired:
            self._drop()
        self._ask_anew()

    def _drop(self) -> None:
        try:
            changes = unconfigure(self._interface, self.lease, skip_routes=self._spec.skip_routes)
        except NetlinkError as error:
            self._report(LeaseTrouble(Trouble.INVALID, f"the address could not be taken off: {error}"))
            return
        self._dropped = True
        for change in changes:
            log.info(change, extra={"interface": self._interface})

    def _on_log(self) -> None:
        if self._client and not self._client.read_log():
            self._on_death()

    def _on_events(self) -> None:
        events = self._client.read_events() if self._client else []
        if events is None:
            self._on_death()
        self._dispatch(events or [])

    def _on_death(self) -> None:
        if self._client is None:
            return
        words = self._client.last_words
        status = self._client.stop()
        self._client = None
        delay = self._backoff.failed(boottime() - self._started)
        self._retry_at = boottime() + delay
        detail = f"udhcpc ended with status {status} ({words or 'no word'}); started again in {delay:g} s"
        self._report(LeaseTrouble(Trouble.CLIENT_DIED, detail))

    def _on_ack(self, event: Event) -> None:
        try:
            lease = parse_lease(event.values, boottime())
        except InvalidLease as error:
            self._report(LeaseTrouble(Trouble.INVALID, str(error)))
            return
        if not self._apply(lease):
            return
        moved = lease.address != self.lease.address
        self._bound, self._dropped, self.lease, self._expires_at = True, False, lease, lease.expires
        if moved:
            self._contested = False
            self._listen()
        if self._renewer is not None:
            self._renewer.accept(lease)
        self._report(LeaseObtained(lease))

    def _apply(self, lease: Lease) -> bool:
        previous = None if self._dropped else self.lease
        try:
            changes = configure(
                self._interface, previous, lease, skip_routes=self._spec.skip_routes, joined=self._joined
            )
        except NetlinkError as error:
            self._report(LeaseTrouble(Trouble.INVALID, f"the lease could not be applied: {error}"))
            return False
        for change in (*changes, *follow_mtu(self._interface, self.lease, lease, self._mtu_limit)):
            log.info(change, extra={"interface": self._interface})
        return True

    def _on_nak(self, event: Event) -> None:
        self._report(LeaseTrouble(Trouble.NAK, f"the server refused {self.lease.address.ip}: {_words(event)!r}"))
        self._ask_anew()

    def _on_deconfig(self, _: Event) -> None:
        """The first one comes at each start, before any packet; after a lease it means that udhcpc gave it up.

        The address stays on the link: a router that reboots must not cost the container its network.
        """
        if self._bound:
            self._bound = False
            self._report(LeaseTrouble(Trouble.LOST, f"udhcpc gave {self.lease.address.ip} up and asks for a new lease"))

    def _on_leasefail(self, _: Event) -> None:
        what = "renewals" if self._renewer else "a round of DISCOVERs"
        self._report(LeaseTrouble(Trouble.NO_ANSWER, f"no server answered {what}; asking on"))


def _words(event: Event) -> str:
    return event.values.get("message", "")[:100]


ON_EVENT: dict[EventKind, Callable[[Keeper, Event], None]] = {
    EventKind.DECONFIG: Keeper._on_deconfig,
    EventKind.BOUND: Keeper._on_ack,
    EventKind.RENEW: Keeper._on_ack,
    EventKind.NAK: Keeper._on_nak,
    EventKind.LEASEFAIL: Keeper._on_leasefail,
}
