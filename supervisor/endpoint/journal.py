"""Writes about one endpoint: lines in the log, the history of leases, the binding of its MAC and address."""

import logging
import time
from collections.abc import Iterable

from supervisor.contract.messages import EventView
from supervisor.engine.container_files import Identity
from supervisor.state import holdings
from supervisor.state.bindings import Bindings
from supervisor.state.records import Origin
from supervisor.state.store import Store
from supervisor.state.tables import holding_of
from workers.contract.lease import AnyLease, Family
from workers.contract.messages import EndpointSpec
from workers.system.clock import boottime

BURST, SECONDS_EACH = 30, 5.0  # of what servers and neighbours cause: so much at once, then one in so many seconds

log = logging.getLogger(__name__)


class Journal:
    """`identity`, `interface` and `begun` (`time.monotonic()` of the engine's latest request) go into each line."""

    def __init__(self, spec: EndpointSpec, store: Store, bindings: Bindings, identity: Identity | None) -> None:
        self.identity = identity
        self.interface = spec.container_link
        self.begun = time.monotonic()
        self._spec = spec
        self._store = store
        self._bindings = bindings
        self._room = float(BURST)
        self._room_at = time.monotonic()
        self._untold = 0

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

    def note(self, kind: str, text: str, leases: Iterable[AnyLease], level: int = logging.INFO) -> None:
        """A line in the log, and one in the history for each lease; without a lease, one without an address."""
        self.say(text, level)
        spec = self._spec
        container = self.identity.name if self.identity else None
        addresses: list[str | None] = [str(lease.address) for lease in leases]
        for address in addresses or [None]:
            self._store.add_event(
                EventView(0, time.time(), spec.endpoint_id, spec.network_id, None, container, kind, address, text)
            )

    def note_of_lan(self, kind: str, text: str, leases: Iterable[AnyLease], level: int = logging.INFO) -> None:
        """As `note`, for an event that any machine of the LAN can cause: what exceeds its room is only counted."""
        now = time.monotonic()
        self._room, self._room_at = min(BURST, self._room + (now - self._room_at) / SECONDS_EACH), now
        if self._room < 1:
            self._untold += 1
            return
        self._room -= 1
        if self._untold:
            text += f" ({self._untold} events before it are not told, as there were too many)"
            self._untold = 0
        self.note(kind, text, leases, level)

    def first_lease(self, lease: AnyLease, origin: Origin, *, confirmed: bool) -> None:
        """The endpoint was created with this lease: `confirmed` by a server, or else a remembered one."""
        self.remember(lease, origin)
        self.holds(lease)
        if confirmed:
            self.note("bound", f"first lease {lease.address} from {lease.source}", [lease])
        elif lease.runs(boottime()):
            text = f"no server answers; starting on {lease.address}, whose lease still runs"
            self.note("unconfirmed", text, [lease])
        else:
            text = f"no server answers; starting on {lease.address}, the last address, whose lease has run out"
            self.note("unconfirmed", text, [lease], logging.WARNING)
        spec = self._spec
        requested = spec.requested if lease.address.version == 4 else spec.requested6
        if requested not in (None, lease.address.ip):
            self.say(f"asked for {requested}, the server gave {lease.address.ip}", logging.WARNING)

    def lease(self, lease: AnyLease, origin: Origin, previous: AnyLease | None, trouble: str | None) -> None:
        """A server has confirmed or changed the lease, which ends the trouble."""
        self.remember(lease, origin)
        if previous is None or previous.address != lease.address or trouble:
            self.holds(lease)
        if previous is None:
            text = f"first lease {lease.address} from {lease.source}, after the start; docker inspect does not show it"
            self.note("bound", text, [lease], logging.WARNING)
        elif previous.address != lease.address:
            text = (
                f"address changed from {previous.address} to {lease.address}; "
                "docker inspect shows the first one for the container's life"
            )
            self.note_of_lan("changed", text, [lease], logging.WARNING)
        else:
            text = f"lease of {lease.address} confirmed by {lease.source} for {lease.duration} s"
            text += f"; this ends the trouble: {trouble}" if trouble else ""
            self.note_of_lan("recovered" if trouble else "renewed", text, [lease])

    def remember(self, lease: AnyLease, origin: Origin) -> None:
        """Binds the endpoint's MAC and this address to its container, or to the key that the user chose."""
        self._bindings.keep(self._spec, origin.key, lease)

    def holds(self, lease: AnyLease) -> None:
        """The endpoint has this address from now on, unless the history says so already."""
        self._store.do(*holdings.begin(holding_of(self._spec, self.identity, lease, time.time())))

    def holds_no_more(self, reason: str, family: Family | None = None) -> None:
        """The endpoint has no address of the family any more, or none at all."""
        self._store.do(holdings.end(self._spec.endpoint_id, reason, family))

    def released_on_request(self, leases: Iterable[AnyLease], text: str) -> None:
        """The endpoint releases these leases while its container runs, and asks for new ones."""
        leases = list(leases)
        with self._store.together():
            self.note("released", text, leases)
            for lease in leases:
                self.holds_no_more("released", lease.family)

    def pinned(self, leases: Iterable[AnyLease], key: str) -> None:
        """Binds the endpoint's MAC and these addresses to this key as well."""
        with self._store.together():
            for lease in leases:
                self._bindings.keep(self._spec, key, lease)
            self.say(f"its identity is kept as {key}")

    def belongs_to(self, identity: Identity) -> None:
        """It has become known which container the endpoint is of."""
        self.identity = identity
        with self._store.soon():
            self._store.do(holdings.name(self._spec.endpoint_id, identity.id, identity.name))

    def given_back(self, leases: Iterable[AnyLease], origin: Origin) -> None:
        """The endpoint has released these leases."""
        self._bindings.given_back(self._spec.network_id, origin.key, leases)

    def set_aside(self, lease: AnyLease, origin: Origin) -> None:
        """The endpoint ends without releasing its lease, which waits for its container or for a later release."""
        spec = self._spec
        key, give_back = origin.key, not origin.keep_lease
        binding = self._bindings.recall(spec.network_id, key)
        waiting = None if binding is None else binding.leases.get(lease.family)
        if key is None or (waiting is not None and waiting.address.ip != lease.address.ip):  # one a family
            key, give_back = f"endpoint:{spec.endpoint_id}:{lease.address.ip}", True
        self._bindings.set_aside(spec, key, lease, give_back=give_back)
