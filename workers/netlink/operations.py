"""Reads and changes the kernel's links, addresses and routes.

Everything refers to the network namespace that the process was in when it opened the `Netlink`. Must not know leases,
nor why a link is made.
"""

import errno
import os
import select
import time
from ipaddress import IPv4Interface, IPv6Address, IPv6Interface
from socket import AF_INET, AF_INET6
from types import TracebackType
from typing import Self

from pyroute2.netlink import NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, nlmsg, rtnl

from workers.netlink import rtnetlink
from workers.netlink.changes import change_feed, drain
from workers.netlink.nlsocket import KernelError, NetlinkSocket
from workers.netlink.rtnetlink import Address6, Bridge, KernelRoute, Link
from workers.system.namespaces import Namespace

OPERATION_SECONDS = 0.5

__all__ = ["Link", "Netlink", "NetlinkError"]


class NetlinkError(Exception):
    """The kernel refused a request; the text names the request, its object, and the kernel's error."""

    def __init__(self, attempted: str, number: int, reason: str | None = None) -> None:
        super().__init__(f"{attempted}: {reason or os.strerror(number)}")
        self.errno = number


class Netlink:
    """One netlink socket of the present network namespace. A context manager."""

    def __init__(self) -> None:
        self._kernel = NetlinkSocket()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._kernel.close()

    def _change(self, what: str, kind: int, message: nlmsg, flags: int = 0, *, fine: int | None = None) -> bool:
        """Has the kernel do `what`. False if it refuses with the error `fine`, which is none here."""
        try:
            self._kernel.change(kind, message, flags)
        except KernelError as error:
            if error.code == fine:
                return False
            raise NetlinkError(what, error.code) from error
        return True

    def _list(self, what: str, kind: int, question: nlmsg) -> list[bytes]:
        try:
            return self._kernel.dump(kind, question)
        except KernelError as error:
            raise NetlinkError(f"listing {what}", error.code) from error

    def create_link(self, what: str, message: nlmsg) -> None:
        """Makes the link that the message describes; `what` describes it in the error's text."""
        self._change(f"making {what}", rtnl.RTM_NEWLINK, message, NLM_F_CREATE | NLM_F_EXCL)

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
        message = self._link(bridge.name)
        if message is None:
            raise NetlinkError(f"asking for the bridge {bridge.name}", errno.ENODEV)
        return rtnetlink.decode_bridge(message)

    def link(self, name: str) -> Link | None:
        message = self._link(name)
        return None if message is None else rtnetlink.decode_link(message)

    def _link(self, name: str) -> bytes | None:
        try:
            return self._kernel.get(rtnl.RTM_GETLINK, rtnetlink.link_question(name))
        except KernelError as error:
            if error.code == errno.ENODEV:
                return None
            raise NetlinkError(f"asking for the link {name}", error.code) from error

    def links(self) -> tuple[Link, ...]:
        return tuple(map(rtnetlink.decode_link, self._list("the links", rtnl.RTM_GETLINK, rtnetlink.link_question())))

    def vlans(self) -> dict[int, frozenset[int]]:
        """Those of each port of a bridge, by its index."""
        found = self._list("the VLANs of bridges", rtnl.RTM_GETLINK, rtnetlink.vlan_question())
        return dict(map(rtnetlink.decode_vlans, found))

    def delete_link(self, name: str) -> bool:
        """Removes a link, and of a veth the other end, too; False if there is none (any more)."""
        message = rtnetlink.named_link(name)
        return self._change(f"removing the link {name}", rtnl.RTM_DELLINK, message, fine=errno.ENODEV)

    def delete(self, link: Link) -> None:
        """As `delete_link`, whatever the link is called by now."""
        message = rtnetlink.changed_link(link.index)
        self._change(f"removing the link {link.name}", rtnl.RTM_DELLINK, message, fine=errno.ENODEV)

    def rename_link(self, link: Link, name: str) -> None:
        """Renames a link that is down."""
        try:
            self._change(f"renaming {link.name}", rtnl.RTM_NEWLINK, rtnetlink.changed_link(link.index, name=name))
        except NetlinkError as error:
            if error.errno != errno.EEXIST:
                raise
            raise NetlinkError(
                f"renaming {link.name}", errno.EEXIST, f"there is another {name}; remove that"
            ) from error

    def raise_link(self, name: str) -> None:
        self._change(f"raising {name}", rtnl.RTM_NEWLINK, rtnetlink.named_link(name, up=True))

    def lower_link(self, name: str) -> None:
        self._change(f"lowering {name}", rtnl.RTM_NEWLINK, rtnetlink.named_link(name, up=False))

    def plug(self, port: Link, bridge: Link, *, up: bool = True) -> None:
        """Makes a link a port of the bridge, up or down."""
        message = rtnetlink.bridge_port(port, bridge, up=up)
        self._change(f"making {port.name} a port of {bridge.name}", rtnl.RTM_NEWLINK, message)

    def set_mtu(self, link: Link, mtu: int) -> None:
        message = rtnetlink.changed_link(link.index, mtu=mtu)
        self._change(f"setting the MTU of {link.name} to {mtu}", rtnl.RTM_NEWLINK, message)

    def set_native_vlan(self, port: Link, number: int) -> None:
        """Makes a bridge's port a member of this VLAN alone, without tags."""
        what = f"putting {port.name} into VLAN {number}"
        self._change(what, rtnl.RTM_DELLINK, rtnetlink.no_vlans(port))
        self._change(what, rtnl.RTM_SETLINK, rtnetlink.native_vlan(port, number))

    def set_mac(self, link: Link, mac: str) -> None:
        message = rtnetlink.changed_link(link.index, mac=mac)
        self._change(f"setting the MAC address of {link.name} to {mac}", rtnl.RTM_NEWLINK, message)

    def set_token(self, link: Link, token: IPv6Address) -> None:
        """The kernel makes addresses that end with the token; it removes those that it has made of one before."""
        message = rtnetlink.link_with_token(link.index, token)
        self._change(f"setting the token {token} of {link.name}", rtnl.RTM_SETLINK, message)

    def move_link(self, link: Link, namespace: Namespace) -> None:
        """Moves the link, which goes down on its way and loses its addresses."""
        message = rtnetlink.changed_link(link.index, namespace=namespace.fileno())
        self._change(f"moving {link.name} to another network namespace", rtnl.RTM_NEWLINK, message)

    def addresses(self, index: int | None = None) -> tuple[IPv4Interface, ...]:
        """The IPv4 addresses of a link, the primary ones first, or those of all links."""
        messages = self._list("the addresses", rtnl.RTM_GETADDR, rtnetlink.address_question(AF_INET, index))
        return tuple(a for owner, a in map(rtnetlink.decode_address, messages) if index in (None, owner))

    def add_address(self, link: Link, address: IPv4Interface) -> None:
        message = rtnetlink.encode_address(link.index, address)
        self._change(f"adding {address} to {link.name}", rtnl.RTM_NEWADDR, message, NLM_F_CREATE | NLM_F_EXCL)

    def delete_address(self, link: Link, address: IPv4Interface) -> None:
        message = rtnetlink.encode_address(link.index, address)
        self._change(f"removing {address} from {link.name}", rtnl.RTM_DELADDR, message)

    def addresses6(self, link: Link) -> tuple[Address6, ...]:
        """The IPv6 addresses of a link."""
        question = rtnetlink.address_question(AF_INET6, link.index)
        messages = self._list(f"the IPv6 addresses of {link.name}", rtnl.RTM_GETADDR, question)
        return tuple(a for owner, a in map(rtnetlink.decode_address6, messages) if owner == link.index)

    def set_address6(self, link: Link, address: IPv6Interface, valid: int | None, preferred: int | None) -> None:
        """Adds an IPv6 address, or changes its lifetimes."""
        message = rtnetlink.encode_address6(link.index, address, valid, preferred)
        self._change(f"adding {address} to {link.name}", rtnl.RTM_NEWADDR, message, NLM_F_CREATE | NLM_F_REPLACE)

    def delete_address6(self, link: Link, address: IPv6Interface) -> None:
        """Removes an IPv6 address; a missing one is no error."""
        message = rtnetlink.encode_address6(link.index, address, None, None)
        self._change(f"removing {address} from {link.name}", rtnl.RTM_DELADDR, message, fine=errno.EADDRNOTAVAIL)

    def add_default6(self, link: Link, router: IPv6Address, metric: int, seconds: int) -> None:
        """Adds a default route that the kernel removes after so many seconds; an equal one is no error."""
        what = f"adding a default route via {router} over {link.name}"
        message = rtnetlink.encode_default6(link.index, router, metric, seconds)
        self._change(what, rtnl.RTM_NEWROUTE, message, NLM_F_CREATE | NLM_F_EXCL, fine=errno.EEXIST)

    def routes(self, index: int | None = None) -> tuple[KernelRoute, ...]:
        """The unicast IPv4 routes of the main table, over all links or one."""
        messages = self._list("the routes", rtnl.RTM_GETROUTE, rtnetlink.route_question(index))
        found = map(rtnetlink.decode_route, messages)
        return tuple(route for route in found if route is not None and index in (None, route.index))

    def add_route(self, link: Link, wanted: KernelRoute) -> None:
        """Adds a route. One with the same destination and another next hop stays beside it."""
        what = f"adding the {rtnetlink.describe(wanted.route)} over {link.name}"
        message = rtnetlink.encode_route(link.index, wanted)
        self._change(what, rtnl.RTM_NEWROUTE, message, NLM_F_CREATE | NLM_F_APPEND)

    def delete_route(self, link: Link, found: KernelRoute) -> None:
        """Removes a route; a missing route is no error."""
        what = f"removing the {rtnetlink.describe(found.route)} over {link.name}"
        self._change(what, rtnl.RTM_DELROUTE, rtnetlink.encode_route(link.index, found), fine=errno.ESRCH)
