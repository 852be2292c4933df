"""Removes what no endpoint and no network has, links and rules of cards: once, at the start, on the host."""

import logging
from collections.abc import Collection
from multiprocessing.connection import Connection

from msgspec import Struct

from workers.link.kind import KINDS
from workers.link.shared_mac import sweep_answers
from workers.link.vlan_parent import is_ours
from workers.netlink.operations import Netlink, NetlinkError

log = logging.getLogger(__name__)


class Swept(Struct, frozen=True):
    """The removed links, by their names: containers' ends without an endpoint, and VLANs without a network."""

    links: tuple[str, ...]


def sweep(mark: int, ends: Collection[str], parents: Collection[str] | None, channel: Connection) -> None:
    """Removes the links with this mark, except these container ends and VLANs; sends a `Swept` that names them.

    A link in a sandbox stays: a running container may need it, and it goes with the sandbox. If it is not known which
    VLANs such links need (None), all of them stay, too, and so do the rules of cards.
    """
    if parents is not None:
        sweep_answers(mark, parents)
    removed = []
    try:
        with Netlink() as netlink:
            links = netlink.links()
            unused = [link for kind in KINDS.values() for link in kind.unused(links, mark)]
            vlans = [link for link in links if is_ours(link, mark)] if parents is not None else []
            for link in (*unused, *vlans):
                if link.name not in (*ends, *(parents or ())):
                    netlink.delete_link(link.name)
                    removed.append(link.name)
    except (NetlinkError, OSError) as error:
        log.warning("links that no endpoint has are left behind: %s", error)
    channel.send(Swept(tuple(removed)))
