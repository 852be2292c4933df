"""LANs on which no DHCP server has answered lately: a boot of many containers must not wait out each one's budget.

The engine makes the endpoints of a network one after another, so that with a dead server the last of fifty containers
would wait for fifty budgets. Pure but for the clock.
"""

import time

REMEMBERED_SECONDS = 60.0
SHORT_BUDGET_SECONDS = 5.0  # dnsmasq holds its first OFFER back for 3 s: a server that is back is not missed


class Silence:
    """The bridges behind which nobody has answered, and when that was found."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}

    def found(self, bridge: str) -> None:
        """A whole budget has passed without any answer."""
        self._since[bridge] = time.monotonic()

    def broken(self, bridge: str) -> None:
        """A server has answered."""
        self._since.pop(bridge, None)

    def budget(self, bridge: str, usual: float) -> float:
        """How long the next first lease may take, in seconds."""
        since = self._since.get(bridge)
        recent = since is not None and time.monotonic() - since < REMEMBERED_SECONDS
        return min(usual, SHORT_BUDGET_SECONDS) if recent else usual
