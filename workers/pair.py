"""An endpoint's veth pair while its container's end is in the host's namespace: made, released over, removed.

Must not know what the endpoint is at.
"""

import logging

from workers.lease import Lease
from workers.messages import EndpointSpec
from workers.netlink import Link, Netlink, NetlinkError
from workers.release import ReleaseError, release_detached

log = logging.getLogger(__name__)


class Pair:
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

    def release(self, lease: Lease) -> bool:
        """Gives a lease back over it; whether that has worked. Never fails: what cannot be undone is logged.

        A pair that is gone, with its sandbox, is made again: without one there is no way to tell the server.
        """
        try:
            with Netlink() as netlink:
                if netlink.link(self._spec.container_link) is None:
                    netlink.delete_link(self._spec.host_link)
                    self.make(netlink)
            release_detached(self._spec.container_link, lease, self._spec.mac)
        except (NetlinkError, ReleaseError, OSError) as error:
            log.warning("lease of %s not released: %s", self._spec.host_link, error)
            return False
        return True

    def remove(self) -> None:
        """Never fails, as above."""
        try:
            with Netlink() as netlink:
                netlink.delete_link(self._spec.host_link)
        except (NetlinkError, OSError) as error:
            log.warning("%s not removed: %s", self._spec.host_link, error)
