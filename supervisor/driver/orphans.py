"""Orphans: leases whose container did not come back, and links that belong to no endpoint."""

import logging
import secrets
from collections.abc import Callable, Collection, Iterable

from supervisor.runtime.jobs import Jobs
from supervisor.runtime.loop import Loop
from supervisor.state.bindings import Bindings, Client
from supervisor.state.records import Binding
from workers.contract.lease import Family
from workers.contract.messages import Deleted, EndpointSpec, Ipv6
from workers.entry.jobs import give_back, remove
from workers.link.sweep import Swept, sweep

RELEASE_DEADLINE_SECONDS = 3.5  # a container that comes back waits for the release of its lease
MOST_RELEASES = 8  # that begin together: each has a process of its own
REMOVE_DEADLINE_SECONDS = 4.0
REMOVE_TRIES, REMOVE_AGAIN_SECONDS = 10, 5.0  # a link that is left then goes at the next start
SWEEP_DEADLINE_SECONDS = 1.5  # shorter than the wait of the first request

log = logging.getLogger(__name__)


class Orphans:
    """Releases leases and removes links, each by a job. Tries again later if a release fails."""

    def __init__(self, jobs: Jobs, loop: Loop, bindings: Bindings, mark: int) -> None:
        """`mark` is the group of our links (supervisor.state.instance_lock), 0 if they have none."""
        self._jobs = jobs
        self._loop = loop
        self._bindings = bindings
        self._mark = mark

    def sweep(self, ends: Collection[str], parents: Collection[str] | None, done: Callable[[], None]) -> None:
        """Removes our links except these containers' ends and VLANs; None spares all VLANs.

        Make no endpoint before `done`.
        """

        def swept(report: object | None) -> None:
            for name in report.links if isinstance(report, Swept) else ():
                log.warning("a link that no endpoint has is removed", extra={"interface": name})
            done()

        if not self._mark:
            done()
            return
        self._jobs.ask("nd-sweep", sweep, self._mark, ends, parents, deadline=SWEEP_DEADLINE_SECONDS, answer=swept)

    def release_overdue(self, endpoints: Iterable[EndpointSpec]) -> None:
        """Releases the leases that have waited long enough for their container. Call it often.

        It costs none of the `endpoints` its own lease.
        """
        in_use = [(spec.network_id, Client(spec.mac, spec.client_identity)) for spec in endpoints]
        for waiting in self._bindings.overdue(in_use)[:MOST_RELEASES]:
            self._release(waiting)

    def remove_link(self, endpoint_id: str, done: Callable[[], None], tries: int = REMOVE_TRIES) -> None:
        """Removes the link of an endpoint, if it has one; the id is all that is known of it.

        `done` is called after the first try; if that fails, others follow.
        """

        def again() -> None:
            self.remove_link(endpoint_id, lambda: None, tries - 1)

        def removed(report: object | None) -> None:
            if report is None and tries > 1:
                self._loop.call_later(REMOVE_AGAIN_SECONDS, again)
            done()

        self._jobs.ask("nd-remove", remove, endpoint_id, deadline=REMOVE_DEADLINE_SECONDS, answer=removed)

    def _release(self, one: Binding) -> None:
        leases = self._bindings.begin_release(one)
        if not leases:
            return  # they have expired
        owner = (one.network_id, secrets.token_hex(32), one.link, one.mac, one.client_identity)
        ipv6 = Ipv6.DHCP if Family.IPV6 in leases else Ipv6.OFF
        spec = EndpointSpec(*owner, lease_timeout=0, mark=self._mark, ipv6=ipv6)

        def done(report: object | None) -> None:
            unreleased = report.unreleased if isinstance(report, Deleted) else leases.keys()
            released = leases.keys() - unreleased
            for family in released:
                text = "lease of %s released: its container did not come back"
                log.info(text, leases[family].address.ip, extra={"network": one.network_id})
            self._bindings.end_release(one.network_id, one.key, leases, released)
            if report is None:  # its process was killed, and may have left its link behind
                self.remove_link(spec.endpoint_id, lambda: None)

        self._jobs.ask("nd-release", give_back, spec, leases, deadline=RELEASE_DEADLINE_SECONDS, answer=done)
