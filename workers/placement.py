"""A lease on its link in the sandbox: put there, replaced, taken off. Each change is a line in the log."""

import logging
from collections.abc import Iterable
from ipaddress import IPv4Address

from workers.configure import configure, unconfigure
from workers.lease import DEFAULT_DESTINATION, Lease, Route
from workers.mtu import follow_mtu
from workers.routes import wanted_routes

log = logging.getLogger(__name__)


class Placement:
    """`joined` is the gateway that Docker was told at Join, `mtu_limit` the bridge's MTU."""

    def __init__(self, *, skip_routes: bool) -> None:
        self.joined: IPv4Address | None = None
        self.mtu_limit: int | None = None
        self._skip_routes = skip_routes
        self._dropped = False

    def comes_with_join(self, lease: Lease) -> bool:
        """Whether Docker brings all of it onto the link: beside the address that is the gateway that it was told."""
        routes = wanted_routes(lease, skip_routes=self._skip_routes)
        return all(route == Route(DEFAULT_DESTINATION, self.joined) for route in routes)

    def put(self, interface: str, previous: Lease, lease: Lease) -> None:
        """In place of `previous`, unless that was dropped. Raises NetlinkError."""
        there = None if self._dropped else previous
        changes = configure(interface, there, lease, skip_routes=self._skip_routes, joined=self.joined)
        self._dropped = False
        _tell(interface, (*changes, *follow_mtu(interface, previous, lease, self.mtu_limit)))

    def drop(self, interface: str, lease: Lease) -> None:
        """Its address and its routes. Raises NetlinkError."""
        changes = unconfigure(interface, lease, skip_routes=self._skip_routes)
        self._dropped = True
        _tell(interface, changes)


def _tell(interface: str, changes: Iterable[str]) -> None:
    for change in changes:
        log.info(change, extra={"interface": interface})
