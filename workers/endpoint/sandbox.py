"""The container's network namespace: finds the endpoint's link on its way there, enters the namespace, leaves it.

Owns the namespace of this process, and the kernel's notifications there. Must not know the link's purpose, nor what
follows when it comes or goes.
"""

import logging
import socket
from ipaddress import IPv4Address

from workers.link.endpoint_link import EndpointLink
from workers.netlink.changes import change_feed, change_feed_of, drain, is_here
from workers.netlink.operations import Link, Netlink
from workers.system import namespaces as netns

log = logging.getLogger(__name__)


class Sandbox:
    """The sandbox of one endpoint; `inside`: this process is in it. It begins in the host's namespace, its home."""

    def __init__(self, container_link: str, link: EndpointLink) -> None:
        """`container_link` is the link's name at home. Raises OSError."""
        self.inside = False
        self._container_link = container_link
        self._link = link
        self._home = netns.current()
        self._feed: socket.socket | None = None

    def sources(self) -> list[int]:
        """The descriptors that are readable when something has changed in the present namespace, if we watch it."""
        return [] if self._feed is None else [self._feed.fileno()]

    def watch(self) -> None:
        """Watches the present namespace from now on. Raises OSError."""
        if self._feed is not None:
            self._feed.close()
        self._feed = change_feed()

    def drain(self) -> bool:
        """Reads the kernel's notifications; True if there were any."""
        return self._feed is not None and drain(self._feed)

    def has_link_at_home(self) -> bool:
        """Whether the link is still at home. As a rule it is: each start causes dozens of notifications."""
        return is_here(self._container_link)

    def enter(self, path: str) -> bool:
        """Enters the namespace of the link, and watches there; False if there is no way. Raises NetlinkError."""
        with Netlink() as netlink:
            self._link.recognise(netlink)
        try:
            there = netns.open_namespace(path)
            try:
                there.enter()  # a namespace that has gone leaves an empty file
            finally:
                there.close()
        except OSError as error:
            log.debug("the link has gone, its sandbox cannot be entered: %s", error)
            return False
        self.inside = True
        self.watch()
        return True

    def is_abandoned(self, path: str) -> bool:
        """Whether only this process is left in the sandbox, and `path` leads elsewhere."""
        return self.inside and netns.is_abandoned(path)

    def has_address(self, address: IPv4Address) -> bool:
        """Whether one of the links in the present namespace has this address. Raises NetlinkError, OSError."""
        with Netlink() as netlink:
            return address in {a.ip for a in netlink.addresses()}

    def link(self) -> Link | None:
        """The link, if it is in the present namespace. Raises NetlinkError, OSError."""
        with Netlink() as netlink:
            return self._link.find(netlink)

    def went_with_parent(self) -> bool:
        """Whether the link, which has gone, has gone because its parent has. At home. Raises NetlinkError, OSError."""
        with Netlink() as netlink:
            return self._link.went_with_parent(netlink)

    def leave(self) -> None:
        """Goes back home, and stops watching: a process that stays keeps the sandbox alive. Raises OSError."""
        if self._feed is not None:
            self._feed.close()
            self._feed = None
        if self.inside:
            self._home.enter()
        self.inside = False


class HostAsSandbox(Sandbox):
    """The host, in which its own link stays: there is nowhere to go."""

    def watch(self) -> None:
        """Watches the link alone, if it is there. Raises NetlinkError, OSError."""
        with Netlink() as netlink:
            link = netlink.link(self._container_link)
        if self._feed is None and link is not None:
            self._feed = change_feed_of(link.index)

    def has_link_at_home(self) -> bool:
        """It is where it belongs."""
        return False

    def is_abandoned(self, path: str) -> bool:
        """The host never is."""
        return False
