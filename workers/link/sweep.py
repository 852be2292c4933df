"""Removes the links that no endpoint has: asked for once at the start, in the host's network namespace."""

import logging
from collections.abc import Collection
from dataclasses import dataclass
from multiprocessing.connection import Connection

from workers.link.kind import KINDS
from workers.netlink.operations import Netlink, NetlinkError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Swept:
    """The links that no endpoint had, by the names of their containers' ends; they are gone."""

    links: tuple[str, ...]


def sweep(mark: int, owned: Collection[str], channel: Connection) -> None:
    """Removes the links with this mark, except the `owned` container ends; sends a `Swept` with what it removed.

    A link in a sandbox stays: it may be all that a running container has, and goes with it.
    """
    removed = []
    try:
        with Netlink() as netlink:
            links = netlink.links()
            for link in (link for kind in KINDS.values() for link in kind.unused(links, mark)):
                if link.name not in owned:
                    netlink.delete_link(link.name)
                    removed.append(link.name)
    except (NetlinkError, OSError) as error:
        log.warning("links that no endpoint has are left behind: %s", error)
    channel.send(Swept(tuple(removed)))
