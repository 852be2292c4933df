"""Reads and changes the kernel's links, addresses and routes.

Everything refers to the network namespace that the process was in when it opened the `Netlink`. Must not know leases,
nor why a link is made.
"""

import errno
import os
import select
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Interface, IPv6Address, IPv6Interface
from types import TracebackType
from typing import Self

from pyroute2.netlink import NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, nlmsg
from pyroute2.netlink.rtnl import (
    RTM_DELADDR,
    RTM_DELLINK,
    RTM_DELROUTE,
    RTM_GETADDR,
    RTM_GETLINK,
    RTM_GETROUTE,
    RTM_NEWADDR,
    RTM_NEWLINK,
    RTM_NEWROUTE,
    RTM_SETLINK,
)

from workers.netlink.changes import change_feed, drain
from workers.netlink.nlsocket import KernelError, NetlinkSocket
from workers.netlink.rtnetlink import (
    Address6,
    Bridge,
    KernelRoute,
    Link,
    address6_question,
    address_question,
    bridge_port,
    changed_link,
    decode_address,
    decode_address6,
    decode_bridge,
    decode_link,
    decode_route,
    decode_vlans,
    describe,
    encode_address,
    encode_address6,
    encode_default6,
    encode_route,
    link_question,
    link_with_token,
    named_link,
    native_vlan,
    no_vlans,
    route_question,
    vlan_question,
)
from workers.system.namespaces import Namespace

OPERATION_SECONDS = 0.5

__all__ = ["Link", "Netlink", "NetlinkError"]


class NetlinkError(Exception):
    """The kernel refused a request; the text names the request, its object, and the kernel's error."""

    def __init__(self, attempted: str, number: int, reason: str | None = None) -> None:
        super().__init__(f"{attempted}: {reason or os.strerror(number)}")
        self.errno = number


@contextmanager
def _attempt(what: str) -> Iterator[None]:
    try:
        yield
    except KernelError as error:
        raise NetlinkError(what, error.code) from error


