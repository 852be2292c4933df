"""An endpoint's beginning: its link is made and its first lease obtained, or neither is left behind.

Owns both until they are reported, and what a server may have leased by then. Must not know what follows: where Docker
takes the link, and who keeps the lease.
"""

import logging
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import NamedTuple

from workers.contract.lease import Family, Lease
from workers.contract.messages import Created, CreateFailed, Deleted, EndpointSpec, Report
from workers.dhcp4.acquire import Acquired, Cancelled, acquire
from workers.dhcp4.packet_socket import PacketSocket
from workers.dhcp4.tally import NoLease
from workers.endpoint.host_release import release_from_host
from workers.link.kind import EndpointLink, discard, link_of
from workers.link.mtu import follow_mtu
from workers.netlink.operations import Netlink, NetlinkError

log = logging.getLogger(__name__)


class Made(NamedTuple):
    """What an endpoint has from its beginning."""

    link: EndpointLink
    acquired: Acquired


class Creation:
    """Of one endpoint; what comes of it is reported over `channel`, and whatever is said there first ends it."""

    def __init__(self, spec: EndpointSpec, channel: Connection) -> None:
        self._spec = spec
        self._channel = channel
        self._link = link_of(spec)
        self._unreleased: Lease | None = None

    def make(self) -> Made | None:
        """Makes the link and obtains the first lease; None after a failure, when everything is as before."""
        try:
            with Netlink() as netlink:
                self._link.make(netlink)
                routes = () if self._spec.skip_routes else self._link.parent_routes(netlink)
            with PacketSocket(self._spec.container_link) as packet_socket:
                acquired = acquire(self._spec, self._channel, packet_socket, self._note_unreleased)
                self._note_unreleased(acquired.lease)
                follow_mtu(self._spec.container_link, None, acquired.lease)
                # Before the wire is closed, which takes 15 ms.
                unconfirmed = frozenset[Family]() if acquired.confirmed else frozenset({acquired.lease.family})
                self._report(Created((acquired.lease,), routes, unconfirmed))
        except (NetlinkError, NoLease, Cancelled, OSError) as error:
            self._roll_back()
            reason = str(error) or "the endpoint was deleted while it was being made"
            self._report(CreateFailed(reason, self._unreleased_leases))
            return None
        return Made(self._link, acquired)

    def reclaim(self) -> None:
        """What the server has for this MAC is asked for, to be given back; the endpoint is gone afterwards."""
        try:
            self._channel.recv()  # the Delete that this is for: once more, and it would end the search
            with Netlink() as netlink:
                self._link.remove(netlink)
                if self._spec.remembered is None:
                    self._link.make(netlink)
            if self._spec.remembered is None:
                with PacketSocket(self._spec.container_link) as packet_socket:
                    acquire(self._spec, self._channel, packet_socket, self._note_unreleased)
        except (NetlinkError, NoLease, Cancelled, OSError, EOFError) as error:
            log.debug("%s has no lease that could be given back: %s", self._spec.mac, error)
        self._roll_back()
        self._report(Deleted(frozenset(lease.family for lease in self._unreleased_leases)))

    @property
    def _unreleased_leases(self) -> tuple[Lease, ...]:
        return () if self._unreleased is None else (self._unreleased,)

    def _note_unreleased(self, lease: Lease | None) -> None:
        self._unreleased = lease

    def _roll_back(self) -> None:
        """The lease is given back, the link removed."""
        if self._unreleased is not None and release_from_host(self._spec, self._link, self._unreleased):
            self._unreleased = None
        discard(self._spec, self._link)

    def _report(self, report: Report) -> None:
        with suppress(OSError):  # the supervisor is gone, as the end of the channel will tell
            self._channel.send(report)
