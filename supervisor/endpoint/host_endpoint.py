"""The endpoint of the host itself on one network: the driver makes it, and no container is behind it.

It is an endpoint as any other to its worker, to the state on disk and to operators, with the network's id as its own.
Its sandbox is the host's network namespace, to which the way is always open.
"""

import logging
from collections.abc import Set
from ipaddress import IPv4Address

from supervisor.domain.phases import Phase
from supervisor.endpoint.endpoint import Endpoint
from workers.contract import messages as w

HERE = "/proc/self/ns/net"  # as the worker opens it


class HostEndpoint(Endpoint):
    """Lives from the network's creation to its removal."""

    _reached: Set[IPv4Address] | None = None  # as the present worker was told

    @property
    def name(self) -> str:
        return "the host"

    @property
    def hostname(self) -> str | None:
        return self.spec.client_identity.hostname

    @property
    def interface(self) -> str | None:
        """It keeps its first name."""
        return self.spec.container_link if self.has_sandbox else None

    def attach(self) -> None:
        """Puts the lease on the link, which stays where it is."""
        self.join(HERE, lambda _: None)

    def reach(self, addresses: Set[IPv4Address]) -> None:
        """The host's routes lead to these containers from now on."""
        if self.phase is Phase.JOINED and addresses != self._reached:
            self._reached = addresses
            self.worker.send(w.Reach(frozenset(addresses)))

    def engine_changed(self) -> None:
        """The engine does not know it."""

    def _on_attached(self, interface: str) -> None:
        self._reached = None
        super()._on_attached(interface)

    def _attach(self) -> None:
        self.worker.attach(w.Attach(HERE, None, None, arrived=True))

    def _on_sandbox_gone(self, report: w.SandboxGone) -> None:
        """The link has gone: with a boot, with its parent, or by a user's hand. The next one gets the lease."""
        if self.has_sandbox:
            self.journal.say("the host's interface has gone and is made again", logging.WARNING)
            self._set_leases_aside()
            self.delete()
