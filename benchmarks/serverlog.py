"""The DHCP server's log, read as it grows: who has had how many DHCPACKs. Must not know who asked for them."""

from collections import Counter
from pathlib import Path

from tests.lab.command import wait_until
from tests.lab.dhcp import LINE, DhcpServer

ACKS = 2  # the worker's, and the one of the client in the sandbox
TIMEOUT = 60.0


class Acknowledged:
    """DHCPACKs by MAC address, from now on."""

    def __init__(self, server: DhcpServer) -> None:
        self._log: Path = server.log_file
        self._offset = self._log.stat().st_size
        self._acks: Counter[str] = Counter()

    def wait_for_clients(self, number: int) -> None:
        """Until so many MAC addresses have a client in a sandbox that has had its own DHCPACK; raises NotReached."""
        wait_until(lambda: self._clients() >= number, f"{number} clients' own DHCPACKs", TIMEOUT, interval=0.01)

    def _clients(self) -> int:
        with self._log.open("rb") as log:
            log.seek(self._offset)
            whole, newline, _ = log.read().rpartition(b"\n")
        self._offset += len(whole + newline)
        for line in whole.decode(errors="replace").splitlines():
            if (match := LINE.match(line)) and match["kind"] == "ACK":
                self._acks[match["mac"]] += 1
        return sum(1 for count in self._acks.values() if count >= ACKS)
