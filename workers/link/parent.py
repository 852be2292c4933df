"""What kinds of link have in common about their parent on the host: whether it fits."""

import errno
from collections.abc import Mapping

from pyroute2.netlink import nlmsg

from workers.diagnosis.checks import is_wireless
from workers.netlink.operations import Link, Netlink, NetlinkError

OWNERS = ("bond", "team")  # the LAN is on these, and not on their ports


def require_card(netlink: Netlink, name: str) -> Link:
    """A parent that links without a port of their own can have; raises NetlinkError, which says what to use instead."""
    card = netlink.require_link(name)
    if not card.ethernet:
        raise _unfit(name, "it is no Ethernet interface; use the one that your LAN is on")
    if card.kind == "bridge":
        raise _unfit(name, f"it is a bridge; use -o bridge={name} in place of parent")
    master = next((link for link in netlink.links() if link.index == card.master), None)
    if master is not None and master.kind == "bridge":
        raise _unfit(name, f"it is a port of the bridge {master.name}; use -o bridge={master.name} in place of parent")
    if master is not None and master.kind in OWNERS:
        raise _unfit(name, f"it is a port of {master.name}; use -o parent={master.name}")
    return card


def refuse_wireless(name: str) -> None:
    """Raises NetlinkError for a Wi-Fi card: its access point knows the card's own MAC address only."""
    if is_wireless(name):
        raise _unfit(name, "it is a Wi-Fi card, and access points accept no other MAC addresses; use a wired card")


def create_on_card(netlink: Netlink, what: str, message: nlmsg, reasons: Mapping[int, str]) -> None:
    """Makes the link that the message describes. Raises NetlinkError; `reasons` explain the kernel's numbers."""
    try:
        netlink.create_link(what, message)
    except NetlinkError as error:
        if error.errno not in reasons:
            raise
        raise NetlinkError(f"making {what}", error.errno, reasons[error.errno]) from error


def _unfit(name: str, reason: str) -> NetlinkError:
    return NetlinkError(f"{name} cannot be the parent", errno.EINVAL, reason)
