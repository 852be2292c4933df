"""Checks whether a parent can carry a network: once, at CreateNetwork, in the host's namespace."""

from dataclasses import dataclass

from workers.contract.link import LinkSpec
from workers.diagnosis.causes import warnings
from workers.link.kind import KINDS
from workers.netlink.operations import Netlink, NetlinkError


@dataclass(frozen=True, slots=True)
class ParentReport:
    """The state of a parent: `error` says why it cannot be used, `warnings` name future troubles."""

    error: str | None
    warnings: tuple[str, ...] = ()


def probe_parent(spec: LinkSpec) -> ParentReport:
    """Never raises: an error is part of the report."""
    try:
        with Netlink() as netlink:
            KINDS[spec.kind].check(netlink, spec)
        return ParentReport(error=None, warnings=warnings(spec))
    except (NetlinkError, OSError) as error:
        return ParentReport(error=str(error))
