"""Sets the MTU of a container's link to the server's (option 26).

The parent's MTU is the limit: a bridge drops larger frames. If the server names none any more, the link gets the
parent's MTU back.
"""

from workers.contract.lease import Lease
from workers.netlink.operations import Netlink, NetlinkError


def follow_mtu(interface: str, previous: Lease | None, lease: Lease, limit: int | None = None) -> tuple[str, ...]:
    """Gives `interface`, in the present namespace, the lease's MTU; returns one sentence if that took a change.

    `previous` is the lease before this one: if both name the same MTU, the link keeps what it has, which the user may
    have chosen. `limit` is the parent's MTU in octets, None if the link still has it. Never raises: an MTU that the
    kernel refuses costs the container no lease.
    """
    if lease.mtu == (previous.mtu if previous else None):
        return ()
    try:
        with Netlink() as netlink:
            link = netlink.require_link(interface)
            most = link.mtu if limit is None else limit
            wanted = min(lease.mtu or most, most)
            if wanted != link.mtu:
                netlink.set_mtu(link, wanted)
    except NetlinkError as error:
        return (str(error),)
    if lease.mtu is not None and lease.mtu > most:
        return (f"MTU {wanted}, as the link takes no more, instead of {lease.mtu}",)
    return (f"MTU changed from {link.mtu} to {wanted}",) if wanted != link.mtu else ()


def fit_mtu(interface: str, limit: int) -> tuple[str, ...]:
    """Gives `interface` this MTU if its own is larger; returns and raises as `follow_mtu`."""
    try:
        with Netlink() as netlink:
            link = netlink.require_link(interface)
            if link.mtu <= limit:
                return ()
            netlink.set_mtu(link, limit)
    except NetlinkError as error:
        return (str(error),)
    return (f"MTU changed from {link.mtu} to {limit}, as the parent takes no more",)
