"""An endpoint's beginning: makes the link and obtains the first leases, or leaves neither behind.

Owns both until they are reported, and all leases that a server may have granted by then. Must not know what follows:
where Docker moves the link, and which client keeps a lease.
"""

import logging
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import NamedTuple

from workers.contract.errors import Failing, NoLease
from workers.contract.exchange import taken
from workers.contract.lease import AnyLease, Family, Lease
from workers.contract.messages import Created, CreateFailed, Deleted, EndpointSpec, Report
from workers.dhcp4 import first_lease as dhcp4
from workers.dhcp4.machine import Machine
from workers.dhcp4.packet_socket import PacketSocket
from workers.dhcp6 import first_lease as dhcp6
from workers.dhcp6.machine import Machine as Machine6
from workers.dhcp6.packet_socket import PacketSocket6
from workers.endpoint.acquisition import Acquired, Cancelled, Exchange, acquire
from workers.endpoint.host_release import release_from_host
from workers.link.endpoint_link import EndpointLink
from workers.link.kind import discard, link_of, make_hearing
from workers.link.mtu import follow_mtu
from workers.netlink.operations import Netlink, NetlinkError
from workers.system.clock import boottime

log = logging.getLogger(__name__)


class Made(NamedTuple):
    """The results of a creation."""

    link: EndpointLink
    acquired: Mapping[Family, Acquired]


class Creation:
    """The creation of one endpoint. It reports over `channel`, and any command there ends it."""

    def __init__(self, spec: EndpointSpec, channel: Connection) -> None:
        self._spec = spec
        self._channel = channel
        self._link = link_of(spec)
        self._machines = _machines(spec)

    def make(self) -> Made | None:
        """Makes the link and obtains the first leases; None after a failure, which leaves everything as before."""
        try:
            with Netlink() as netlink:
                make_hearing(netlink, self._spec, self._link)
                routes = () if self._spec.skip_routes else self._link.parent_routes(netlink)
            with ExitStack() as sockets:
                exchanges = self._exchanges(self._spec, sockets)
                acquired = acquire(self._spec, exchanges, self._channel)
                for exchange in exchanges.values():
                    exchange.release_others()
                leases = tuple(one.lease for one in acquired.values())
                for lease in leases:
                    if isinstance(lease, Lease):
                        follow_mtu(self._spec.container_link, None, self._spec.applied(lease))
                # Reported before the packet sockets are closed, which takes 15 ms.
                unconfirmed = frozenset(family for family, one in acquired.items() if not one.confirmed)
                self._report(Created(leases, routes, unconfirmed, taken()))
                if self._link.moves_sooner_down:
                    self._lower(acquired)
        except (NetlinkError, NoLease, Cancelled, OSError) as error:
            self._report(CreateFailed(self._reason(error), self._roll_back(), _kind(error)))
            return None
        return Made(self._link, acquired)

    def _lower(self, acquired: Mapping[Family, Acquired]) -> None:
        """Takes the link down while the engine reads the answer and prepares the sandbox; its move waits less then."""
        for one in acquired.values():
            one.probe.interrupt()
        with suppress(NetlinkError), Netlink() as netlink:  # the engine has moved it, or it has been removed
            netlink.lower_link(self._spec.container_link)

    def _reason(self, error: Exception) -> str:
        """The error that a user reads."""
        if isinstance(error, OSError):
            return f"{self._spec.container_link} cannot be used any more: {error.strerror}; was it removed?"
        return str(error) or "the endpoint was deleted while it was being made"

    def _exchanges(self, spec: EndpointSpec, sockets: ExitStack) -> dict[Family, Exchange]:
        """A way to a lease for each family, on a packet socket of its own."""
        exchanges: dict[Family, Exchange] = {}
        for family, machine in self._machines.items():
            if isinstance(machine, Machine6):
                socket6 = sockets.enter_context(PacketSocket6(spec.container_link, spec.mac))
                exchanges[family] = dhcp6.Exchange6(spec, machine, socket6, spec.container_link, boottime())
            else:
                packet_socket = sockets.enter_context(PacketSocket(spec.container_link))
                exchanges[family] = dhcp4.Exchange4(spec, machine, packet_socket)
        return exchanges

    def reclaim(self) -> None:
        """Asks which leases servers have granted to this client, and releases them; the endpoint is gone afterwards.

        Remembered leases stay: they go on waiting for their owner.
        """
        remembered = {family: machine.remembered for family, machine in self._machines.items()}
        try:
            self._channel.recv()  # the Delete that this serves: in the channel it would end the search
            with Netlink() as netlink:
                self._link.remove(netlink)
                make_hearing(netlink, self._spec, self._link)
            with ExitStack() as sockets:
                anew = replace(self._spec, remembered=None, requested=None, remembered6=None, requested6=None)
                self._machines = _machines(anew)
                acquire(anew, self._exchanges(anew, sockets), self._channel)
        except (NetlinkError, NoLease, Cancelled, OSError, EOFError) as error:
            log.debug("%s has no lease that could be given back: %s", self._spec.mac, error)
        for family, machine in self._machines.items():
            machine.remembered = remembered[family]
        waiting = self._roll_back()
        if set(waiting) <= set(self._spec.all_remembered):
            self._report(Deleted())
        else:
            self._report(CreateFailed("a lease of the worker that died could not be given back", waiting))

    def _roll_back(self) -> tuple[AnyLease, ...]:
        """Releases all leases and removes the link. Returns the leases that it could not release, or that wait."""
        waiting: list[AnyLease] = []
        for machine in self._machines.values():
            leases: list[AnyLease] = list(machine.unreleased)
            if machine.granted is not None:
                leases.append(machine.granted)
            if machine.remembered is not None:
                leases = [lease for lease in leases if lease.address.ip != machine.remembered.address.ip]
                waiting.append(machine.remembered)
            waiting += [lease for lease in leases if not release_from_host(self._spec, self._link, lease)]
        discard(self._spec, self._link)
        return tuple(waiting)

    def _report(self, report: Report) -> None:
        with suppress(OSError):  # the supervisor is gone; the end of the channel tells that, too
            self._channel.send(report)


def _kind(error: Exception) -> Failing:
    """For those who count failures."""
    if isinstance(error, NoLease):
        return error.kind
    return Failing.CANCELLED if isinstance(error, Cancelled) else Failing.LINK


def _machines(spec: EndpointSpec) -> dict[Family, Machine | Machine6]:
    """The client of each family."""
    return {
        family: dhcp4.machine_for(spec) if family is Family.IPV4 else dhcp6.machine_for(spec, boottime())
        for family in spec.families
    }
