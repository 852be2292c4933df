"""What a check of the host found: plain values for the log, for errors and for operators.

Must not know how anything is found: workers.diagnosis and supervisor.driver do.
"""

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """What a finding means for DHCP, the gravest first."""

    ERROR = "error"  # as the host is now, no lease is obtained, or not by every container
    WARNING = "warning"  # leases are obtained under some conditions only, or not kept
    HINT = "hint"  # nothing wrong was seen; this is where to look next


GRAVITY = tuple(Severity)


@dataclass(frozen=True, slots=True)
class Finding:
    """`found` says what is wrong, `remedy` what to do about it, by a command where there is one.

    `id` names the check. It never changes, so that operators can refer to it.
    """

    id: str
    severity: Severity
    found: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.found}: {self.remedy}"


@dataclass(frozen=True, slots=True)
class Check:
    """A check by itself: docs/operations.md lists each one."""

    id: str
    severity: Severity

    def finding(self, found: str, remedy: str) -> Finding:
        """What this check has found."""
        return Finding(self.id, self.severity, found, remedy)
