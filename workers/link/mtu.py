"""The MTU of a container's link, as the server names it (option 26).

The bridge's is the limit: the bridge drops what is larger. A server that says nothing more has it back.
"""

from workers.contract.lease import Lease
from workers.netlink.operations import Netlink, NetlinkError


def follow_mtu(interface: str, previous: Lease | None, lease: Lease, limit: int | None = None) -> tuple[str, ...]:
    """Brings `interface`, in the present namespace, to the lease's MTU; one sentence if anything was to be done.

    `previous` is the lease before this one: what has not changed since then is left as it is, which may be the user's
    choice. `limit` is the bridge's MTU in octets, None where the link still has it. Never fails: an MTU that the kernel
    refuses costs the container no lease.
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
        return (f"MTU {wanted}, which is the bridge's; the server named {lease.mtu}",)
    return (f"MTU changed from {link.mtu} to {wanted}",) if wanted != link.mtu else ()
