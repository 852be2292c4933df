"""Asks whether a DHCP server answers on a network's parent, for `docker network create`.

Leaves neither a lease nor a link behind. Must not know what follows from the report.
"""

from dataclasses import dataclass
from multiprocessing.connection import Connection

from workers.contract.errors import NoLease
from workers.contract.lease import Family
from workers.contract.messages import EndpointSpec
from workers.dhcp4 import first_lease as dhcp4
from workers.dhcp4.packet_socket import PacketSocket
from workers.dhcp6 import first_lease as dhcp6
from workers.dhcp6.packet_socket import PacketSocket6
from workers.link.kind import discard, link_of, on_the_wire
from workers.netlink.operations import Netlink, NetlinkError


@dataclass(frozen=True, slots=True)
class ServerReport:
    """The result: `error` says what was awaited and seen if no server has offered a lease."""

    error: str | None


def probe_server(spec: EndpointSpec, channel: Connection) -> None:
    """Asks as a container of this spec would, over a link made for that; sends a `ServerReport`."""
    spec = on_the_wire(spec)
    link, error = link_of(spec), None
    try:
        with Netlink() as netlink:
            link.make(netlink)
        if Family.IPV4 in spec.families:  # a container starts with one address
            with PacketSocket(spec.container_link) as packet_socket:
                dhcp4.find_server(spec, packet_socket)
        else:
            with PacketSocket6(spec.container_link, spec.mac) as packet_socket6:
                dhcp6.find_server(spec, packet_socket6)
    except (NetlinkError, NoLease, OSError) as failure:
        error = str(failure)
    discard(spec, link)
    channel.send(ServerReport(error))
