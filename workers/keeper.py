"""Keeps a lease inside the sandbox: what those who renew it report, what its time brings, what others claim.

Owns the lease from Attach to Leave. Runs in the sandbox's network namespace; must not know how it got there.
"""

import logging
from collections.abc import Callable, Mapping

from workers.arp import ArpWatch
from workers.clients import LATE_SECONDS, Clients
from workers.deadlines import Deadlines
from workers.lease import T1, Lease, boottime, slept
from workers.messages import Attach, ConflictCheck, EndpointSpec, LeaseObtained, LeaseTrouble, Report, Trouble
from workers.netlink import NetlinkError
from workers.parse import InvalidLease, parse_lease
from workers.placement import Placement
from workers.release import decline, forgo
from workers.renewal import Expected, Heard
from workers.udhcpc import MIN_LEASE_SECONDS, ClientOptions, Event, EventKind, Start, renewal

PROBE_SECONDS = 2.0  # from the lease: an answer to its probe, not a newcomer's claim (RFC 5227 section 1.1)

log = logging.getLogger(__name__)


class Keeper:
    """One lease on one interface. `lease` is what the server last acknowledged, in these `words` if they are known."""

    def __init__(
        self,
        spec: EndpointSpec,
        lease: Lease,
        report: Callable[[Report], None],
        words: Mapping[str, str] | None = None,
    ) -> None:
        self.lease = lease
        self._placement = Placement(skip_routes=spec.skip_routes)
        self._spec = spec
        self._report = report
        self._interface = ""
        self._hostname = spec.hostname
        self._clients = Clients(self._options, self._on_event, report)
        self._deadlines = Deadlines()
        self._bound = False
        self._silent = False
        self._refused = False
        self._renewing = False
        self._contested = False
        self._watch: ArpWatch | None = None
        self._record = None if words is None else renewal(words)

    @property
    def next_at(self) -> float | None:
        """`boottime()` at which `due` is to be called."""
        return min((t for t in (self._deadlines.next_at, self._clients.next_at) if t is not None), default=None)

    @property
    def starting(self) -> bool:
        """Whether a udhcpc is to be started."""
        return self._clients.starting

    def take_ended(self) -> list[int]:
        """The pids of the udhcpcs that have ended since the last call."""
        return self._clients.take_ended()

    def take_start(self) -> Start | None:
        """The udhcpc that is to be started, for whoever starts it."""
        return self._clients.take_start()

    def sources(self) -> dict[int, Callable[[], None]]:
        """Descriptors to be waited on, with what to call when one is readable."""
        watched: dict[int, Callable[[], None]] = {}
        if self._watch is not None:
            watched[self._watch.fileno()] = self._on_claims
        return self._clients.sources() | watched

    def expected(self, channel: int, alarm: int) -> Expected | None:
        """What to expect of a DHCPACK that changes nothing; None where each has to be looked at.

        `channel` and `alarm` are the descriptors that it is about.
        """
        unsettled = self._silent or self._refused or self._contested or self._renewing
        duration = self.lease.duration
        if unsettled or self._record is None or log.isEnabledFor(logging.DEBUG):
            return None
        if duration is None or duration < MIN_LEASE_SECONDS:
            return None
        return self._clients.expected(self._record, T1 * duration + LATE_SECONDS, channel, alarm)

    def wake(self, heard: Heard) -> None:
        """Goes on with what was heard while nobody was there to look at it."""
        if heard.renewed is not None:
            obtained, asleep = heard.renewed
            self._bound = True
            self._accept(self.lease.renewed(obtained), asleep)
        self._clients.hear(heard)

    def unsettle(self) -> None:
        """The link may not be as the lease says: the next DHCPACK is looked at."""
        self._record = None

    def begin(self, interface: str, attach: Attach, mtu_limit: int) -> None:
        """The link is in the sandbox, configured, and called `interface` there; `mtu_limit` is the bridge's MTU.

        Where it had arrived before, another process kept the lease and is gone: it is renewed without a DISCOVER.
        """
        self._interface = interface
        self._hostname = attach.hostname or self._hostname
        self._placement.joined, self._placement.mtu_limit = attach.gateway, mtu_limit
        self._renewing = attach.arrived and self.lease.runs(boottime())
        if self._renewing:
            self._apply(self.lease)  # its former keeper may have died over a change
        if attach.arrived or not self._placement.comes_with_join(self.lease):
            self.unsettle()
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
            if self._clients.running:
                self._run()

    def move(self, interface: str) -> None:
        """The link has another name now: udhcpc would end at its next packet."""
        self._interface = interface
        self._run()

    def due(self) -> None:
        """To be called at `next_at`."""
        now = boottime()
        self._clients.due(now)
        self._deadlines.due(now)

    def stop(self) -> None:
        """Nothing renews any more; the lease stays held."""
        self._clients.stop()
        self._deadlines.clear()

    def finish(self) -> None:
        """As `stop`, with the lease that the server has granted last."""
        self._clients.finish()
        self._deadlines.clear()

    def end(self) -> None:
        """The sandbox is left: nothing is kept open there, for which the kernel takes 15 ms."""
        self.stop()
        self._interface = ""
        self._unwatch()

    def _run(self) -> None:
        """Renews from now on, or anew, by whichever client it is time for."""
        self._clients.stop()
        self._time(boottime())
        if self._contested:
            self._renewing = False
            decline(self._interface, self.lease, self._spec.mac)
        if self._renewing:
            self._clients.start_renewer(self._interface, self._spec.mac, self.lease, self._hostname)
        else:
            self._clients.start_udhcpc()

    def _options(self) -> ClientOptions:
        """udhcpc asks for the address that is held."""
        requested = None if self._contested else self.lease.address.ip
        return ClientOptions(self._interface, self._spec.mac, requested=requested, hostname=self._hostname)

    def _time(self, at: float) -> None:
        """What becomes due where no server answers from `at` on; a lease that had run out by then was told already."""
        runs = self.lease.runs(at)
        self._deadlines.set(self._on_expiry, self.lease.expires if runs else None)
        self._deadlines.set(self._on_overdue, self.lease.overdue_at(at) if runs else None)

    def _listen(self) -> None:
        """To whoever claims the address of now."""
        self._unwatch()
        if self._spec.conflict is not ConflictCheck.OFF:
            self._watch = ArpWatch(self._interface, self._spec.mac, self.lease.address.ip)

    def _unwatch(self) -> None:
        if self._watch is not None:
            self._watch.close()
            self._watch = None

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
        """The lease cannot be renewed any more: the rest is udhcpc's; one that still thinks it is bound may hang."""
        if self._renewing or self._bound:
            self._renewing = self._bound = False
            self._run()

    def _on_overdue(self) -> None:
        """udhcpc says nothing of the renewals that nobody answers."""
        self._on_silence(f"no server has renewed the lease of {self.lease.address.ip}; asking on")

    def _on_silence(self, what: str) -> None:
        """Told once, however long it lasts."""
        if not self._silent:
            self._silent = True
            self._report(LeaseTrouble(Trouble.NO_ANSWER, what))

    def _on_expiry(self) -> None:
        """The lease has run out and no server has answered: from now on a new one is asked for."""
        self.unsettle()
        self._report(LeaseTrouble(Trouble.EXPIRED, f"the lease of {self.lease.address.ip} has run out"))
        if self._spec.drop_expired:
            self._drop()
        self._ask_anew()

    def _drop(self) -> None:
        try:
            self._placement.drop(self._interface, self.lease)
        except NetlinkError as error:
            self._report(LeaseTrouble(Trouble.INVALID, f"the address could not be taken off: {error}"))

    def _on_event(self, event: Event) -> None:
        ON_EVENT[event.kind](self, event)

    def _on_ack(self, event: Event) -> None:
        try:
            lease = parse_lease(event.values, boottime())
        except InvalidLease as error:
            self._report(LeaseTrouble(Trouble.INVALID, str(error)))
            self._clients.reject()
            return
        if event.kind is EventKind.BOUND and self._is_strange(lease):
            self._insist(lease)
            return
        if self._contested and lease.address == self.lease.address:
            decline(self._interface, lease, self._spec.mac)  # once more: a link that has just come up may lose it
            self._clients.reject()
            return
        if not self._apply(lease):
            self._clients.reject()
            return
        moved = lease.address != self.lease.address
        self._bound, self._silent, self._refused = True, False, False
        self._accept(lease, slept())
        if moved:
            self._contested = False
            self._listen()
        self._report(LeaseObtained(lease))
        self._record = renewal(event.values)
        if lease.duration is not None and lease.duration < MIN_LEASE_SECONDS and not self._renewing:
            self._renewing = True  # udhcpc would come too late
            self._run()

    def _accept(self, lease: Lease, asleep: float) -> None:
        self.lease = lease
        self._time(lease.obtained)
        self._clients.accept(lease, asleep)

    def _is_strange(self, lease: Lease) -> bool:
        """Of another server, which was the first to answer udhcpc's DISCOVER: the lease that is held still runs."""
        in_need = self._silent or self._refused or self._contested
        return lease.address != self.lease.address and self.lease.runs(boottime()) and not in_need

    def _insist(self, lease: Lease) -> None:
        """The container keeps the address that Docker knows; whoever gave it says if it is not its own any more."""
        what = f"{lease.server} gave {lease.address.ip}; it is given back, and {self.lease.address.ip} renewed"
        log.warning(what, extra={"interface": self._interface})
        forgo(self._interface, lease, self._spec.mac)
        self._renewing = True
        self._run()

    def _apply(self, lease: Lease) -> bool:
        try:
            self._placement.put(self._interface, self.lease, lease)
        except NetlinkError as error:
            self.unsettle()
            self._report(LeaseTrouble(Trouble.INVALID, f"the lease could not be applied: {error}"))
            return False
        return True

    def _on_nak(self, event: Event) -> None:
        self._bound, self._refused = False, True  # the deconfig that follows is no news
        words = event.values.get("message", "")[:100]
        self._report(LeaseTrouble(Trouble.NAK, f"the server refused {self.lease.address.ip}: {words!r}"))
        self._ask_anew()

    def _on_deconfig(self, _: Event) -> None:
        """udhcpc gave the lease up. The address stays: a router that reboots must not cost a container its network."""
        if self._bound:
            self._bound = False
            self._on_silence(f"no server has renewed the lease of {self.lease.address.ip}; a new one is asked for")

    def _on_leasefail(self, _: Event) -> None:
        self._on_silence("no server answered a round of DISCOVERs; asking on")


ON_EVENT: dict[EventKind, Callable[[Keeper, Event], None]] = {
    EventKind.DECONFIG: Keeper._on_deconfig,
    EventKind.BOUND: Keeper._on_ack,
    EventKind.RENEW: Keeper._on_ack,
    EventKind.NAK: Keeper._on_nak,
    EventKind.LEASEFAIL: Keeper._on_leasefail,
}
