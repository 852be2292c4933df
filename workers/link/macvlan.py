"""A macvlan: an interface beside its parent, with a MAC address of its own; all of it goes into the container."""

import errno
import time
from collections.abc import Iterable, Iterator
from typing import ClassVar

from pyroute2.netlink import nlmsg

from workers.contract.link import CONTAINER_LINK_PREFIX, HOST_LINK_PREFIX, LinkKind, LinkSpec, MacvlanMode, vlan_of
from workers.link.endpoint_link import EndpointLink
from workers.link.parent import create_on_card, refuse_wireless, require_card
from workers.link.vlan_parent import check_absent, is_absent, is_ours, require_parent
from workers.netlink.operations import Link, Netlink, NetlinkError
from workers.netlink.rtnetlink import macvlan
from workers.system.namespaces import Namespace, disable_ipv6, new_namespace

PREFIXES = (CONTAINER_LINK_PREFIX, HOST_LINK_PREFIX)  # the second one is the host's own link's
BUSY_SECONDS = 2.0  # in which a sandbox that ends gives up the MAC address, or the parent
RETRY_SECONDS = 0.05


class Macvlan(EndpointLink):
    """The link of one endpoint (workers.link.endpoint_link). Its landmark is the parent.

    `busy` and `unfit` say why the kernel calls a parent so.
    """

    moves_sooner_down: ClassVar[bool] = True  # the kernel waits out a grace period of 10 ms as one goes down
    kind: ClassVar[LinkKind] = LinkKind.MACVLAN
    busy: ClassVar[str] = "is in use by ipvlan, or is a port of something, and the kernel allows no macvlan beside that"
    unfit: ClassVar[str] = "other macvlans, and with macvlan_mode=passthru there can be one only"

    @classmethod
    def check(cls, netlink: Netlink, spec: LinkSpec) -> None:
        """Tries it, too, in a namespace that goes with it: only the kernel knows what else uses the parent."""
        if is_absent(netlink, spec.parent):
            check_absent(netlink, spec.parent)
            return
        parent = require_card(netlink, spec.parent)
        cls._check_card(parent)
        with new_namespace() as scratch:
            probe = cls._message("probe", parent.mac, parent, spec, namespace=scratch.fileno())
            cls._create(netlink, f"{cls.kind}s of {parent.name}", probe, parent.name)

    @classmethod
    def _check_card(cls, parent: Link) -> None:
        refuse_wireless(parent.name)

    def make(self, netlink: Netlink) -> None:
        """Makes it, and tries again while the former link of a container with this MAC address is still ending.

        It is silenced before it gets a carrier, so that the host takes no router advertisements on it.
        """
        self.landmark = require_parent(netlink, self._spec.link.parent, self._spec.mark)
        until = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                self._make(netlink, self.landmark)
                break
            except NetlinkError as error:
                if error.errno not in (errno.EADDRINUSE, errno.EINVAL) or time.monotonic() > until:
                    raise
            time.sleep(RETRY_SECONDS)
        netlink.await_operational(self._name)

    def _make(self, netlink: Netlink, parent: Link) -> None:
        message = self._message(self._name, self._mac, parent, self._spec.link, group=self._spec.mark)
        self._create(netlink, f"the {self.kind} {self._name} of {parent.name}", message, parent.name)
        self._raise_or_remove(netlink)

    def make_in(self, netlink: Netlink, sandbox: Namespace, name: str) -> None:
        """The kernel makes it in there at once, so nothing of it is ever on the host."""
        with sandbox.visit(), Netlink() as inside:
            remains = self.find(inside)  # of a worker that died over it
            if remains is not None:
                inside.delete_link(remains.name)
        parent = self.landmark = require_parent(netlink, self._spec.link.parent, self._spec.mark)
        place = {"group": self._spec.mark, "namespace": sandbox.fileno()}
        message = self._message(self._name, self._mac, parent, self._spec.link, **place)
        self._create(netlink, f"the {self.kind} {self._name} of {parent.name}", message, parent.name)
        with sandbox.visit(), Netlink() as inside:
            made = inside.require_link(self._name)
            try:
                inside.rename_link(made, name)  # before Linux 6.15 it could not have a name that the host has, too
                disable_ipv6(name)
                self._raise(inside, name)
                inside.await_operational(name)
            except (NetlinkError, OSError):
                inside.delete(made)
                raise

    @classmethod
    def _message(
        cls, name: str, mac: str, parent: Link, spec: LinkSpec, *, group: int = 0, namespace: int | None = None
    ) -> nlmsg:
        return macvlan(name, mac, parent, spec.macvlan_mode, group=group, namespace=namespace)

    @classmethod
    def _create(cls, netlink: Netlink, what: str, message: nlmsg, parent: str) -> None:
        reasons = {
            errno.EBUSY: f"{parent} {cls.busy}; remove it, or use another parent",
            errno.EINVAL: f"{parent} has {cls.unfit}",
            errno.EOPNOTSUPP: f"this kernel has no {cls.kind} (`modprobe {cls.kind}` loads it where there is a module)",
        }
        create_on_card(netlink, what, message, reasons)

    def _raise(self, netlink: Netlink, name: str) -> None:
        if self._spec.link.macvlan_mode is MacvlanMode.PASSTHRU:  # it has the parent's, and gives it to the parent
            netlink.set_mac(netlink.require_link(name), self._mac)
        try:
            netlink.raise_link(name)
        except NetlinkError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            parent = self._spec.link.parent
            reason = (
                f"{parent} itself or another macvlan on it has this MAC address; stop the container that has it, "
                "or choose another address"
            )
            raise NetlinkError(f"using {self._mac} on {parent}", error.errno, reason) from error

    def find(self, netlink: Netlink) -> Link | None:
        """The macvlan with our MAC whose parent is ours.

        One that the container made of its own link has the same parent, but not the MAC, unless it is down.
        """
        return max((n for n in self._siblings(netlink) if n.mac == self._mac), key=lambda n: n.up, default=None)

    def _siblings(self, netlink: Netlink) -> list[Link]:
        """The links of this kind whose parent is ours, and elsewhere. Without a parent there are none any more.

        For the kernel a link of such a link is one of that one's parent.
        """
        parent = self.landmark
        if parent is None:
            return []
        index = parent.peer_index if parent.kind == self.kind else parent.index
        known = (self.kind, index, True)
        return [n for n in netlink.links() if (n.kind, n.peer_index, n.peer_is_elsewhere) == known]

    @property
    def _parent_index(self) -> int | None:
        return self.landmark.index if self.landmark else None

    def went_with_parent(self, netlink: Netlink) -> bool:
        """Whether the parent is another one by now, or none."""
        parent = netlink.link(self._landmark_name)
        return self.landmark is not None and (parent is None or parent.index != self.landmark.index)

    def awaited(self, netlink: Netlink) -> str:
        """The parent; if that is the interface of a VLAN, its card, unless somebody else had made that interface."""
        parent = self._landmark_name
        is_made = self.landmark is None or is_ours(self.landmark, self._spec.mark)
        card, _ = vlan_of(parent) or (parent, 0)
        return card if is_made and netlink.link(parent) is None else parent

    @classmethod
    def unused(cls, links: Iterable[Link], mark: int) -> Iterator[Link]:
        """Those that are here under their first names and have the mark."""
        return (n for n in links if n.kind == cls.kind and n.group == mark and n.name.startswith(PREFIXES))
