"""Can a bridge carry a network? Asked once, at CreateNetwork, in the host's namespace."""

from workers.diagnose import warnings
from workers.messages import BridgeReport
from workers.netlink import NetlinkError


def probe_bridge(name: str) -> BridgeReport:
    """Never raises: what is wrong with the bridge is the report."""
    try:
        return BridgeReport(error=None, warnings=warnings(name))
    except (NetlinkError, OSError) as error:
        return BridgeReport(error=str(error))
