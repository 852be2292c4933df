"""Checks whether a bridge can carry a network: once, at CreateNetwork, in the host's namespace."""

from dataclasses import dataclass

from workers.diagnosis.causes import warnings
from workers.netlink.operations import NetlinkError


@dataclass(frozen=True, slots=True)
class BridgeReport:
    """The state of a bridge: `error` says why it cannot be used, `warnings` name future troubles."""

    error: str | None
    warnings: tuple[str, ...] = ()


def probe_bridge(name: str) -> BridgeReport:
    """Never raises: an error is part of the report."""
    try:
        return BridgeReport(error=None, warnings=warnings(name))
    except (NetlinkError, OSError) as error:
        return BridgeReport(error=str(error))
