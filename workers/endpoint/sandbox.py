"""The container's network namespace: finds the endpoint's link on its way there, enters the namespace, leaves it.

Owns the namespace of this process, and the kernel's notifications there. Must not know the link's purpose, nor what
follows when it comes or goes.
"""

import logging
import socket
from dataclasses import dataclass, field
from ipaddress import IPv4Address

from workers.contract.messages import EndpointSpec
from workers.link.endpoint_link import EndpointLink
from workers.netlink.changes import change_feed, change_feed_of, drain, is_here
from workers.netlink.operations import Link, Netlink
from workers.system import namespaces as netns

log = logging.getLogger(__name__)


@dataclass(eq=False)
class Sandbox:
    """The sandbox of one endpoint; `inside`: this process is in it. It begins in the host's namespace, its home.

    The host's own link stays there: for that one there is nowhere to go.
    """

    inside: bool = False
    _home: netns.Namespace = field(default_factory=netns.current)
    _feed: socket.socket | None = None

    def bind(self, spec: EndpointSpec, link: EndpointLink) -> None:
        """Whose sandbox it is."""
        self._container_link = spec.container_link
        self._on_host = spec.link.on_host
        self._link = link

    def close(self) -> None:
        self._home.close()

    def sources(self) -> list[int]:
        """The descriptors that are readable when something has changed in the present namespace, if we watch it."""
        return [] if self._feed is None else [self._feed.fileno()]

    def watch(self) -> None:
        """Watches the present namespace from now on; of the host only the link, if it is there.

        Raises NetlinkError, OSError.
        """
        if self._on_host:
            with Netlink() as netlink:
                link = netlink.link(self._container_link)
            if self._feed is None and link is not None:
                self._feed = change_feed_of(link.index)
            return
        if self._feed is not None:
            self._feed.close()
        self._feed = change_feed()

    def drain(self) -> bool:
        """Reads the kernel's notifications; True if there were any."""
        return self._feed is not None and drain(self._feed)

    def has_link_at_home(self) -> bool:
        """Whether the link is still at home. As a rule it is: each start causes dozens of notifications.

        The host's own is where it belongs.
        """
        return not self._on_host and is_here(self._container_link)

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
        """Whether only this process is left in the sandbox, and `path` leads elsewhere. The host is never abandoned."""
        return self.inside and not self._on_host and netns.is_abandoned(path)

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

    def awaited(self) -> str | None:
        """The interface with which a link comes back that has gone so. At home. Raises NetlinkError, OSError."""
        with Netlink() as netlink:
            return self._link.awaited(netlink)

    def leave(self) -> None:
        """Goes back home, and stops watching: a process that stays keeps the sandbox alive. Raises OSError."""
        if self._feed is not None:
            self._feed.close()
            self._feed = None
        if self.inside:
            self._home.enter()
        self.inside = False
