"""Links that nobody owns any more: asked once at the start, in the host's namespace. Knows nothing of the state."""

import logging
from collections.abc import Collection
from dataclasses import dataclass
from multiprocessing.connection import Connection

from workers.contract.messages import CONTAINER_LINK_PREFIX, HOST_LINK_PREFIX
from workers.netlink.operations import Link, Netlink, NetlinkError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Swept:
    """The links that nobody owned, by the names of their ends on the host; they are gone."""

    links: tuple[str, ...]


def sweep(mark: int, owned: Collection[str], channel: Connection) -> None:
    """Removes the pairs with this mark whose host's end is not `owned`; sends a `Swept` with those that it removed.

    A pair whose other end is in a sandbox stays: it may be all that a running container has, and goes with it.
    """
    removed = []
    try:
        with Netlink() as netlink:
            links = {link.index: link for link in netlink.links()}
            for link in links.values():
                other = links.get(link.peer_index or 0)
                if link.group == mark and link.name not in owned and other is not None and _is_pair(link, other):
                    netlink.delete_link(link.name)
                    removed.append(link.name)
    except (NetlinkError, OSError) as error:
        log.warning("links that nobody owns are left behind: %s", error)
    channel.send(Swept(tuple(removed)))


def _is_pair(host_end: Link, other: Link) -> bool:
    """Whether both ends are here, each the other's, under the names that they were made with."""
    prefix, _, name = host_end.name.partition("-")
    names = (f"{prefix}-", other.name) == (HOST_LINK_PREFIX, f"{CONTAINER_LINK_PREFIX}{name}")
    return names and other.peer_index == host_end.index and host_end.kind == other.kind == "veth"
