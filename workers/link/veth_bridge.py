"""A link of the kind "veth pair on a bridge": made, and removed.

Must not know what the link is for.
"""

import logging

from workers.contract.messages import EndpointSpec
from workers.netlink.operations import Link, Netlink, NetlinkError

log = logging.getLogger(__name__)


class VethPair:
    """One endpoint's; it need not exist."""

    def __init__(self, spec: EndpointSpec) -> None:
        self._spec = spec

    def make(self, netlink: Netlink) -> Link:
        """Gives the host's end. Raises NetlinkError, with nothing left behind."""
        spec = self._spec
        return netlink.create_pair(
            host_link=spec.host_link,
            container_link=spec.container_link,
            mac=spec.mac,
            bridge=spec.bridge,
            group=spec.mark,
        )

    def remove(self) -> None:
        """Never fails, as above."""
        try:
            with Netlink() as netlink:
                netlink.delete_link(self._spec.host_link)
        except (NetlinkError, OSError) as error:
            log.warning("%s not removed: %s", self._spec.host_link, error)
