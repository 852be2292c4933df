"""What is left although no endpoint has it any more: leases that nobody has come for, links that nobody knows."""

import logging
import secrets
from collections.abc import Callable, Collection

from supervisor.children import Nursery
from supervisor.jobs import ask
from supervisor.loop import Loop
from supervisor.memory import Memory
from supervisor.records import Remembered
from workers.messages import Deleted, EndpointSpec
from workers.sweep import Swept, sweep
from workers.tasks import give_back, remove

RELEASE_DEADLINE_SECONDS = 8.0
REMOVE_DEADLINE_SECONDS = 4.0
SWEEP_DEADLINE_SECONDS = 1.5  # less than the first request waits

log = logging.getLogger(__name__)


class Leftovers:
    """Each lease goes out from a process of its own, over a link made for it; what fails is tried again later."""

    def __init__(self, nursery: Nursery, loop: Loop, memory: Memory, mark: int) -> None:
        """`mark` is that of our links (supervisor.statelock), 0 where they have none."""
        self._nursery = nursery
        self._loop = loop
        self._memory = memory
        self._mark = mark

    def sweep(self, owned: Collection[str], done: Callable[[], None]) -> None:
        """Removes our links whose host's end is not `owned`. Nothing may be created before it is done."""

        def swept(report: object | None) -> None:
            for name in report.links if isinstance(report, Swept) else ():
                log.warning("a link that no endpoint has is removed", extra={"interface": name})
            done()

        if not self._mark:
            done()
            return
        deadline = SWEEP_DEADLINE_SECONDS
        ask(self._nursery, self._loop, "nd-sweep", sweep, self._mark, owned, deadline=deadline, answer=swept)

    def give_back_overdue(self) -> None:
        """Those whose time is up; harmless to call often."""
        for waiting in self._memory.overdue():
            self._give_back(waiting)

    def remove_link(self, network_id: str, endpoint_id: str, done: Callable[[], None]) -> None:
        """Of an endpoint that was made when the state was another one, if there is such a link."""
        spec = EndpointSpec(network_id, endpoint_id, bridge="", mac="", lease_timeout=0)
        deadline = REMOVE_DEADLINE_SECONDS
        ask(self._nursery, self._loop, "nd-remove", remove, spec, deadline=deadline, answer=lambda _: done())

    def _give_back(self, one: Remembered) -> None:
        lease = self._memory.claim(one)
        if lease is None:
            return  # it has run out
        idle = self._memory.recall(one.network_id, one.key)
        spec = EndpointSpec(
            one.network_id, secrets.token_hex(32), one.bridge, one.mac, lease_timeout=0, mark=self._mark
        )

        def done(report: object | None) -> None:
            if isinstance(report, Deleted) and not report.owed:
                log.info(
                    "lease of %s released: nobody came for it", lease.address.ip, extra={"network": one.network_id}
                )
            elif self._memory.recall(one.network_id, one.key) == idle:  # else its owner came meanwhile
                self._memory.set_aside(one.network_id, one.key, one.mac, one.bridge, lease, give_back=True)

        deadline = RELEASE_DEADLINE_SECONDS
        ask(self._nursery, self._loop, "nd-release", give_back, spec, lease, deadline=deadline, answer=done)
