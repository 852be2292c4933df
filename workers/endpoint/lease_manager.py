"""Keeps a lease inside the sandbox: what follows from a server's answers, from its time, and from what others claim.

Owns the lease from Attach to Leave. Runs in the sandbox's network namespace; must not know how it got there.
"""

import logging
from collections.abc import Callable

from workers.acd.defence import Conflict
from workers.contract.lease import Lease
from workers.contract.messages import Attach, EndpointSpec, LeaseObtained, LeaseTrouble, Report, Trouble
from workers.dhcp4.lease_parser import InvalidLease, parse_lease
from workers.dhcp4.release import decline, release_by_broadcast
from workers.dhcp4.udhcpc import MIN_LEASE_SECONDS, ClientOptions, Event, EventKind
from workers.endpoint.clients import Clients
from workers.endpoint.lease_timers import LeaseTimers
from workers.link.placement import Placement
from workers.system.clock import boottime, slept

log = logging.getLogger(__name__)


class LeaseManager:
    """One lease on one interface. `lease` is what the server last acknowledged.

    `clients` are who renews it: a udhcpc's process is between them and whoever starts it.
    """

    def __init__(self, spec: EndpointSpec, lease: Lease, report: Callable[[Report], None]) -> None:
        self.lease = lease
        self.clients = Clients(self._options, self._on_event, report)
        self._placement = Placement(report, skip_routes=spec.skip_routes)
        self._spec = spec
        self._report = report
        self._interface = ""
        self._hostname = spec.hostname
        self._timers = LeaseTimers(lease, report, self._on_expiry)
        self._conflict = Conflict(spec, lease.obtained, report, self._on_contest)
        self._bound = False
        self._refused = False
        self._renewing = False

    @property
    def next_at(self) -> float | None:
        """`boottime()` at which `due` is to be called."""
        return min((t for t in (self._timers.next_at, self.clients.next_at) if t is not None), default=None)

    def sources(self) -> dict[int, Callable[[], None]]:
        """Descriptors to be waited on, with what to call when one is readable."""
        return self.clients.sources() | self._conflict.sources()

    def begin(self, interface: str, attach: Attach, mtu_limit: int) -> None:
        """The link is in the sandbox, configured, and called `interface` there; `mtu_limit` is its parent's.

        Where it had arrived before, another process kept the lease and is gone: it is renewed without a DISCOVER.
        """
        self._interface = interface
        self._hostname = attach.hostname or self._hostname
        self._placement.joined, self._placement.mtu_limit = attach.gateway, mtu_limit
        self._renewing = attach.arrived and self.lease.runs(boottime())
        if self._renewing:
            self._apply(self.lease)  # its former lease manager may have died over a change
        self._run()
        self._conflict.listen(interface, self.lease.address.ip)

    def on_conflict(self, mac: str) -> None:
        """Somebody else had the address when it was handed out: the server is told, and asked for another one."""
        self._conflict.on_conflict(self.lease.address.ip, mac)

    def rename(self, hostname: str) -> None:
        """Makes the server learn a host name: udhcpc takes it only at its start."""
        if hostname != self._hostname:
            self._hostname = hostname
            if self.clients.running:
                self._run()

    def move(self, interface: str) -> None:
        """The link has another name now: udhcpc would end at its next packet."""
        self._interface = interface
        self._run()

    def due(self) -> None:
        """To be called at `next_at`."""
        now = boottime()
        self.clients.due(now)
        self._timers.due(now)

    def stop(self) -> None:
        """Nothing renews any more; the lease stays held."""
        self.clients.stop()
        self._timers.clear()

    def finish(self) -> None:
        """As `stop`, with the lease that the server has granted last."""
        self.clients.finish()
        self._timers.clear()

    def end(self) -> None:
        """The sandbox is left: nothing is kept open there, for which the kernel takes 15 ms."""
        self.stop()
        self._interface = ""
        self._conflict.close()

    def _run(self) -> None:
        """Renews from now on, or anew, by whichever client it is time for."""
        self.clients.stop()
        self._timers.begin(self.lease, boottime())
        if self._conflict.in_conflict:
            self._renewing = False
            decline(self._interface, self.lease, self._spec.mac)
        if self._renewing:
            self.clients.start_renewer(self._interface, self._spec.mac, self.lease, self._hostname)
        else:
            self.clients.start_udhcpc()

    def _options(self) -> ClientOptions:
        """udhcpc asks for the address that is held."""
        requested = None if self._conflict.in_conflict else self.lease.address.ip
        return ClientOptions(self._interface, self._spec.mac, requested=requested, hostname=self._hostname)

    def _on_contest(self) -> None:
        if self._interface:
            self._run()

    def _ask_anew(self) -> None:
        """The lease cannot be renewed any more: the rest is udhcpc's; one that still thinks it is bound may hang."""
        if self._renewing or self._bound:
            self._renewing = self._bound = False
            self._run()

    def _on_expiry(self) -> None:
        """No server has answered in time: from now on a new lease is asked for."""
        if self._spec.drop_expired:
            self._placement.drop(self._interface, self.lease)
        self._ask_anew()

    def _on_event(self, event: Event) -> None:
        ON_EVENT[event.kind](self, event)

    def _on_ack(self, event: Event) -> None:
        try:
            lease = parse_lease(event.values, boottime())
        except InvalidLease as error:
            self._report(LeaseTrouble(Trouble.INVALID, str(error), self.lease.family))
            self.clients.reject()
            return
        if event.kind is EventKind.BOUND and self._is_strange(lease):
            self._insist(lease)
            return
        if self._conflict.in_conflict and lease.address == self.lease.address:
            decline(self._interface, lease, self._spec.mac)  # once more: a link that has just come up may lose it
            self.clients.reject()
            return
        if not self._apply(lease):
            self.clients.reject()
            return
        moved = lease.address != self.lease.address
        self._bound, self._refused, self._timers.silent = True, False, False
        self._accept(lease, slept())
        if moved:
            self._conflict.in_conflict = False
            self._conflict.listen(self._interface, lease.address.ip)
        self._report(LeaseObtained(lease))
        if lease.duration is not None and lease.duration < MIN_LEASE_SECONDS and not self._renewing:
            self._renewing = True  # udhcpc would come too late
            self._run()

    def _accept(self, lease: Lease, asleep: float) -> None:
        self.lease = lease
        self._timers.begin(lease, lease.obtained)
        self._conflict.obtained = lease.obtained
        self.clients.accept(lease, asleep)

    def _is_strange(self, lease: Lease) -> bool:
        """Of another server, which was the first to answer udhcpc's DISCOVER: the lease that is held still runs."""
        return lease.address != self.lease.address and self.lease.runs(boottime()) and not self._in_need

    @property
    def _in_need(self) -> bool:
        """Whether the lease may not be ours for long."""
        return self._timers.silent or self._refused or self._conflict.in_conflict

    def _insist(self, lease: Lease) -> None:
        """The container keeps the address that Docker knows; whoever gave it says if it is not its own any more."""
        what = f"{lease.server} gave {lease.address.ip}; it is given back, and {self.lease.address.ip} renewed"
        log.warning(what, extra={"interface": self._interface})
        release_by_broadcast(self._interface, lease, self._spec.mac)
        self._renewing = True
        self._run()

    def _apply(self, lease: Lease) -> bool:
        return self._placement.put(self._interface, self.lease, lease)

    def _on_nak(self, event: Event) -> None:
        self._bound, self._refused = False, True  # the deconfig that follows is no news
        words = event.values.get("message", "")[:100]
        what = f"the server refused {self.lease.address.ip}: {words!r}"
        self._report(LeaseTrouble(Trouble.NAK, what, self.lease.family))
        self._ask_anew()

    def _on_deconfig(self, _: Event) -> None:
        """udhcpc gave the lease up. The address stays: a router that reboots must not cost a container its network."""
        if self._bound:
            self._bound = False
            self._timers.give_up()

    def _on_leasefail(self, _: Event) -> None:
        self._timers.tell_silence("no server answered a round of DISCOVERs; asking on")


ON_EVENT: dict[EventKind, Callable[[LeaseManager, Event], None]] = {
    EventKind.DECONFIG: LeaseManager._on_deconfig,
    EventKind.BOUND: LeaseManager._on_ack,
    EventKind.RENEW: LeaseManager._on_ack,
    EventKind.NAK: LeaseManager._on_nak,
    EventKind.LEASEFAIL: LeaseManager._on_leasefail,
}
