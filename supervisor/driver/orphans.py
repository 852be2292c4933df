"""Orphans: leases whose container did not come back, and links that belong to no endpoint."""

import logging
import secrets
from collections.abc import Callable, Collection

from supervisor.runtime.jobs import ask
from supervisor.runtime.loop import Loop
from supervisor.runtime.process_manager import ProcessManager
from supervisor.state.bindings import Bindings
from supervisor.state.records import Binding
from workers.contract.lease import Family
from workers.contract.messages import Deleted, EndpointSpec, Ipv6
from workers.entry.jobs import give_back, remove
from workers.link.sweep import Swept, sweep

RELEASE_DEADLINE_SECONDS = 8.0
REMOVE_DEADLINE_SECONDS = 4.0
SWEEP_DEADLINE_SECONDS = 1.5  # shorter than the wait of the first request

log = logging.getLogger(__name__)


class Orphans:
    """Releases leases and removes links, each by a job. Tries again later if a release fails."""

    def __init__(self, process_manager: ProcessManager, loop: Loop, bindings: Bindings, mark: int) -> None:
        """`mark` is the group of our links (supervisor.state.instance_lock), 0 if they have none."""
        self._process_manager = process_manager
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
        deadline = SWEEP_DEADLINE_SECONDS
        words = ("nd-sweep", sweep, self._mark, ends, parents)
        ask(self._process_manager, self._loop, *words, deadline=deadline, answer=swept)

    def release_overdue(self) -> None:
        """Releases the leases that have waited long enough for their container. Call it often."""
        for waiting in self._bindings.overdue():
            self._release(waiting)

    def remove_link(self, endpoint_id: str, done: Callable[[], None]) -> None:
        """Removes the link of an endpoint, if it has one; the id is all that is known of it."""

        def removed(_: object | None) -> None:
            done()

        deadline = REMOVE_DEADLINE_SECONDS
        ask(self._process_manager, self._loop, "nd-remove", remove, endpoint_id, deadline=deadline, answer=removed)

    def _release(self, one: Binding) -> None:
        leases = self._bindings.claim(one)
        if not leases:
            return  # they have expired
        left = self._bindings.recall(one.network_id, one.key)
        owner = (one.network_id, secrets.token_hex(32), one.link, one.mac, one.client_identity)
        ipv6 = Ipv6.DHCP if Family.IPV6 in leases else Ipv6.OFF
        spec = EndpointSpec(*owner, lease_timeout=0, mark=self._mark, ipv6=ipv6)

        def done(report: object | None) -> None:
            unreleased = report.unreleased if isinstance(report, Deleted) else leases.keys()
            came = self._bindings.recall(one.network_id, one.key) != left
            for family, lease in leases.items():
                if family not in unreleased:
                    text = "lease of %s released: nobody came for it"
                    log.info(text, lease.address.ip, extra={"network": one.network_id})
                elif not came:
                    self._bindings.set_aside(spec, one.key, lease, give_back=True)

        deadline = RELEASE_DEADLINE_SECONDS
        ask(self._process_manager, self._loop, "nd-release", give_back, spec, leases, deadline=deadline, answer=done)
