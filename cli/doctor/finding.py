"""A finding: what was seen, how much it matters, and what to do."""

from dataclasses import asdict, dataclass
from enum import StrEnum

from cli.errors import Failure


class Severity(StrEnum):
    """`error`: no lease, or no network, as it is now; `warning`: later, or perhaps; `hint`: good to know."""

    OK = "ok"
    HINT = "hint"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """`about` is host, engine, plugin, or a network's or container's name; `remedy` may be empty."""

    about: str
    id: str
    severity: Severity
    found: str
    remedy: str = ""

    def row(self) -> dict[str, str]:
        """As JSON has it."""
        return asdict(self)


def failed(about: str, id_: str, error: Failure, remedy: str = "") -> Finding:
    """Something could not be asked."""
    return Finding(about, id_, Severity.ERROR, error.message, remedy)


def severity_of(word: object) -> Severity:
    """The plugin's word; a newer one may have others."""
    return next((severity for severity in Severity if severity == word), Severity.WARNING)
