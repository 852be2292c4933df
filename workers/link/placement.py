"""Applies leases to the link in the sandbox, replaces them, and removes them.

Logs each change, and reports a refusal of the kernel.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from ipaddress import IPv4Address

from workers.contract.lease import NO_LEASE, Lease, Route
from workers.contract.messages import EndpointSpec, LeaseTrouble, Report, Trouble
from workers.link.configure import add_routes, configure, is_applied, unconfigure
from workers.link.mtu import fit_mtu, follow_mtu
from workers.netlink.operations import Netlink, NetlinkError

log = logging.getLogger(__name__)


@dataclass(eq=False)
class Placement:
    """`joined` is the gateway in our answer to Join, `mtu_limit` the MTU of the link's parent."""

    joined: IPv4Address | None = None
    mtu_limit: int | None = None
    _put: Lease | None = None

    def bind(self, spec: EndpointSpec, report: Callable[[Report], None]) -> None:
        """Where a refusal of the kernel is reported."""
        self._spec = spec
        self._report = report

    def holds(self, lease: Lease) -> bool:
        """Whether the link is as `put` left it for the same lease, at whatever time that was obtained."""
        return self._put is not None and self._put == lease.renewed(self._put.obtained)

    def touched(self) -> None:
        """The link has changed since, so the next `put` compares it with the lease."""
        self._put = None

    def put(self, interface: str, previous: Lease | None, lease: Lease) -> bool:
        """Applies `lease` in place of `previous`, if it is not applied already; False if the kernel refused."""
        if self.holds(lease):
            return True
        granted = lease
        previous, lease = previous and self._spec.applied(previous), self._spec.applied(lease)
        try:
            changes = configure(interface, previous, lease, skip_routes=self._spec.skip_routes, joined=self.joined)
        except NetlinkError as error:
            self._report(LeaseTrouble(Trouble.INVALID, f"the lease could not be applied: {error}", lease.family))
            return False
        tell(interface, *changes, *follow_mtu(interface, previous, lease, self.mtu_limit))
        self._put = granted
        return True

    def put_anew(self, interface: str, lease: Lease, routes: Iterable[Route]) -> None:
        """Applies the lease, and then the other routes, to a new link in place of the one that had both."""
        self.touched()
        if self.put(interface, None, lease):
            try:
                tell(interface, *add_routes(interface, routes))
            except NetlinkError as error:
                tell(interface, str(error))

    def limit_mtu(self, interface: str, mtu: int) -> None:
        """The MTU of the link's parent is another one, and the link's is not larger."""
        self.mtu_limit = mtu
        tell(interface, *fit_mtu(interface, mtu))

    def drop(self, interface: str, lease: Lease) -> None:
        """Removes the lease's address and its routes."""
        self.touched()
        try:
            changes = unconfigure(interface, self._spec.applied(lease), skip_routes=self._spec.skip_routes)
        except NetlinkError as error:
            self._report(LeaseTrouble(Trouble.INVALID, f"the address could not be removed: {error}", lease.family))
            return
        tell(interface, *changes)

    def has(self, interface: str, lease: Lease) -> bool:
        """Whether the lease's address is on the link; it is if the kernel does not tell."""
        try:
            return is_applied(interface, lease)
        except NetlinkError:
            return True


def on_link(interface: str, guess: Lease) -> Lease:
    """The lease of the address that is on the link: the engine tells of the container's first one.

    Raises NetlinkError.
    """
    with Netlink() as netlink:
        there = netlink.addresses(netlink.require_link(interface).index)
    if not there or guess.address in there:
        return guess if there else NO_LEASE
    return replace(guess, address=there[0])


def tell(interface: str, *changes: str) -> None:
    """Logs the changes of this link."""
    for change in changes:
        log.info(change, extra={"interface": interface})
