"""What went over the wire for a first lease, and what a user reads when none came."""

from dataclasses import dataclass, field

from workers.contract.messages import EndpointSpec
from workers.diagnosis.causes import likely_cause


class NoLease(Exception):
    """No lease within the budget; the text says what was sent, what was seen and the likeliest cause."""


@dataclass(slots=True)
class Tally:
    """Counts of messages, the server's last words with a NAK, and who has the addresses that were declined."""

    discovers: int = 0
    offers: int = 0
    requests: int = 0
    naks: int = 0
    last_words: str = ""
    declined: list[str] = field(default_factory=list)

    def failure(self, awaited: str, spec: EndpointSpec) -> NoLease:
        """To be raised when the budget is used up."""
        seen = f"{self.discovers} DISCOVER sent, {self.offers} answers"
        parent = spec.link.parent
        return NoLease(f"no {awaited} on {parent} in {spec.lease_timeout:g} s ({seen}): {self._reason(parent)}")

    def _reason(self, parent: str) -> str:
        if self.naks:
            return f"{self.naks} requests were refused by the server, last with {self.last_words!r}"
        if self.requests:
            return f"{self.requests} REQUEST sent for what was offered, none answered"
        if self.offers:
            return "what was offered names no server (option 54)"
        return likely_cause(parent)