class Netlink:
    """One netlink socket of the present network namespace. A context manager."""

    def __init__(self) -> None:
        self._kernel = NetlinkSocket()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._kernel.close()

    def create_link(self, what: str, message: nlmsg) -> None:
        """Makes the link that the message describes; `what` describes it in the error's text."""
        with _attempt(f"making {what}"):
            self._kernel.change(RTM_NEWLINK, message, NLM_F_CREATE | NLM_F_EXCL)

    def await_operational(self, name: str) -> Link:
        """Waits until a link sends: the kernel drops frames until it has noticed a new carrier (linkwatch.c).

        Recent kernels notice it when we ask, older ones some milliseconds later. After the deadline the link is
        returned as it is: DHCP repeats lost messages.
        """
        link = self.require_link(name)
        if link.operational:
            return link
        deadline = time.monotonic() + OPERATION_SECONDS
        with change_feed() as feed:
            while not (link := self.require_link(name)).operational:
                if not select.select([feed], [], [], max(0.0, deadline - time.monotonic()))[0]:
                    break
                drain(feed)
        return link

    def require_link(self, name: str, kind: str | None = None) -> Link:
        """The link of that name; raises NetlinkError if there is none, or one of another `kind`."""
        link = self.link(name)
        if link is None:
            raise NetlinkError(f"using the link {name}", errno.ENODEV, "there is none of that name")
        if kind not in (None, link.kind):
            raise NetlinkError(f"using {name}", errno.EINVAL, f"{name} is {link.described_kind} and not a {kind}")
        return link

    def settings(self, bridge: Link) -> Bridge:
        with _attempt(f"asking for the bridge {bridge.name}"):
            return decode_bridge(self._kernel.get(RTM_GETLINK, link_question(bridge.name)))

    def link(self, name: str) -> Link | None:
        try:
            return decode_link(self._kernel.get(RTM_GETLINK, link_question(name)))
        except KernelError as error:
            if error.code == errno.ENODEV:
                return None
            raise NetlinkError(f"asking for the link {name}", error.code) from error

    def links(self) -> tuple[Link, ...]:
        with _attempt("listing the links"):
            return tuple(map(decode_link, self._kernel.dump(RTM_GETLINK, link_question())))

    def vlans(self) -> dict[int, frozenset[int]]:
        """Those of each port of a bridge, by its index."""
        with _attempt("listing the VLANs of bridges"):
            return dict(map(decode_vlans, self._kernel.dump(RTM_GETLINK, vlan_question())))

    def delete_link(self, name: str) -> bool:
        """Removes a link, and of a veth the other end, too; False if there is none (any more)."""
        try:
            self._kernel.change(RTM_DELLINK, named_link(name))
        except KernelError as error:
            if error.code == errno.ENODEV:
                return False
            raise NetlinkError(f"removing the link {name}", error.code) from error
        return True

    def raise_link(self, name: str) -> None:
        with _attempt(f"raising {name}"):
            self._kernel.change(RTM_NEWLINK, named_link(name, up=True))

    def lower_link(self, name: str) -> None:
        with _attempt(f"lowering {name}"):
            self._kernel.change(RTM_NEWLINK, named_link(name, up=False))

    def plug(self, port: Link, bridge: Link, *, up: bool = True) -> None:
        """Makes a link a port of the bridge, up or down."""
        with _attempt(f"making {port.name} a port of {bridge.name}"):
            self._kernel.change(RTM_NEWLINK, bridge_port(port, bridge, up=up))

    def set_mtu(self, link: Link, mtu: int) -> None:
        with _attempt(f"setting the MTU of {link.name} to {mtu}"):
            self._kernel.change(RTM_NEWLINK, changed_link(link.index, mtu=mtu))

    def set_native_vlan(self, port: Link, number: int) -> None:
        """Makes a bridge's port a member of this VLAN alone, without tags."""
        with _attempt(f"putting {port.name} into VLAN {number}"):
            self._kernel.change(RTM_DELLINK, no_vlans(port))
            self._kernel.change(RTM_SETLINK, native_vlan(port, number))

    def set_mac(self, link: Link, mac: str) -> None:
        with _attempt(f"setting the MAC address of {link.name} to {mac}"):
            self._kernel.change(RTM_NEWLINK, changed_link(link.index, mac=mac))

    def set_token(self, link: Link, token: IPv6Address) -> None:
        """The kernel makes addresses that end with the token; it removes those that it has made of one before."""
        with _attempt(f"setting the token {token} of {link.name}"):
            self._kernel.change(RTM_SETLINK, link_with_token(link.index, token))

    def move_link(self, link: Link, namespace: Namespace) -> None:
        """Moves the link, which goes down on its way and loses its addresses."""
        with _attempt(f"moving {link.name} to another network namespace"):
            self._kernel.change(RTM_NEWLINK, changed_link(link.index, namespace=namespace.fileno()))

    def addresses(self, index: int | None = None) -> tuple[IPv4Interface, ...]:
        """The IPv4 addresses of a link, the primary ones first, or those of all links."""
        with _attempt("listing the addresses"):
            found = map(decode_address, self._kernel.dump(RTM_GETADDR, address_question(index)))
            return tuple(address for owner, address in found if index in (None, owner))

    def add_address(self, link: Link, address: IPv4Interface) -> None:
        with _attempt(f"adding {address} to {link.name}"):
            self._kernel.change(RTM_NEWADDR, encode_address(link.index, address), NLM_F_CREATE | NLM_F_EXCL)

    def delete_address(self, link: Link, address: IPv4Interface) -> None:
        with _attempt(f"removing {address} from {link.name}"):
            self._kernel.change(RTM_DELADDR, encode_address(link.index, address))

    def addresses6(self, link: Link) -> tuple[Address6, ...]:
        """The IPv6 addresses of a link."""
        with _attempt(f"listing the IPv6 addresses of {link.name}"):
            found = map(decode_address6, self._kernel.dump(RTM_GETADDR, address6_question(link.index)))
            return tuple(address for owner, address in found if owner == link.index)

    def set_address6(self, link: Link, address: IPv6Interface, valid: int | None, preferred: int | None) -> None:
        """Adds an IPv6 address, or changes its lifetimes."""
        with _attempt(f"adding {address} to {link.name}"):
            message = encode_address6(link.index, address, valid, preferred)
            self._kernel.change(RTM_NEWADDR, message, NLM_F_CREATE | NLM_F_REPLACE)

    def delete_address6(self, link: Link, address: IPv6Interface) -> None:
        """Removes an IPv6 address; a missing one is no error."""
        try:
            self._kernel.change(RTM_DELADDR, encode_address6(link.index, address, None, None))
        except KernelError as error:
            if error.code != errno.EADDRNOTAVAIL:
                raise NetlinkError(f"removing {address} from {link.name}", error.code) from error

    def add_default6(self, link: Link, router: IPv6Address, metric: int, seconds: int) -> None:
        """Adds a default route that the kernel removes after so many seconds; an equal one is no error."""
        try:
            message = encode_default6(link.index, router, metric, seconds)
            self._kernel.change(RTM_NEWROUTE, message, NLM_F_CREATE | NLM_F_EXCL)
        except KernelError as error:
            if error.code != errno.EEXIST:
                raise NetlinkError(f"adding a default route via {router} over {link.name}", error.code) from error

    def routes(self, index: int | None = None) -> tuple[KernelRoute, ...]:
        """The unicast IPv4 routes of the main table, over all links or one."""
        with _attempt("listing the routes"):
            decoded = [decode_route(message) for message in self._kernel.dump(RTM_GETROUTE, route_question(index))]
        return tuple(route for route in decoded if route is not None and index in (None, route.index))

    def add_route(self, link: Link, wanted: KernelRoute) -> None:
        """Adds a route. One with the same destination and another next hop stays beside it."""
        with _attempt(f"adding the {describe(wanted.route)} over {link.name}"):
            self._kernel.change(RTM_NEWROUTE, encode_route(link.index, wanted), NLM_F_CREATE | NLM_F_APPEND)

    def delete_route(self, link: Link, found: KernelRoute) -> None:
        """Removes a route; a missing route is no error."""
        try:
            self._kernel.change(RTM_DELROUTE, encode_route(link.index, found))
        except KernelError as error:
            if error.code != errno.ESRCH:
                raise NetlinkError(f"removing the {describe(found.route)} over {link.name}", error.code) from error
