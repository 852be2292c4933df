"""Releases a lease from the host's side, if its container never got it, or is gone."""

import logging

from workers.contract.errors import ReleaseError
from workers.contract.lease import AnyLease, Lease, Lease6
from workers.contract.messages import EndpointSpec
from workers.dhcp4.release import release_detached
from workers.dhcp6.release import release as release6
from workers.link.endpoint_link import EndpointLink
from workers.netlink.operations import Netlink, NetlinkError

log = logging.getLogger(__name__)


def release_from_host(spec: EndpointSpec, link: EndpointLink, lease: AnyLease) -> bool:
    """Releases `lease` over the endpoint's link; True if the DHCPRELEASE has left. Never raises: it logs the reason.

    If the link is gone together with its sandbox, it makes the link again, because the message needs one. So it does if
    the link is down and the message goes out on the host: to raise it as it is could let the host use IPv6 on it.
    """
    try:
        with Netlink() as netlink:
            found = netlink.link(spec.container_link)
            if found is None or not (found.up or isinstance(lease, Lease)):
                link.remove(netlink)
                link.make(netlink)
        if isinstance(lease, Lease):
            release_detached(spec.container_link, lease, spec.mac, spec.client_identity)
        elif isinstance(lease, Lease6) and not lease.slaac:
            release6(spec.container_link, spec.mac, lease, spec.client_identity)
    except (NetlinkError, ReleaseError, OSError) as error:
        log.warning("lease of %s not released: %s", spec.container_link, error)
        return False
    return True
