"""Asks whether a DHCP server answers on a network's parent, for `docker network create` and for operators.

Leaves neither a lease nor a link behind. Must not know what follows from the report.
"""

from multiprocessing.connection import Connection

from msgspec import Struct

from workers.contract.errors import NoLease
from workers.contract.lease import Family
from workers.contract.messages import EndpointSpec
from workers.dhcp4 import first_lease as dhcp4
from workers.dhcp4.packet_socket import PacketSocket
from workers.dhcp6 import first_lease as dhcp6
from workers.dhcp6.packet_socket import PacketSocket6
from workers.link.kind import discard, link_of, make_hearing, on_the_wire
from workers.netlink.operations import Netlink, NetlinkError


class ServerReport(Struct, frozen=True):
    """The result: the server that has answered first, or what was awaited and seen if none did.

    `server` is an address, or with DHCPv6 a DUID.
    """

    error: str | None
    family: Family = Family.IPV4
    server: str | None = None


def probe_server(spec: EndpointSpec, channel: Connection) -> None:
    """Asks as a container of this spec would, over a link made for that; sends a `ServerReport`."""
    spec = on_the_wire(spec)
    link, server, error = link_of(spec), None, None
    family = Family.IPV4 if Family.IPV4 in spec.families else Family.IPV6  # a container starts with one address
    try:
        with Netlink() as netlink:
            make_hearing(netlink, spec, link)
        if family is Family.IPV4:
            with PacketSocket(spec.container_link) as packet_socket:
                server = dhcp4.find_server(spec, packet_socket)
        else:
            with PacketSocket6(spec.container_link, spec.mac) as packet_socket6:
                server = dhcp6.find_server(spec, packet_socket6)
    except (NetlinkError, NoLease, OSError) as failure:
        error = str(failure)
    discard(spec, link)
    channel.send(ServerReport(error, family, server))
