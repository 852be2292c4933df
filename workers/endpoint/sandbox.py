"""The container's network namespace, and the endpoint's link on its way into it: looked for, entered, left.

Owns where this process is, and the kernel's notifications of the namespace that it is in. Must not know what the link
is for, nor whom its coming and going is told.
"""

import logging
import socket
from ipaddress import IPv4Address

from workers.link.kind import EndpointLink
from workers.netlink.changes import change_feed, drain, is_here
from workers.netlink.operations import Link, Netlink
from workers.system import namespaces as netns

log = logging.getLogger(__name__)


class Sandbox:
    """One endpoint's; `inside`: this process is in there. It begins in the host's network namespace, its home."""

    def __init__(self, container_link: str, link: EndpointLink) -> None:
        """`container_link` is the link's name at home. Raises OSError."""
        self.inside = False
        self._container_link = container_link
        self._link = link
        self._home = netns.current()
        self._feed: socket.socket | None = None

    def sources(self) -> list[int]:
        """Readable when something has changed in the present namespace, if that is watched."""
        return [] if self._feed is None else [self._feed.fileno()]

    def watch(self) -> None:
        """From now on the namespace that the process is in. Raises OSError."""
        if self._feed is not None:
            self._feed.close()
        self._feed = change_feed()

    def drain(self) -> bool:
        """Takes what the kernel has told; whether there was anything."""
        return self._feed is not None and drain(self._feed)

    def has_link_at_home(self) -> bool:
        """Whether the link is where it was made: as a rule it is, each start on this host makes dozens of changes."""
        return is_here(self._container_link)

    def enter(self, path: str) -> bool:
        """Goes where the link has gone, and watches there; False where there is no way. Raises NetlinkError."""
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
        """Whether this process has stayed in there alone, and `path` leads elsewhere."""
        return self.inside and netns.is_abandoned(path)

    def has_address(self, address: IPv4Address) -> bool:
        """Whether one of the links in here has it. Raises NetlinkError, OSError."""
        with Netlink() as netlink:
            return address in {a.ip for a in netlink.addresses()}

    def link(self) -> Link | None:
        """The link, if it is in the present namespace. Raises NetlinkError, OSError."""
        with Netlink() as netlink:
            return self._link.find(netlink)

    def leave(self) -> None:
        """Back home, where nothing is watched: a process that stays keeps the sandbox alive. Raises OSError."""
        if self._feed is not None:
            self._feed.close()
            self._feed = None
        if self.inside:
            self._home.enter()
        self.inside = False
