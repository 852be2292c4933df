"""What is told about one endpoint: lines in the log, the lease history, the identity's memory."""

import logging
import time
from collections.abc import Iterable

from supervisor.engine.container_files import Identity
from supervisor.state.bindings import Bindings
from supervisor.state.records import Origin
from supervisor.state.store import Store
from supervisor.state.tables import LeaseEvent
from workers.contract.lease import Lease
from workers.contract.messages import EndpointSpec

log = logging.getLogger(__name__)


class Journal:
    """`identity`, `interface` and `begun` (`time.monotonic()` of the present step) go into each line."""

    def __init__(self, spec: EndpointSpec, origin: Origin, store: Store, bindings: Bindings) -> None:
        self.identity: Identity | None = None
        self.interface = spec.container_link
        self.begun = time.monotonic()
        self.origin = origin
        self._spec = spec
        self._store = store
        self._bindings = bindings

    def say(self, text: str, level: int = logging.INFO) -> None:
        """A line in the log."""
        extra = {
            "network": self._spec.network_id,
            "endpoint": self._spec.endpoint_id,
            "container": self.identity.name if self.identity else None,
            "interface": self.interface,
            "ms": round((time.monotonic() - self.begun) * 1000, 1),
        }
        log.log(level, text, extra=extra)

    def note(self, kind: str, text: str, leases: Iterable[Lease], level: int = logging.INFO) -> None:
        """A line in the log, and one in the history for each of the leases, or one without an address."""
        self.say(text, level)
        container = self.identity.name if self.identity else None
        spec = self._spec
        addresses: list[str | None] = [str(lease.address) for lease in leases]
        for address in addresses or [None]:
            self._store.add_event(
                LeaseEvent(time.time(), spec.endpoint_id, spec.network_id, container, kind, address, text)
            )

    def remember(self, lease: Lease) -> None:
        """Whoever this is has this address now."""
        spec = self._spec
        self._bindings.keep(spec.network_id, self.origin.key, spec.mac, spec.link, lease)

    def set_aside(self, lease: Lease) -> None:
        """The endpoint ends and its lease is not given back: it waits for its owner, or for a later try."""
        spec, key = self._spec, self.origin.key or f"endpoint:{self._spec.endpoint_id}"
        give_back = not self.origin.keep_lease
        self._bindings.set_aside(spec.network_id, key, spec.mac, spec.link, lease, give_back=give_back)
