"""An endpoint's beginning: its link is made and its first lease obtained, or neither is left behind.

Owns both until they are reported, and what a server may have leased by then. Must not know what follows: where Docker
takes the link, and who keeps the lease.
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
    """What an endpoint has from its beginning."""

    link: EndpointLink
    acquired: Acquired


class Creation:
    """Of one endpoint; what comes of it is reported over `channel`, and whatever is said there first ends it."""

    def __init__(self, spec: EndpointSpec, channel: Connection) -> None:
        self._spec = spec
        self._channel = channel
        self._link = link_of(spec)
        self._machine = machine_for(spec)
        self._acquired: Acquired | None = None

    def make(self) -> Made | None:
        """Makes the link and obtains the first lease; None after a failure, when everything is as before."""
        try:
            with Netlink() as netlink:
                self._link.make(netlink)
                routes = () if self._spec.skip_routes else self._link.parent_routes(netlink)
            with PacketSocket(self._spec.container_link) as packet_socket:
                self._acquired = acquired = acquire(self._spec, self._machine, self._channel, packet_socket)
                self._release_others(packet_socket)
                follow_mtu(self._spec.container_link, None, acquired.lease)
                # Before the packet socket is closed, which takes 15 ms.
                unconfirmed = frozenset[Family]() if acquired.confirmed else frozenset({acquired.lease.family})
                self._report(Created((acquired.lease,), routes, unconfirmed))
        except (NetlinkError, NoLease, Cancelled, OSError) as error:
            reason = str(error) or "the endpoint was deleted while it was being made"
            self._report(CreateFailed(reason, self._roll_back()))
            return None
        return Made(self._link, acquired)

    def reclaim(self) -> None:
        """Asks what the server has leased to this MAC, to give it back; the endpoint is gone afterwards.

        The lease that is remembered stays: it goes on waiting for its owner.
        """
        remembered = self._spec.remembered
        try:
            self._channel.recv()  # the Delete that this is for: once more, and it would end the search
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
        """What another server may have granted, whose answer was lost, is not needed."""
        for lease in self._machine.unreleased.values():
            packet_socket.broadcast(release_message(lease, self._spec.mac, self._spec.client_identity))
        self._machine.unreleased.clear()

    def _roll_back(self) -> tuple[Lease, ...]:
        """Gives back what was leased and removes the link; the leases that could not be given back, or are to wait."""
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
        with suppress(OSError):  # the supervisor is gone, as the end of the channel will tell
            self._channel.send(report)
