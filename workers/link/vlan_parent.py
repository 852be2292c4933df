"""The interface of a VLAN as a parent: made of its card where it is absent, and removed with its last network.

It is ours if it has our mark (the group of ip-link(8)): what somebody else has made, also under the same name later, is
used and stays.
"""

import errno
import logging
from multiprocessing.connection import Connection

from pyroute2.netlink import nlmsg

from workers.contract.link import LinkSpec, vlan_of
from workers.link.parent import create_on_card, require_card
from workers.link.shared_mac import unshare_answers
from workers.netlink.operations import Link, Netlink, NetlinkError
from workers.netlink.rtnetlink import vlan
from workers.system.namespaces import new_namespace

KIND = "vlan"

log = logging.getLogger(__name__)


def is_absent(netlink: Netlink, name: str) -> bool:
    """Whether it would have to be made, as `name` says CARD.NUMBER. Raises NetlinkError."""
    return vlan_of(name) is not None and netlink.link(name) is None


def check_absent(netlink: Netlink, name: str) -> None:
    """Tries to make it in another namespace. Raises NetlinkError, which says why it cannot be made.

    It is gone at the end, when the first container may need it: with the namespace it would go some time later.
    """
    card, number = _card(netlink, name)
    with new_namespace() as scratch:
        _create(netlink, card, number, vlan("probe", card, number, namespace=scratch.fileno()))
        with scratch.visit(), Netlink() as inside:
            inside.delete_link("probe")


def require_parent(netlink: Netlink, name: str, mark: int) -> Link:
    """The parent of this name; makes it, with the mark, if it is an absent VLAN. Raises NetlinkError."""
    if not is_absent(netlink, name):
        return netlink.require_link(name)
    card, number = _card(netlink, name)
    try:
        _create(netlink, card, number, vlan(name, card, number, group=mark))
    except NetlinkError:
        if netlink.link(name) is None:  # else another endpoint's worker has just made it
            raise
    netlink.raise_link(name)
    return netlink.await_operational(name)


def retire_parent(spec: LinkSpec, mark: int, channel: Connection) -> None:
    """A job: removes a VLAN that we have made, and what its ipvlans needed, when no network needs them any more."""
    name = spec.parent
    if not spec.has_own_mac:
        unshare_answers(name, mark)
    try:
        with Netlink() as netlink:
            link = netlink.link(name)
            if link is not None and is_ours(link, mark):
                netlink.delete_link(name)
    except (NetlinkError, OSError) as error:
        log.warning("%s not removed: %s", name, error)
    channel.send(None)


def is_ours(link: Link, mark: int) -> bool:
    """Whether it is the interface of a VLAN that this plugin has made."""
    return bool(mark) and link.kind == KIND and link.group == mark


def _card(netlink: Netlink, name: str) -> tuple[Link, int]:
    named = vlan_of(name)
    assert named is not None
    return require_card(netlink, named[0]), named[1]


def _create(netlink: Netlink, card: Link, number: int, message: nlmsg) -> None:
    reasons = {
        errno.EEXIST: f"{card.name} has VLAN {number} already, under another name; use that one as the parent",
        errno.EOPNOTSUPP: "this kernel has no VLANs (`modprobe 8021q` loads them where there is a module)",
    }
    create_on_card(netlink, f"VLAN {number} of {card.name}", message, reasons)
