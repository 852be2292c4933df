"""The interface of every kind of link, and what all kinds have in common."""

import errno
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import ClassVar

from workers.contract.lease import DEFAULT_DESTINATION, Route
from workers.contract.link import LinkSpec
from workers.contract.messages import EndpointSpec, Ipv6
from workers.netlink.operations import Link, Netlink, NetlinkError
from workers.netlink.rtnetlink import RTPROT_KERNEL
from workers.system.namespaces import Namespace, disable_ipv6, restrict_ipv6, set_ipv4

# ip-sysctl. While the link is on the host the kernel would answer on it for the host's own addresses, with the
# container's MAC: others would send there what is for the host.
ANSWERS_NOBODY = MappingProxyType({"arp_ignore": 8})


class EndpointLink(ABC):
    """The link of one endpoint, which need not exist; each kind has one class.

    A `netlink` belongs to the host's network namespace, except in `find`. All methods but `mtu_limit` raise
    NetlinkError.

    `moves_sooner_down`: Docker moves it into a sandbox sooner if it is down. `landmark` is the link on the host, called
    `_landmark_name`, by which the one in a sandbox is known, with the parent's MTU when the link was made. `_ipv4` are
    its settings on the host; in a sandbox it gets fresh ones.
    """

    moves_sooner_down: ClassVar[bool] = False
    _ipv4: ClassVar[Mapping[str, int]] = ANSWERS_NOBODY

    def __init__(self, spec: EndpointSpec, landmark: Link | None = None) -> None:
        """`landmark` is what another process knows already."""
        self._spec = spec
        self._name = spec.container_link
        self._mac = spec.mac.lower()
        self._landmark_name = spec.link.parent
        self.landmark = landmark

    @classmethod
    @abstractmethod
    def check(cls, netlink: Netlink, spec: LinkSpec) -> None:
        """Raises NetlinkError if the parent cannot carry such links: the text says why, and what to do."""

    @abstractmethod
    def make(self, netlink: Netlink) -> None:
        """Makes the link `spec.container_link`, up and ready to send; leaves nothing behind if it fails."""

    def recognise(self, netlink: Netlink) -> None:
        """Reads from the kernel what `find` needs, if another process made the link."""
        if self.landmark is None:
            self.landmark = netlink.link(self._landmark_name)

    @abstractmethod
    def find(self, netlink: Netlink) -> Link | None:
        """The link in the namespace of `netlink`, a sandbox; by then the engine or the container has renamed it."""

    def mtu_limit(self, link: Link) -> int:
        """The largest MTU that its parent takes; `link` is what was found."""
        return self.landmark.mtu if self.landmark else link.mtu

    def parent_routes(self, netlink: Netlink) -> tuple[Route, ...]:
        """The static routes over its parent on the host, which the container gets, too.

        Without a default route and the routes that come with an address.
        """
        index = self._parent_index
        there = () if index is None else netlink.routes(index)
        static = (found.route for found in there if found.protocol != RTPROT_KERNEL)
        return tuple(route for route in static if route.destination != DEFAULT_DESTINATION)

    @property
    @abstractmethod
    def _parent_index(self) -> int | None: ...

    def remove(self, netlink: Netlink) -> None:
        """Removes the link, also from a sandbox if it has an end on the host; a missing link is no error."""
        netlink.delete_link(self._spec.link.host_end(self._spec.endpoint_id) or self._name)

    def went_with_parent(self, netlink: Netlink) -> bool:
        """Whether a link that is gone has gone because its parent has. A bridge that goes leaves its ports behind."""
        return False

    def awaited(self, netlink: Netlink) -> str | None:
        """The interface on the host with which a link comes back that went with its parent; None if none does."""
        return None

    def make_in(self, netlink: Netlink, sandbox: Namespace, name: str) -> None:
        """Makes the link anew in its sandbox, under the name that it had there: up and ready to send, without IPv6.

        Leaves nothing behind if it fails. Only for a link that `awaited` names an interface for. Raises OSError, too.
        """
        raise NotImplementedError

    @classmethod
    @abstractmethod
    def unused(cls, links: Iterable[Link], mark: int) -> Iterator[Link]:
        """The container ends of the host's `links` that have this mark, if the container end is in no sandbox."""

    def _raise_or_remove(self, netlink: Netlink) -> None:
        """A link that cannot be raised is not left behind."""
        try:
            self._silence()
            self._raise(netlink, self._name)
        except NetlinkError:
            self.remove(netlink)
            raise

    @abstractmethod
    def _raise(self, netlink: Netlink, name: str) -> None: ...

    def _silence(self) -> None:
        """Keeps the host from taking router advertisements, addresses or routes from the link, and from answering.

        Called before the link gets a carrier. DHCPv6 needs a link-local address; no other IPv6 address is made.
        """
        host_end = self._spec.link.host_end(self._spec.endpoint_id)
        try:
            for setting, value in self._ipv4.items():
                set_ipv4(self._name, setting, value)
            if host_end not in (None, self._name):
                disable_ipv6(host_end)
            if self._spec.ipv6 is Ipv6.OFF:
                disable_ipv6(self._name)
            else:
                restrict_ipv6(self._name)
        except FileNotFoundError as error:
            raise NetlinkError("using IPv6", errno.EAFNOSUPPORT, "this host's kernel has it switched off") from error
        except OSError as error:
            raise NetlinkError(f"silencing {self._name}", error.errno or errno.EIO, str(error)) from error
