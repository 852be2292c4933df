"""Asks whether a DHCP server answers on a network's parent, for `docker network create`.

Leaves neither a lease nor a link behind. Must not know what follows from the report.
"""

from dataclasses import dataclass
from multiprocessing.connection import Connection

from workers.contract.errors import NoLease
from workers.contract.messages import EndpointSpec
from workers.dhcp4.first_lease import find_server
from workers.dhcp4.packet_socket import PacketSocket
from workers.link.kind import discard, link_of
from workers.netlink.operations import Netlink, NetlinkError


@dataclass(frozen=True, slots=True)
class ServerReport:
    """The result: `error` says what was awaited and seen if no server has offered a lease."""

    error: str | None


def probe_server(spec: EndpointSpec, channel: Connection) -> None:
    """Asks as a container of this spec would, over a link made for that; sends a `ServerReport`."""
    link, error = link_of(spec), None
    try:
        with Netlink() as netlink:
            link.make(netlink)
        with PacketSocket(spec.container_link) as packet_socket:
            find_server(spec, packet_socket)
    except (NetlinkError, NoLease, OSError) as failure:
        error = str(failure)
    discard(spec, link)
    channel.send(ServerReport(error))
