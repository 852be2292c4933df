"""A macvlan: an interface beside its parent, with a MAC address of its own; all of it goes into the container."""

import errno
import time
from collections.abc import Iterable, Iterator
from typing import ClassVar

from pyroute2.netlink import nlmsg

from workers.contract.lease import Route
from workers.contract.link import CONTAINER_LINK_PREFIX, HOST_LINK_PREFIX, LinkKind, LinkSpec, MacvlanMode
from workers.contract.messages import EndpointSpec
from workers.link.parent import create_on_card, refuse_wireless, require_card, static_routes
from workers.link.silence import silence
from workers.link.vlan_parent import check_absent, is_absent, require_parent
from workers.netlink.operations import Link, Netlink, NetlinkError
from workers.netlink.rtnetlink import macvlan
from workers.system.namespaces import new_namespace

KIND = LinkKind.MACVLAN.value
PREFIXES = (CONTAINER_LINK_PREFIX, HOST_LINK_PREFIX)  # the second one is the host's own link's
BUSY_SECONDS = 2.0  # in which a sandbox that ends gives up the MAC address, or the parent
RETRY_SECONDS = 0.05


class Macvlan:
    """The link of one endpoint (workers.link.kind.EndpointLink)."""

    moves_sooner_down: ClassVar[bool] = True  # when one goes down the kernel waits out a grace period of 10 ms

    def __init__(self, spec: EndpointSpec) -> None:
        self._name = spec.container_link
        self._spec = spec
        self._mac = spec.mac.lower()
        self._mark = spec.mark
        self._parent: Link | None = None

    @staticmethod
    def check(netlink: Netlink, spec: LinkSpec) -> None:
        """Tries it, too, in a namespace that goes with it: only the kernel knows what else uses the parent."""
        if is_absent(netlink, spec.parent):
            check_absent(netlink, spec.parent)
            return
        parent = require_card(netlink, spec.parent)
        refuse_wireless(parent.name)
        with new_namespace() as scratch:
            message = macvlan("probe", parent.mac, parent, spec.macvlan_mode, namespace=scratch.fileno())
            _create(netlink, f"a macvlan of {parent.name}", message, parent.name)

    def make(self, netlink: Netlink) -> None:
        """Makes it, and tries again while the former link of a container with this MAC address is still ending.

        It is silenced before it gets a carrier, so that the host takes no router advertisements on it.
        """
        self._parent = require_parent(netlink, self._spec.link.parent, self._mark)
        until = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                self._make(netlink, self._parent)
                break
            except NetlinkError as error:
                if error.errno not in (errno.EADDRINUSE, errno.EINVAL) or time.monotonic() > until:
                    raise
            time.sleep(RETRY_SECONDS)
        netlink.await_operational(self._name)

    def _make(self, netlink: Netlink, parent: Link) -> None:
        message = macvlan(self._name, self._mac, parent, self._spec.link.macvlan_mode, group=self._mark)
        _create(netlink, f"the macvlan {self._name} of {parent.name}", message, parent.name)
        try:
            self._raise_silently(netlink, parent)
        except NetlinkError:
            self.remove(netlink)
            raise

    def _raise_silently(self, netlink: Netlink, parent: Link) -> None:
        silence(self._spec, None)
        if self._spec.link.macvlan_mode is MacvlanMode.PASSTHRU:  # it has the parent's, and gives it to the parent
            netlink.set_mac(netlink.require_link(self._name), self._mac)
        try:
            netlink.raise_link(self._name)
        except NetlinkError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            reason = (
                f"{parent.name} itself or another macvlan on it has this MAC address; stop the container that has it, "
                "or choose another address"
            )
            raise NetlinkError(f"using {self._mac} on {parent.name}", error.errno, reason) from error

    def recognise(self, netlink: Netlink) -> None:
        """Reads the parent, whose index the macvlan names."""
        if self._parent is None:
            self._parent = netlink.link(self._spec.link.parent)

    def find(self, netlink: Netlink) -> Link | None:
        """The macvlan with our MAC whose parent is ours.

        One that the container made of its own link has the same parent, but not the MAC, unless it is down.
        """
        if self._parent is None:
            return None  # a macvlan goes with its parent
        known = (KIND, _real_parent(self._parent), True, self._mac)
        found = [n for n in netlink.links() if (n.kind, n.peer_index, n.peer_is_elsewhere, n.mac) == known]
        return max(found, key=lambda link: link.up, default=None)

    def mtu_limit(self, link: Link) -> int:
        """The parent's MTU when the link was made; the kernel itself makes a macvlan's smaller if the parent's is."""
        return self._parent.mtu if self._parent else link.mtu

    def parent_routes(self, netlink: Netlink) -> tuple[Route, ...]:
        """The static routes over the parent."""
        return static_routes(netlink, self._parent.index) if self._parent else ()

    def remove(self, netlink: Netlink) -> None:
        """Removes it from the host, where the engine has moved it back; one that is in a sandbox goes with that."""
        netlink.delete_link(self._name)

    def went_with_parent(self, netlink: Netlink) -> bool:
        """Whether the parent is another one by now, or none."""
        parent = netlink.link(self._spec.link.parent)
        return self._parent is not None and (parent is None or parent.index != self._parent.index)

    @staticmethod
    def unused(links: Iterable[Link], mark: int) -> Iterator[Link]:
        """The macvlans that are here under their first names and have the mark."""
        return (n for n in links if n.kind == KIND and n.group == mark and n.name.startswith(PREFIXES))


def _real_parent(parent: Link) -> int | None:
    """The index of the macvlan's parent in the kernel: a macvlan of a macvlan is one of that one's parent."""
    return parent.peer_index if parent.kind == KIND else parent.index


def _create(netlink: Netlink, what: str, message: nlmsg, parent: str) -> None:
    reasons = {
        errno.EBUSY: f"{parent} is in use by ipvlan, or is a port of something, and the kernel allows no macvlan "
        "beside that; remove it, or use another parent",
        errno.EINVAL: f"{parent} has other macvlans, and with macvlan_mode=passthru there can be one only",
        errno.EOPNOTSUPP: "this kernel has no macvlan (`modprobe macvlan` loads it where there is a module)",
    }
    create_on_card(netlink, what, message, reasons)
