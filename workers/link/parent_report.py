"""Checks whether a parent can carry a network: once, at CreateNetwork, in the host's namespace."""

from dataclasses import dataclass

from workers.contract.finding import Finding
from workers.contract.link import LinkSpec
from workers.diagnosis.checks import diagnose
from workers.link.kind import KINDS
from workers.netlink.operations import Netlink, NetlinkError


@dataclass(frozen=True, slots=True)
class ParentReport:
    """The state of a parent: `error` says why it cannot be used, `findings` are troubles that may pass."""

    error: str | None
    findings: tuple[Finding, ...] = ()


def probe_parent(spec: LinkSpec, *, ipv6: bool = False) -> ParentReport:
    """Never raises: an error is part of the report."""
    try:
        with Netlink() as netlink:
            KINDS[spec.kind].check(netlink, spec)
        return ParentReport(error=None, findings=diagnose(spec, ipv6=ipv6))
    except (NetlinkError, OSError) as error:
        return ParentReport(error=str(error))
