"""Keeps an endpoint's link silent on the host: the host takes no router advertisement, address or route from it."""

import errno

from workers.contract.messages import EndpointSpec, Ipv6
from workers.netlink.operations import NetlinkError
from workers.system.namespaces import disable_ipv6, restrict_ipv6


def silence(spec: EndpointSpec, host_end: str | None) -> None:
    """Call it before the link gets a carrier. `host_end` is the link's other end on the host, if it has one.

    DHCPv6 needs a link-local address; no other IPv6 address is made. Raises NetlinkError.
    """
    try:
        if host_end is not None:
            disable_ipv6(host_end)
        if spec.ipv6 is Ipv6.OFF:
            disable_ipv6(spec.container_link)
        else:
            restrict_ipv6(spec.container_link)
    except FileNotFoundError as error:
        raise NetlinkError("using IPv6", errno.EAFNOSUPPORT, "this host's kernel has it switched off") from error
    except OSError as error:
        raise NetlinkError(f"silencing {spec.container_link}", error.errno or errno.EIO, str(error)) from error
