"""An endpoint's beginning: makes the link and obtains the first lease, or leaves neither behind.

Owns both until they are reported, and all leases that a server may have granted by then. Must not know what follows:
where Docker moves the link, and which client keeps the lease.
"""

import logging
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import NamedTuple

from workers.contract.lease import Family, Lease
from workers.contract.messages import Created, CreateFailed, Deleted, EndpointSpec, Report
from workers.dhcp4.first_lease import Acquired, Cancelled, NoLease, acquire, machine_for
from workers.dhcp4.packet_socket import PacketSocket
from workers.dhcp4.release import release_message
from workers.endpoint.host_release import release_from_host
from workers.link.kind import EndpointLink, discard, link_of
from workers.link.mtu import follow_mtu
from workers.netlink.operations import Netlink, NetlinkError

log = logging.getLogger(__name__)


class Made(NamedTuple):
    """The results of a creation."""

    link: EndpointLink
    acquired: Acquired


class Creation:
    """The creation of one endpoint. It reports over `channel`, and any command there ends it."""

    def __init__(self, spec: EndpointSpec, channel: Connection) -> None:
        self._spec = spec
        self._channel = channel
        self._link = link_of(spec)
        self._machine = machine_for(spec)
        self._acquired: Acquired | None = None

    def make(self) -> Made | None:
        """Makes the link and obtains the first lease; None after a failure, which leaves everything as before."""
        try:
            with Netlink() as netlink:
                self._link.make(netlink)
                routes = () if self._spec.skip_routes else self._link.parent_routes(netlink)
            with PacketSocket(self._spec.container_link) as packet_socket:
                self._acquired = acquired = acquire(self._spec, self._machine, self._channel, packet_socket)
                self._release_others(packet_socket)
                follow_mtu(self._spec.container_link, None, acquired.lease)
                # Reported before the packet socket is closed, which takes 15 ms.
                unconfirmed = frozenset[Family]() if acquired.confirmed else frozenset({acquired.lease.family})
                self._report(Created((acquired.lease,), routes, unconfirmed))
        except (NetlinkError, NoLease, Cancelled, OSError) as error:
            reason = str(error) or "the endpoint was deleted while it was being made"
            self._report(CreateFailed(reason, self._roll_back()))
            return None
        return Made(self._link, acquired)

    def reclaim(self) -> None:
        """Asks which lease the server has granted to this MAC, and releases it; the endpoint is gone afterwards.

        A remembered lease stays: it goes on waiting for its owner.
        """
        remembered = self._spec.remembered
        try:
            self._channel.recv()  # the Delete that this serves: in the channel it would end the search
            with Netlink() as netlink:
                self._link.remove(netlink)
                self._link.make(netlink)
            with PacketSocket(self._spec.container_link) as packet_socket:
                anew = replace(self._spec, remembered=None, requested=None)
                self._machine = machine_for(anew)
                self._acquired = acquire(anew, self._machine, self._channel, packet_socket)
        except (NetlinkError, NoLease, Cancelled, OSError, EOFError) as error:
            log.debug("%s has no lease that could be given back: %s", self._spec.mac, error)
        self._machine.remembered = remembered
        waiting = self._roll_back()
        if waiting in ((), (remembered,)):
            self._report(Deleted())
        else:
            self._report(CreateFailed("a lease of the worker that died could not be given back", waiting))

    def _release_others(self, packet_socket: PacketSocket) -> None:
        """Releases the leases that other servers may have granted although their answers were lost."""
        for lease in self._machine.unreleased.values():
            packet_socket.broadcast(release_message(lease, self._spec.mac, self._spec.client_identity))
        self._machine.unreleased.clear()

    def _roll_back(self) -> tuple[Lease, ...]:
        """Releases all leases and removes the link. Returns the leases that it could not release, or that wait."""
        remembered = self._machine.remembered
        leases = list(self._machine.unreleased.values())
        if self._acquired is not None and self._acquired.confirmed:
            leases.append(self._acquired.lease)
        if remembered is not None:
            leases = [lease for lease in leases if lease.address.ip != remembered.address.ip]
        kept = tuple(lease for lease in leases if not release_from_host(self._spec, self._link, lease))
        discard(self._spec, self._link)
        return kept if remembered is None else (remembered, *kept)

    def _report(self, report: Report) -> None:
        with suppress(OSError):  # the supervisor is gone; the end of the channel tells that, too
            self._channel.send(report)
